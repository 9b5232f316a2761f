import assert from "node:assert/strict"
import { test } from "node:test"
import { createElement as h, StrictMode } from "react"
import { renderToString } from "react-dom/server"
import { act, create } from "react-test-renderer"
import { received, world } from "./setup.mjs"
import { RealtimeProvider, useBroadcast, usePresence, useRealtime, useStatus, useTable } from "../dist/react.js"

globalThis.IS_REACT_ACT_ENVIRONMENT = true
// It warns of itself at each render; any other error of React fails the test that it comes in.
console.error = (text) => assert.match(String(text), /react-test-renderer is deprecated/)

/** Renders a component below a provider, in strict mode; `rerender` gives it other props. */
async function mount(Component, props, strict = true) {
  const all = world()
  const page = (some) => {
    const inner = h(RealtimeProvider, { client: all.rt }, some && h(Component, some))
    return strict ? h(StrictMode, null, inner) : inner
  }
  let root
  await act(async () => (root = create(page(props))))
  const rerender = (some) => act(async () => root.update(page(some)))
  const advance = (ms) => act(() => all.clock.advance(ms))
  await advance(100)
  return { ...all, root, rerender, advance, text: () => JSON.stringify(root.toJSON()) }
}

const Orders = ({ name, filter, event, onChange, onGap }) => {
  const { subscribed, error } = useTable(name, { filter, event, onChange, onGap })
  return `${subscribed} ${error?.code ?? "fine"}`
}

test("strict mode opens one connection and one subscription", async () => {
  const { server, text, rerender, advance } = await mount(Orders, { name: "orders" })
  assert.equal(text(), '"true fine"')
  await advance(5_000)
  assert.deepEqual([server.attempts, received(server, "subscribe").length, received(server, "unsubscribe").length], [1, 1, 0])
  await rerender(null)
  await advance(5_000)
  assert.deepEqual([server.attempts, received(server, "unsubscribe").length], [1, 1])
})

test("another table, or filter, is subscribed to on the same connection, and the old one is given up", async () => {
  const { server, rerender, advance, text } = await mount(Orders, { name: "orders" })
  await rerender({ name: "users" })
  await rerender({ name: "orders", filter: "id=eq.1", event: "INSERT" })
  await advance(100)
  assert.equal(text(), '"true fine"')
  await advance(5_000)
  assert.equal(server.attempts, 1)
  assert.deepEqual([...server.connections[0].subscriptions.keys()], ["table:orders:INSERT\nid=eq.1"])
  await rerender({ name: null })
  await advance(5_000)
  assert.equal(text(), '"false fine"')
  assert.equal(server.connections[0].subscriptions.size, 0)
})

test("going away and back within a second keeps the subscription, and misses nothing", async () => {
  const heard = []
  const onChange = (change) => heard.push(change.id)
  const { server, rerender, advance } = await mount(Orders, { name: "orders", onChange })
  for (let n = 0; n < 10; n++) {
    await rerender({ name: "users", onChange })
    await advance(50)
    await rerender({ name: "orders", onChange })
    server.change("orders")
    await advance(50)
  }
  assert.equal(received(server, "subscribe").filter((one) => one.channel === "table:orders").length, 1)
  assert.equal(heard.length, 10)
})

test("the callbacks of the last render are called", async () => {
  const heard = []
  const listen = (name) => ({ name: "orders", onChange: () => heard.push(name), onGap: ({ reason }) => heard.push(`${name} ${reason}`) })
  const { server, rerender, advance } = await mount(Orders, listen("first"))
  await rerender(listen("second"))
  server.change("orders")
  server.wipe()
  await advance(100)
  assert.deepEqual(heard, ["second", "second resync"])
})

test("a refusal is in the state", async () => {
  const all = await mount(Orders, null)
  all.server.refusals.set("table:orders", "forbidden")
  await all.rerender({ name: "orders" })
  await all.advance(100)
  assert.equal(all.text(), '"false forbidden"')
})

test("useStatus follows the connection", async () => {
  const Status = () => useStatus().state
  const { rt, server, advance, text } = await mount(Status, {})
  assert.equal(text(), '"idle"')
  await act(async () => rt.table("orders"))
  await advance(100)
  assert.equal(text(), '"open"')
  server.isDown = true
  server.cut()
  await advance(100_000)
  assert.match(text(), /waiting|connecting/)
})

const People = ({ channel, state }) => usePresence(channel, state).map((entry) => entry.state.name).join()

for (const channel of ["room:lobby", undefined])
  test(`usePresence shows who is there, and is there itself: ${channel}`, async () => {
    const { open, server, rerender, advance, text } = await mount(People, { channel, state: { name: "Ann" } })
    assert.equal(text(), '"Ann"')
    const bob = open()
    const theirs = channel ? bob.channel(channel).presence : bob.presence
    theirs.set({ name: "Bob" })
    await advance(100)
    assert.equal(text(), '"Ann,Bob"')
    const before = received(server, "presence").length
    await rerender({ channel, state: { name: "Ann" } })
    await advance(100)
    assert.equal(received(server, "presence").length, before)
    await rerender({ channel, state: { name: "Anna" } })
    await advance(100)
    assert.equal(text(), '"Anna,Bob"')
    await rerender({ channel, state: null })
    await advance(100)
    assert.equal(text(), '"Bob"')
    await rerender({ channel, state: { name: "Ann" } })
    await rerender(null)
    await advance(3_000)
    assert.deepEqual(server.present(channel).map((entry) => entry.state.name), ["Bob"])
  })

test("usePresence in another room leaves the one before", async () => {
  const { server, rerender, advance, text } = await mount(People, { channel: "a:1", state: { name: "Ann" } })
  await rerender({ channel: "a:2", state: { name: "Ann" } })
  await advance(3_000)
  assert.deepEqual([server.present("a:1").length, server.present("a:2").length, server.attempts], [0, 1, 1])
  assert.equal(text(), '"Ann"')
})

test("useBroadcast sends, and listens where it is given a listener", async () => {
  const heard = []
  let send
  const Chat = ({ channel, onMessage }) => ((send = useBroadcast(channel, onMessage)), null)
  const onMessage = ({ payload }) => heard.push(payload)
  const { server, rerender, advance } = await mount(Chat, { channel: "room:lobby" })
  const first = send
  await rerender({ channel: "room:lobby", onMessage })
  assert.equal(send, first)
  await advance(100)
  const sent = send({ text: "hi" })
  await advance(100)
  await sent
  assert.deepEqual(heard, [{ text: "hi" }])
  await rerender({ channel: "room:other", onMessage })
  await advance(3_000)
  assert.deepEqual([...server.connections[0].subscriptions.keys()], ["room:other\n"])
  assert.equal(server.attempts, 1)
})

test("on a server it renders, and opens nothing", async () => {
  const { clock, server, rt } = world()
  const Page = () => [useStatus().state, String(useTable("orders").subscribed), String(usePresence("a:b", { name: "Ann" }).length), typeof useBroadcast("a:b")].join(" ")
  assert.equal(renderToString(h(RealtimeProvider, { client: rt }, h(Page))), "idle false 0 function")
  await clock.advance(10_000)
  assert.equal(server.attempts, 0)
})

test("without a provider a hook says so", () => {
  assert.throws(() => renderToString(h(() => (useRealtime(), null))), /RealtimeProvider/)
})
