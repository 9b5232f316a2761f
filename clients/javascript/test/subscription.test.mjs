import assert from "node:assert/strict"
import { test } from "node:test"
import { collect, Lagged, outcome, received, world } from "./setup.mjs"

const byId = (value) => value.id

async function subscribed(options, tableOptions, name = "orders") {
  const all = world(options)
  const table = all.rt.table(name, tableOptions)
  const changes = collect(table, "change", byId)
  const gaps = collect(table, "gap", (gap) => gap.reason)
  const states = collect(table, "state")
  await all.clock.until(() => table.state.subscribed || table.state.error)
  return { ...all, table, changes, gaps, states }
}

test("a change comes with the documented fields, and no others", async () => {
  const { clock, server, rt } = world()
  const table = rt.table("audit.logins", { event: "UPDATE" })
  const heard = collect(table, "change")
  await clock.until(() => table.state.subscribed)
  server.change("logins", { schema: "audit", event: "INSERT" })
  server.change("logins", { schema: "audit", event: "UPDATE", data: { id: 1, ok: true }, old: { id: 1, ok: false } })
  await clock.until(() => heard.length)
  const [{ commitTimestamp, ...rest }] = heard
  assert.ok(Date.parse(commitTimestamp))
  assert.deepEqual(rest, { event: "UPDATE", table: "logins", schema: "audit", data: { id: 1, ok: true }, old: { id: 1, ok: false }, id: "1-2" })
  assert.deepEqual(received(server, "subscribe"), [{ type: "subscribe", channel: "table:audit.logins:UPDATE", ref: 1 }])
})

test("truncated is said of a change that is", async () => {
  const { clock, server, table } = await subscribed()
  const heard = collect(table, "change")
  server.connections[0].send({ type: "realtime", channel: "table:orders", id: "9-9", event: "INSERT", data: {}, old: null, truncated: true })
  await clock.until(() => heard.length)
  assert.equal(heard[0].truncated, true)
})

test("the state says when the server confirmed, whether the table is enabled, and from where", async () => {
  const { clock, server, rt } = world()
  server.tables.add("users")
  const [users, orders] = [rt.table("users"), rt.table("orders")]
  const states = collect(users, "state")
  assert.deepEqual(users.state, { subscribed: false, enabled: null, position: null, error: null })
  await clock.until(() => orders.state.subscribed)
  assert.deepEqual(states, [{ subscribed: true, enabled: true, position: "1-0", error: null }])
  assert.equal(orders.state.enabled, false)
  server.cut()
  await clock.until(() => !users.state.subscribed)
  assert.equal(states.at(-1).subscribed, false)
  await clock.until(() => users.state.subscribed)
  assert.equal(states.length, 3)
})

test("a subscription comes back with since, and misses nothing, in order", async () => {
  const { clock, server, changes, gaps } = await subscribed()
  const wanted = []
  for (let n = 0; n < 20; n++) {
    wanted.push(server.change("orders"), server.change("orders"))
    await clock.advance(clock.random() * 100)
    server.cut()
    wanted.push(server.change("orders"))
    await clock.advance(clock.random() * 3_000)
  }
  await clock.until(() => changes.length === wanted.length)
  assert.deepEqual(changes, wanted)
  assert.deepEqual(gaps, [])
})

test("what comes twice is delivered once", async () => {
  const { clock, server, changes, table } = await subscribed()
  server.change("orders")
  server.change("orders")
  await clock.until(() => changes.length === 2)
  const [connection] = server.connections
  for (const id of ["1-1", "1-2", "1-3", "1-3"]) connection.send({ type: "realtime", channel: "table:orders", id, event: "INSERT", data: {}, old: null })
  await clock.until(() => changes.length === 3)
  assert.deepEqual(changes, ["1-1", "1-2", "1-3"])
  assert.equal(table.position, "1-3")
})

test("of an old connection nothing is heard once there is a new one", async () => {
  const { clock, server, changes, rt } = await subscribed({ latency: 500 })
  await clock.advance(10_000)
  server.change("orders")
  server.change("orders")
  await clock.advance(100)
  server.connections[0].end(1006)
  await clock.until(() => rt.status.state === "open" && changes.length === 2)
  await clock.advance(5_000)
  assert.deepEqual(changes, ["1-1", "1-2"])
})

test("history that no longer reaches back is a gap, and the subscription goes on behind it", async () => {
  const { clock, server, changes, gaps, table } = await subscribed()
  server.change("orders")
  await clock.until(() => changes.length === 1)
  server.cut()
  server.change("orders")
  server.change("orders")
  server.forget()
  await clock.until(() => gaps.length === 1)
  assert.deepEqual(gaps, ["history"])
  assert.equal(table.position, "1-3")
  server.change("orders")
  await clock.until(() => changes.length === 2)
  assert.deepEqual(changes, ["1-1", "1-4"])
})

test("resync is a gap", async () => {
  const { clock, server, gaps, table } = await subscribed()
  server.wipe()
  await clock.until(() => gaps.length)
  assert.deepEqual(gaps, ["resync"])
  assert.equal(table.position, "2-0")
})

test("since from before delivers what came after it, and a first subscription is no gap", async () => {
  const { clock, server, open } = world()
  const first = server.change("orders")
  server.change("orders")
  server.change("orders")
  const rt = open()
  const [old, fresh] = [rt.table("orders", { since: first }), rt.table("orders", { event: "INSERT" })]
  const [changes, none, gaps] = [collect(old, "change", byId), collect(fresh, "change"), collect(fresh, "gap")]
  assert.equal(old.position, first)
  await clock.until(() => changes.length === 2 && fresh.state.subscribed)
  assert.deepEqual([changes, none, gaps], [["1-2", "1-3"], [], []])
})

test("a since that is forgotten is a gap", async () => {
  const { gaps } = await subscribed({}, { since: "0-7" })
  assert.deepEqual(gaps, ["history"])
})

test("equal channel and filter are one subscription on the wire; others are their own", async () => {
  const { clock, server, rt } = world()
  const filters = [undefined, undefined, "", "id=eq.1", "id=eq.1", "id=eq.2"]
  const tables = filters.map((filter) => rt.table("orders", { filter }))
  const heard = tables.map((table) => collect(table, "change", byId))
  await clock.until(() => tables.every((table) => table.state.subscribed))
  const sent = received(server, "subscribe")
  assert.deepEqual(sent.map(({ channel, filter, as }) => [channel, filter, as]), [
    ["table:orders", undefined, undefined],
    ["table:orders", "id=eq.1", "id=eq.1"],
    ["table:orders", "id=eq.2", "id=eq.2"],
  ])
  server.change("orders", { data: { id: 1 } })
  server.change("orders", { data: { id: 2 } })
  await clock.advance(100)
  assert.deepEqual(heard, [["1-1", "1-2"], ["1-1", "1-2"], ["1-1", "1-2"], ["1-1"], ["1-1"], ["1-2"]])
})

test("a long filter has a short name, the same in each client, and another for another filter", async () => {
  const names = new Set()
  for (const filter of ["a", "b", "a"].map((end) => `name=eq.${"x".repeat(500)}${end}`)) {
    const { clock, server, rt } = world()
    await clock.until(() => rt.table("orders", { filter }).state.subscribed)
    const [{ as }] = received(server, "subscribe")
    assert.ok(as.length <= 64)
    names.add(as)
  }
  assert.equal(names.size, 2)
})

test("one that joins later hears the state, and what comes from then on", async () => {
  const { clock, server, rt, changes } = await subscribed()
  server.change("orders")
  await clock.until(() => changes.length === 1)
  const later = rt.table("orders")
  const [states, heard, gaps] = [collect(later, "state"), collect(later, "change", byId), collect(later, "gap")]
  await clock.advance(10)
  assert.deepEqual(states, [{ subscribed: true, enabled: true, position: "1-1", error: null }])
  server.change("orders")
  await clock.until(() => heard.length)
  assert.deepEqual([heard, gaps], [["1-2"], []])
})

test("one that joins with another since is told of the gap", async () => {
  const { clock, server, rt, changes } = await subscribed()
  server.change("orders")
  server.change("orders")
  await clock.until(() => changes.length === 2)
  const [behind, level] = [rt.table("orders", { since: "1-1" }), rt.table("orders", { since: "1-2" })]
  const gaps = [collect(behind, "gap"), collect(level, "gap")]
  await clock.advance(10)
  assert.deepEqual(gaps, [[{ reason: "history" }], []])
  assert.equal(received(server, "subscribe").length, 1)
})

test("a subscription is given up one second after its last user", async () => {
  const { clock, server, rt, table, changes } = await subscribed()
  const other = rt.table("orders")
  table.close()
  table.close()
  await clock.advance(5_000)
  assert.equal(received(server, "unsubscribe").length, 0)
  other.close()
  await clock.advance(990)
  assert.equal(received(server, "unsubscribe").length, 0)
  await clock.advance(20)
  assert.deepEqual(received(server, "unsubscribe").map((one) => one.channel), ["table:orders"])
  server.change("orders")
  await clock.advance(100)
  assert.deepEqual(changes, [])
  assert.equal(table.position, "1-0")
})

test("a user who comes within the second keeps the subscription, whatever the order", async () => {
  const { clock, server, rt, table } = await subscribed()
  let current = table
  for (let n = 0; n < 50; n++) {
    current.close()
    await clock.advance(clock.random() * 990)
    current = rt.table("orders")
  }
  const changes = collect(current, "change", byId)
  server.change("orders")
  await clock.until(() => changes.length === 1)
  assert.deepEqual([received(server, "subscribe").length, received(server, "unsubscribe").length], [1, 0])
})

test("a user who comes while the subscription is being given up gets a new one", async () => {
  const { clock, server, rt, table } = await subscribed({ latency: 200 })
  table.close()
  await clock.advance(1_100)
  const again = rt.table("orders")
  const [changes, states] = [collect(again, "change", byId), collect(again, "state")]
  server.change("orders") // still for the old subscription
  await clock.until(() => again.state.subscribed)
  server.change("orders")
  await clock.until(() => changes.length === 1)
  assert.deepEqual(changes, ["1-2"])
  assert.equal(states.at(-1).subscribed, true)
})

test("one closed while there is no connection is not subscribed again", async () => {
  const { clock, server, table, rt } = await subscribed()
  server.isDown = true
  server.cut()
  await clock.until(() => rt.status.state === "waiting")
  table.close()
  await clock.advance(1_500)
  server.isDown = false
  await clock.until(() => rt.status.state === "open")
  await clock.advance(1_000)
  assert.equal(received(server, "subscribe").length, 0)
})

for (const code of ["forbidden", "invalid_channel", "invalid_filter", "too_many_channels", "not_found"])
  test(`${code} goes to the state, is not tried again hot, and disturbs no other`, async () => {
    const { clock, server, rt } = world()
    server.refusals.set("table:secrets", code)
    const [secrets, orders] = [rt.table("secrets", { filter: "id=eq.1" }), rt.table("orders")]
    const states = collect(secrets, "state")
    await clock.until(() => orders.state.subscribed && secrets.state.error)
    await clock.advance(600_000)
    assert.equal(states.length, 1)
    assert.equal(states[0].error.code, code)
    assert.equal(states[0].error.message, `refused: ${code}`)
    assert.equal(received(server, "subscribe").length, 2)
    assert.equal(server.attempts, 1)
    server.refusals.clear()
    server.cut()
    await clock.until(() => secrets.state.subscribed)
    assert.equal(secrets.state.error, null)
  })

test("a filter that the server does not take is refused by name, and the table without it goes on", async () => {
  const { clock, server, rt } = world()
  const [filtered, plain] = [rt.table("orders", { filter: "x=like.y" }), rt.table("orders")]
  await clock.until(() => plain.state.subscribed && filtered.state.error)
  assert.equal(filtered.state.error.code, "invalid_filter")
  const heard = collect(plain, "change", byId)
  server.change("orders")
  await clock.until(() => heard.length)
})

test("unavailable is tried again with back-off", async () => {
  const { clock, server, rt } = world()
  server.refusals.set("table:orders", "unavailable")
  const table = rt.table("orders")
  await clock.until(() => table.state.error?.code === "unavailable")
  await clock.advance(300_000)
  const tries = received(server, "subscribe").length
  assert.ok(tries > 10 && tries < 60, `${tries}`)
  server.refusals.clear()
  await clock.until(() => table.state.subscribed)
  assert.equal(table.state.error, null)
})

test("a subscribe without an answer is sent again", async () => {
  const { clock, server, rt } = world()
  server.isMute = true
  const table = rt.table("orders")
  await clock.advance(5_000)
  server.isMute = false
  await clock.until(() => table.state.subscribed)
  assert.equal(server.attempts, 1)
})

test("a subscription that the server ends is not subscribed any more, and says why", async () => {
  const { clock, server, table } = await subscribed()
  server.connections[0].send({ type: "error", code: "invalid_filter", message: "gone", channel: "table:orders" })
  server.connections[0].send({ type: "unsubscribed", channel: "table:orders" })
  await clock.until(() => table.state.error)
  await clock.advance(100)
  assert.deepEqual([table.state.subscribed, table.state.error.code], [false, "invalid_filter"])
})

test("what a newer token allows is subscribed to then", async () => {
  const { clock, server, open } = world()
  server.tokenSeconds = 120
  server.refusals.set("table:orders", "forbidden")
  const table = open({ token: () => server.token() }).table("orders")
  await clock.until(() => table.state.error)
  server.refusals.clear()
  await clock.until(() => table.state.subscribed, 120_000)
  assert.equal(server.attempts, 1)
})

test("a place that becomes free is taken by one that was too many", async () => {
  const { clock, server, rt, table } = await subscribed()
  server.refusals.set("table:users", "too_many_channels")
  const users = rt.table("users")
  await clock.until(() => users.state.error)
  server.refusals.clear()
  table.close()
  await clock.until(() => users.state.subscribed)
})

// Iterators.

async function read(clock, iterator, count) {
  const ids = []
  for (let n = 0; n < count; n++) {
    const [result, error] = await outcome(clock, iterator.next())
    if (error) throw error
    if (result.done) break
    ids.push(result.value.id)
  }
  return ids
}

test("changes are read in order, those too that came before they were asked for", async () => {
  const { clock, server, table } = await subscribed()
  const iterator = table.changes()
  for (let n = 0; n < 5; n++) server.change("orders")
  await clock.advance(100)
  assert.deepEqual(await read(clock, iterator, 5), ["1-1", "1-2", "1-3", "1-4", "1-5"])
  const waiting = [iterator.next(), iterator.next()]
  server.change("orders")
  server.change("orders")
  await clock.advance(100)
  assert.deepEqual((await Promise.all(waiting)).map((result) => result.value.id), ["1-6", "1-7"])
})

test("for await ends with break, and nothing listens any more", async () => {
  const { clock, server, table } = await subscribed()
  server.change("orders")
  const iterator = table.changes()
  await clock.advance(100)
  for await (const change of iterator) {
    assert.equal(change.id, "1-1")
    break
  }
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
})

test("return ends a next that waits", async () => {
  const { clock, table } = await subscribed()
  const iterator = table.changes()
  const next = iterator.next()
  await iterator.return()
  assert.deepEqual(await outcome(clock, next), [{ done: true, value: undefined }])
})

test("an overflow throws Lagged behind what was kept, and tells the position", async () => {
  const { clock, server, rt, table } = await subscribed()
  const iterator = table.changes({ buffer: 3 })
  for (let n = 0; n < 10; n++) server.change("orders")
  await clock.advance(100)
  assert.deepEqual(await read(clock, iterator, 3), ["1-1", "1-2", "1-3"])
  const [, error] = await outcome(clock, iterator.next())
  assert.ok(error instanceof Lagged)
  assert.deepEqual([error.code, error.position], ["lagged", "1-3"])
  assert.deepEqual(await iterator.next(), { done: true, value: undefined })
  assert.equal(table.position, "1-10")
  assert.equal(rt.status.state, "open")
})

test("an aborted signal throws its reason", async () => {
  const { clock, server, table } = await subscribed()
  const stop = new AbortController()
  const iterator = table.changes({ signal: stop.signal })
  server.change("orders")
  const [first, second] = [iterator.next(), iterator.next()]
  await clock.advance(100)
  stop.abort(new Error("enough"))
  assert.equal((await first).value.id, "1-1")
  assert.equal((await outcome(clock, second))[1].message, "enough")
  assert.equal((await outcome(clock, table.changes({ signal: stop.signal }).next()))[1].message, "enough")
})

test("closing the table, or the client, ends the iterator", async () => {
  const { clock, table, rt } = await subscribed()
  const other = rt.table("users")
  const [one, two] = [table.changes().next(), other.changes().next()]
  table.close()
  assert.deepEqual(await outcome(clock, one), [{ done: true, value: undefined }])
  await rt.close()
  assert.deepEqual(await outcome(clock, two), [{ done: true, value: undefined }])
  assert.deepEqual(await table.changes().next(), { done: true, value: undefined })
  assert.deepEqual(await other.changes().next(), { done: true, value: undefined })
})

test("a client that is closed for good makes the iterator throw why", async () => {
  const { clock, server, table } = await subscribed()
  const next = table.changes().next()
  server.close(4410, "disconnected")
  assert.equal((await outcome(clock, next))[1].code, "disconnected")
  assert.equal((await outcome(clock, table.changes().next()))[1].code, "disconnected")
})

test("a user who comes within the second with another since gets what came after it", async () => {
  for (const latency of [1, 300]) {
    const { clock, server, rt, table, changes } = await subscribed({ latency })
    for (let n = 0; n < 3; n++) server.change("orders")
    await clock.until(() => changes.length === 3)
    table.close()
    const again = rt.table("orders", { since: "1-1" })
    const [heard, gaps] = [collect(again, "change", byId), collect(again, "gap")]
    server.change("orders")
    await clock.until(() => heard.length === 3)
    await clock.advance(5_000)
    assert.deepEqual([heard, gaps], [["1-2", "1-3", "1-4"], []])
  }
})

test("two who come one after the other with another since each, before there is an answer", async () => {
  const { clock, server, open } = world({ latency: 200 })
  for (let n = 0; n < 4; n++) server.change("orders")
  const rt = open()
  await outcome(clock, rt.ready())
  rt.table("orders", { since: "1-1" }).close()
  const table = rt.table("orders", { since: "1-2" })
  const heard = collect(table, "change", byId)
  await clock.advance(5_000)
  assert.deepEqual(heard, ["1-3", "1-4"])
})

test("a listener for the state hears the present one, if there is one", async () => {
  const { clock, table } = await subscribed()
  await clock.advance(10_000)
  const states = collect(table, "state")
  const off = table.on("state", () => assert.fail("it was taken back"))
  off()
  await clock.settle()
  assert.deepEqual(states, [table.state])
})

test("an error for what nobody waits for any more is no error of the subscription", async () => {
  const { clock, server, rt } = world({ latency: 100 })
  const room = rt.channel("room:lobby")
  collect(room, "broadcast")
  await clock.until(() => room.state.subscribed)
  server.refusals.set("room:lobby", "rate_limited")
  const stop = new AbortController()
  room.broadcast(1, { signal: stop.signal }).catch(() => {})
  stop.abort()
  await clock.advance(1_000)
  assert.equal(room.state.subscribed, true)
})

test("many subscriptions are asked for at the pace that a server takes", async () => {
  const { clock, server, rt } = world()
  const tables = Array.from({ length: 400 }, (_, n) => rt.table(`t${n}`))
  await outcome(clock, rt.ready())
  await clock.advance(500)
  assert.equal(received(server, "subscribe").length, 90)
  await clock.advance(4_500)
  assert.ok(tables.every((table) => table.state.subscribed))
  assert.equal(received(server, "subscribe").length, 400)
})

test("a filter that no frame can carry is refused once, and not again and again", async () => {
  const { clock, server, rt } = world({ latency: 100 })
  await outcome(clock, rt.ready())
  const table = rt.table("orders", { filter: `name=eq.${"x".repeat(70_000)}` })
  server.close(1009)
  await clock.until(() => rt.status.state === "open" && server.attempts === 2)
  await clock.advance(60_000)
  assert.equal(table.state.error.code, "message_too_big")
  assert.equal(received(server, "subscribe").length, 0)
})
