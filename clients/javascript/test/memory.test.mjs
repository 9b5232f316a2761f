// In a file of its own, and so in a process of its own: others would be measured as well.
import assert from "node:assert/strict"
import { test } from "node:test"
import { getHeapSpaceStatistics } from "node:v8"
import { world } from "./setup.mjs"

const RECONNECTS = Number(process.env.RECONNECTS ?? 5_000)
const WARM_UP = RECONNECTS / 2 // before the first sample, so that most code is compiled
const SAMPLES = 20
const LEAK = 50 // bytes for each reconnect: one closure that stays

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
  const samples = []
  for (let n = 0; n < WARM_UP + RECONNECTS; n++) {
    if (n % 2) server.cut()
    else server.loseConnections(), clock.dispatch("online")
    await clock.until(() => server.attempts === n + 2 && table.state.subscribed)
    server.change("orders")
    rt.statuses.length = 0
    server.connections[0].received.length = 0
    if (n >= WARM_UP && (n - WARM_UP) % (RECONNECTS / SAMPLES) === 0) samples.push(memory())
  }
  await clock.advance(5_000)
  assert.deepEqual(measure(), before)
  assert.equal(server.connections.length, 1)
  assert.ok(server.most <= 2, `${server.most}`)
  const more = least(samples.slice(-5)) - least(samples.slice(0, 5))
  console.log(`${RECONNECTS} reconnects: ${more} bytes more`)
  if (RECONNECTS >= 5_000) assert.ok(more < RECONNECTS * LEAK, `${more} bytes more: ${samples}`)
})

const least = (samples) => Math.min(...samples) // one sample may have some garbage in it

// Of the spaces where what a client makes would be: code that is compiled later and the table of promises of Node's
// test runner, which only grows, are in others.
function memory() {
  if (!globalThis.gc) return 0
  globalThis.gc()
  globalThis.gc()
  const spaces = getHeapSpaceStatistics().filter(({ space_name }) => /^(old|new)_space$/.test(space_name))
  return spaces.reduce((bytes, space) => bytes + space.space_used_size, 0)
}
