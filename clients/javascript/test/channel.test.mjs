import assert from "node:assert/strict"
import { test } from "node:test"
import { collect, outcome, received, world } from "./setup.mjs"

const broadcasts = (server) => received(server, "broadcast").map((one) => one.payload)
const text = ({ payload }) => payload

test("a broadcast is acknowledged, and comes back to a sender that listens", async () => {
  const { clock, server, rt } = world()
  const room = rt.channel("room:lobby")
  const heard = collect(room, "broadcast")
  assert.deepEqual(await outcome(clock, room.broadcast({ text: "hi" })), [undefined])
  await clock.until(() => heard.length)
  assert.deepEqual(Object.keys(heard[0]).sort(), ["id", "payload", "sender", "timestamp"])
  assert.deepEqual(heard[0].payload, { text: "hi" })
  assert.equal(heard[0].sender.user_id, "alice")
  assert.deepEqual(Object.keys(received(server, "broadcast")[0]), ["type", "channel", "payload", "ref"])
})

test("with self: false the sender does not hear itself", async () => {
  const { clock, server, rt } = world()
  const room = rt.channel("room:lobby")
  const heard = collect(room, "broadcast")
  await outcome(clock, room.broadcast(1, { self: false }))
  server.broadcast("room:lobby", 2)
  await clock.until(() => heard.length)
  assert.deepEqual(heard.map(text), [2])
})

test("sending opens the connection, and needs no subscription", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.channel("room:lobby").broadcast(1))
  assert.equal(received(server, "subscribe").length, 0)
})

test("what the server refuses is rejected with its code", async () => {
  const { clock, rt } = world()
  const [, error] = await outcome(clock, rt.channel("table:orders").broadcast(1))
  assert.deepEqual([error.code, error.message], ["forbidden", "refused: forbidden"])
  assert.equal(rt.status.state, "open")
})

test("what cannot be JSON is rejected, and nothing is sent", async () => {
  const { clock, server, rt } = world()
  const circle = {}
  circle.circle = circle
  assert.ok((await outcome(clock, rt.channel("a:b").broadcast(circle)))[1] instanceof TypeError)
  assert.equal(server.attempts, 0)
})

test("a broadcast says what its payload was at the call", async () => {
  const { clock, server, rt } = world()
  const payload = { n: 1 }
  const sent = rt.channel("a:b").broadcast(payload)
  payload.n = 2
  await outcome(clock, sent)
  assert.deepEqual(broadcasts(server), [{ n: 1 }])
})

test("one that was written and not answered is unknown, and is not sent again", async () => {
  const { clock, server, rt } = world({ latency: 100 })
  await outcome(clock, rt.ready())
  const room = rt.channel("room:lobby")
  const sent = room.broadcast("once")
  await clock.advance(50)
  server.cut()
  const [, error] = await outcome(clock, sent)
  assert.equal(error.code, "unknown")
  await clock.until(() => rt.status.state === "open")
  await clock.advance(60_000)
  assert.deepEqual(broadcasts(server), [])
})

test("a server that does not answer makes it unknown", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  server.isMute = true
  assert.equal((await outcome(clock, rt.channel("a:b").broadcast(1)))[1].code, "unknown")
})

test("one that was never written waits for the connection", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  server.cut()
  await clock.until(() => rt.status.state === "waiting")
  const sent = [1, 2, 3].map((n) => rt.channel("a:b").broadcast(n))
  assert.deepEqual(await outcome(clock, Promise.all(sent)), [[undefined, undefined, undefined]])
  assert.deepEqual(broadcasts(server), [1, 2, 3])
})

test("it waits for 10 s at most, and 100 of them at most", async () => {
  const { clock, server, rt } = world()
  server.isDown = true
  const all = Array.from({ length: 101 }, (_, n) => rt.channel("a:b").broadcast(n).then(() => "sent", (error) => error.code))
  assert.equal((await outcome(clock, all[100], 100))[0], "not_sent")
  assert.deepEqual(new Set((await outcome(clock, Promise.all(all), 11_000))[0]), new Set(["not_sent"]))
  server.isDown = false
  await clock.until(() => rt.status.state === "open")
  await clock.advance(1_000)
  assert.deepEqual(broadcasts(server), [])
})

test("without ack it resolves once it is written", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  server.isMute = true
  assert.deepEqual(await outcome(clock, rt.channel("a:b").broadcast(1, { ack: false }), 10), [undefined])
  await clock.advance(20_000)
  assert.deepEqual(broadcasts(server), [1])
})

test("an aborted signal rejects with its reason, and what was not written stays so", async () => {
  const { clock, server, rt } = world()
  server.isDown = true
  const stop = new AbortController()
  const sent = rt.channel("a:b").broadcast(1, { signal: stop.signal })
  await clock.advance(100)
  stop.abort(new Error("enough"))
  assert.equal((await outcome(clock, sent))[1].message, "enough")
  assert.equal((await outcome(clock, rt.channel("a:b").broadcast(2, { signal: stop.signal })))[1].message, "enough")
  server.isDown = false
  await clock.until(() => rt.status.state === "open")
  await clock.advance(100)
  assert.deepEqual(broadcasts(server), [])
})

test("a socket that takes nothing more makes it reject at once", async () => {
  const { clock, server, open } = world()
  let socket
  class Stuck extends server.WebSocket {
    constructor(...all) {
      super(...all)
      socket = this
    }
  }
  const rt = open({ WebSocket: Stuck })
  await outcome(clock, rt.ready())
  socket.bufferedAmount = 2 << 20
  assert.equal((await outcome(clock, rt.channel("a:b").broadcast(1)))[1].code, "not_sent")
})

test("of what waits for an answer when a frame was too big, the biggest is to blame", async () => {
  const { clock, server, rt } = world({ latency: 100 })
  await outcome(clock, rt.ready())
  const room = rt.channel("a:b")
  const sent = [room.broadcast("small"), room.broadcast("x".repeat(70_000)), room.broadcast("small")]
  server.close(1009)
  const codes = await outcome(clock, Promise.all(sent.map((one) => one.catch((error) => error.code))))
  assert.deepEqual(codes, [["unknown", "message_too_big", "unknown"]])
})

test("a channel is subscribed to while somebody listens", async () => {
  const { clock, server, rt } = world()
  const room = rt.channel("room:lobby")
  await outcome(clock, rt.ready())
  const off = room.on("broadcast", () => {})
  await clock.until(() => room.state.subscribed)
  off()
  await clock.advance(2_000)
  assert.deepEqual([received(server, "subscribe").length, received(server, "unsubscribe").length], [1, 1])
  const heard = collect(room, "broadcast", text)
  await clock.until(() => room.state.subscribed)
  server.broadcast("room:lobby", 1)
  await clock.until(() => heard.length)
  room.close()
  room.on("broadcast", () => {})
  await clock.advance(2_000)
  assert.equal(received(server, "unsubscribe").length, 2)
  assert.equal(room.state.subscribed, false)
})

test("broadcasts of a short absence come after it, and those of a long one are a gap", async () => {
  const { clock, server, rt } = world()
  const room = rt.channel("room:lobby")
  const [heard, gaps] = [collect(room, "broadcast", text), collect(room, "gap", (gap) => gap.reason)]
  await clock.until(() => room.state.subscribed)
  server.cut()
  server.broadcast("room:lobby", 1)
  await clock.until(() => heard.length === 1)
  server.cut()
  server.broadcast("room:lobby", 2)
  server.forget()
  await clock.until(() => gaps.length === 1)
  server.broadcast("room:lobby", 3)
  await clock.until(() => heard.length === 2)
  assert.deepEqual([heard, gaps], [[1, 3], ["history"]])
})

// Presence.

const names = (entries) => entries.map((entry) => entry.state.name)

test("presence is set, seen by all, and ended", async () => {
  const { clock, server, rt, open } = world()
  const [ann, bob] = [rt.channel("room:lobby").presence, open().channel("room:lobby").presence]
  const events = []
  for (const type of ["sync", "join", "update", "leave"]) bob.on(type, (entries) => events.push([type, ...names(entries)]))
  await clock.until(() => events.length)
  await outcome(clock, ann.set({ name: "Ann" }))
  await outcome(clock, ann.set({ name: "Anna" }))
  await clock.advance(10)
  assert.deepEqual(names(bob.list), ["Anna"])
  assert.deepEqual(Object.keys(bob.list[0]), ["connection_id", "user_id", "state", "joined_at", "updated_at"])
  assert.equal(bob.list, bob.list)
  await outcome(clock, ann.leave())
  await clock.advance(10)
  assert.deepEqual(events, [["sync"], ["join", "Ann"], ["update", "Anna"], ["leave", "Anna"]])
  assert.deepEqual(bob.list, [])
  assert.deepEqual(received(server, "presence")[0], { type: "presence", state: { name: "Ann" }, channel: "room:lobby", ref: 1 })
})

test("presence in the project has no channel", async () => {
  const { clock, server, rt } = world()
  assert.deepEqual(rt.presence.list, [])
  await outcome(clock, rt.presence.set({ name: "Ann" }))
  await clock.until(() => rt.presence.list.length)
  assert.equal(received(server, "subscribe")[0].channel, "presence")
  assert.deepEqual(received(server, "presence")[0], { type: "presence", state: { name: "Ann" }, ref: 1 })
})

test("presence is set again after a reconnect, as it was last", async () => {
  const { clock, server, rt } = world()
  const { presence } = rt.channel("room:lobby")
  const state = { name: "Ann" }
  presence.set(state)
  rt.presence.set({ name: "gone" })
  await clock.advance(100)
  state.name = "changed behind its back"
  rt.presence.leave()
  await clock.advance(100)
  for (let n = 0; n < 3; n++) {
    server.cut()
    await clock.until(() => server.connections.length === 1 && server.present("room:lobby").length === 1)
    assert.deepEqual(names(server.present("room:lobby")), ["Ann"])
    assert.deepEqual(server.present(), [])
  }
})

test("a state set while there is no connection is set once there is one, the last one only", async () => {
  const { clock, server, rt } = world()
  server.isDown = true
  const { presence } = rt.channel("a:b")
  const settled = [presence.set({ n: 1 }), presence.set({ n: 2 }), presence.leave(), presence.set({ n: 3 })]
  await clock.advance(5_000)
  server.isDown = false
  await outcome(clock, Promise.all(settled))
  assert.deepEqual(received(server, "presence").map((one) => one.state), [{ n: 3 }])
  await outcome(clock, presence.leave())
})

test("leaving without having been there sends nothing, and opens nothing", async () => {
  const { clock, server, rt } = world()
  assert.deepEqual(await outcome(clock, rt.presence.leave(), 10), [undefined])
  assert.equal(server.attempts, 0)
})

test("a state that the server refuses rejects, and the one before it stays", async () => {
  const { clock, server, rt } = world()
  const { presence } = rt.channel("a:b")
  await outcome(clock, presence.set({ name: "Ann" }))
  server.refusals.set("presence:a:b", "message_too_big")
  assert.equal((await outcome(clock, presence.set({ name: "A".repeat(5_000) })))[1].code, "message_too_big")
  server.refusals.clear()
  server.cut()
  await clock.until(() => server.connections.length === 1 && server.present("a:b").length === 1)
  assert.deepEqual(names(server.present("a:b")), ["Ann"])
})

test("a refusal that nobody waits for is no unhandled rejection", async () => {
  const { clock, server, rt } = world()
  server.refusals.set("presence:a:b", "forbidden")
  rt.channel("a:b").presence.set({})
  await clock.advance(1_000)
  await new Promise((resolve) => setImmediate(resolve))
})

test("unavailable is tried again until the state is there", async () => {
  const { clock, server, rt } = world()
  server.refusals.set("presence:a:b", "unavailable")
  const settled = rt.channel("a:b").presence.set({ name: "Ann" })
  await clock.advance(30_000)
  server.refusals.clear()
  assert.deepEqual(await outcome(clock, settled), [undefined])
})

test("a state that is too big for a frame is given up, and the connection comes back", async () => {
  const { clock, server, rt } = world({ latency: 50 })
  await outcome(clock, rt.ready())
  const settled = rt.channel("a:b").presence.set({ name: "A".repeat(100_000) })
  server.close(1009)
  assert.equal((await outcome(clock, settled))[1].code, "message_too_big")
  await clock.until(() => rt.status.state === "open")
  await clock.advance(1_000)
  assert.equal(received(server, "presence").length, 0)
})

test("a list in parts is told once it is whole, with what happened meanwhile", async () => {
  const { clock, server, rt } = world()
  const { presence } = rt.channel("room:lobby")
  const syncs = collect(presence, "sync", names)
  await clock.until(() => syncs.length === 1)
  const entry = (id) => ({ connection_id: id, user_id: null, state: { name: id }, joined_at: "", updated_at: "" })
  const say = (event, ids, more) => server.connections[0].send({ type: "presence", channel: "presence:room:lobby", event, presences: ids.map(entry), more })
  say("sync", ["a", "b"], true)
  say("join", ["e"])
  say("leave", ["a"])
  say("sync", ["c"], true)
  await clock.advance(10)
  assert.equal(syncs.length, 1)
  say("sync", ["d"], false)
  await clock.until(() => syncs.length === 2)
  assert.deepEqual(syncs[1], ["b", "e", "c", "d"])
  say("sync", ["z"], true)
  await clock.advance(10)
  server.cut()
  await clock.until(() => syncs.length === 3)
  assert.deepEqual(syncs[2], [])
})

test("one that listens later gets the list at once", async () => {
  const { clock, server, rt } = world()
  const first = rt.channel("room:lobby")
  first.presence.set({ name: "Ann" })
  await clock.until(() => first.presence.list.length)
  const second = rt.channel("room:lobby").presence
  const syncs = collect(second, "sync", names)
  await clock.advance(1)
  assert.deepEqual([syncs, names(second.list)], [[["Ann"]], ["Ann"]])
  assert.equal(received(server, "subscribe").length, 1)
})

test("closing a room ends what it is present with a second later, unless another room took it over", async () => {
  const { clock, server, rt } = world()
  const first = rt.channel("a:b")
  await outcome(clock, first.presence.set({ name: "first" }))
  first.close()
  const second = rt.channel("a:b")
  await outcome(clock, second.presence.set({ name: "second" }))
  await clock.advance(3_000)
  assert.deepEqual(names(server.present("a:b")), ["second"])
  second.close()
  await clock.advance(3_000)
  assert.deepEqual(server.present("a:b"), [])
})
