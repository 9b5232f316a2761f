// In a file of its own, and so in a process of its own: others would be measured as well.
import assert from "node:assert/strict"
import { test } from "node:test"
import { world } from "./setup.mjs"

const RECONNECTS = Number(process.env.RECONNECTS ?? 5_000)

test(`${RECONNECTS} reconnects leave no timer, no listener and no memory behind`, async () => {
  const { clock, server, rt } = world({ token: "always" })
  server.historyEntries = 10
  const table = rt.table("orders")
  const room = rt.channel("room:lobby")
  room.on("broadcast", () => {})
  room.presence.set({ name: "Ann" })
  await clock.until(() => table.state.subscribed)
  const measure = () => ({ timers: clock.timers, listeners: clock.listeners })
  await clock.advance(5_000)
  const before = measure()
  let early
  for (let n = 0; n < RECONNECTS; n++) {
    if (n % 2) server.cut()
    else server.loseConnections(), clock.dispatch("online")
    await clock.until(() => server.attempts === n + 2 && table.state.subscribed)
    server.change("orders")
    rt.statuses.length = 0
    server.connections[0].received.length = 0
    if (n === RECONNECTS / 2) early = memory()
  }
  await clock.advance(5_000)
  assert.deepEqual(measure(), before)
  assert.equal(server.connections.length, 1)
  assert.ok(server.most <= 2, `${server.most}`)
  if (early) assert.ok(memory() - early < 750_000, `${memory() - early} bytes more`)
  console.log(`${RECONNECTS} reconnects: ${early ? memory() - early : "?"} bytes more than after half of them`)
})

function memory() {
  if (!globalThis.gc) return 0
  globalThis.gc()
  globalThis.gc()
  return process.memoryUsage().heapUsed
}
