import assert from "node:assert/strict"
import { test } from "node:test"
import { fakeServer } from "../dist/testing.js"
import { outcome, received, RealtimeError, Unauthorized, URL, connect, world } from "./setup.mjs"

const states = (rt) => rt.statuses.map((status) => status.state)

test("connect opens nothing, and touches nothing of the page, until it is used", async () => {
  const { clock, server, rt } = world()
  await clock.advance(60_000)
  assert.equal(server.attempts, 0)
  assert.equal(clock.timers + clock.listeners, 0)
  assert.deepEqual(rt.status, { state: "idle", attempt: 0, retryAt: null, reason: null })
})

for (const [given, wanted] of [
  ["https://host/projects/demo", "wss://host/projects/demo/realtime/ws"],
  ["http://host:8000/projects/demo/", "ws://host:8000/projects/demo/realtime/ws"],
  ["wss://host/projects/demo", "wss://host/projects/demo/realtime/ws"],
  ["ws://host/a/projects/demo#part", "ws://host/a/projects/demo/realtime/ws"],
])
  test(`${given} is ${wanted}, and the token is not in it`, async () => {
    const { clock, server } = world()
    const rt = connect(given, { token: "secret", WebSocket: server.WebSocket, runtime: clock.runtime })
    await outcome(clock, rt.ready())
    assert.equal(server.connections[0].url, wanted)
    assert.equal(server.connections[0].token, "secret")
  })

test("an address that is none, or not of the web, is a TypeError", () => {
  for (const url of ["projects/demo", "ftp://host/projects/demo"]) assert.throws(() => connect(url, { token: "t" }), TypeError)
})

test("a relative address is the page's", async () => {
  const { clock, server } = world()
  globalThis.location = { href: "https://page.example/app/index.html" }
  try {
    const rt = connect("/projects/demo", { token: "t", WebSocket: server.WebSocket, runtime: clock.runtime })
    await outcome(clock, rt.ready())
    assert.equal(server.connections[0].url, "wss://page.example/projects/demo/realtime/ws")
  } finally {
    delete globalThis.location
  }
})

test("ready resolves once the connection is open, and the status says each step", async () => {
  const { clock, rt } = world()
  await outcome(clock, rt.ready())
  assert.deepEqual(states(rt), ["connecting", "open"])
  assert.deepEqual(await outcome(clock, rt.ready()), [undefined])
})

test("ready rejects with the reason of its signal, and the connection goes on", async () => {
  const { clock, server, rt } = world()
  server.isBlackHole = true
  const stop = new AbortController()
  const ready = rt.ready({ signal: stop.signal })
  await clock.advance(100)
  stop.abort(new Error("enough"))
  assert.equal((await outcome(clock, ready))[1].message, "enough")
  assert.equal(rt.status.state, "connecting")
  assert.equal((await outcome(clock, rt.ready({ signal: AbortSignal.abort(new Error("at once")) })))[1].message, "at once")
})

test("close ends everything, for good, and leaves nothing in the page", async () => {
  const { clock, server, rt } = world()
  const table = rt.table("orders")
  await outcome(clock, rt.ready())
  await rt.close()
  await rt.close()
  await clock.advance(60_000)
  assert.equal(rt.status.state, "closed")
  assert.equal(server.connections.length, 0)
  assert.equal(clock.timers + clock.listeners, 0)
  assert.equal((await outcome(clock, rt.ready()))[1].code, "closed")
  assert.equal(table.state.subscribed, false)
  assert.equal(rt.table("more").state.error.code, "closed")
  assert.equal((await outcome(clock, rt.channel("a:b").broadcast(1)))[1].code, "closed")
  assert.equal((await outcome(clock, rt.presence.set({})))[1].code, "closed")
})

test("the signal of connect closes the client", async () => {
  const stop = new AbortController()
  const { clock, rt } = world({ signal: stop.signal })
  await outcome(clock, rt.ready())
  stop.abort()
  assert.equal(rt.status.state, "closed")
  assert.equal(world({ signal: stop.signal }).rt.status.state, "closed")
})

test("a client that is disposed of is closed", { skip: !Symbol.asyncDispose }, async () => {
  const { clock, rt } = world()
  await outcome(clock, rt.ready())
  await rt[Symbol.asyncDispose]()
  assert.equal(rt.status.state, "closed")
})

test("delays have full jitter, grow to their bound, and have no last one", async () => {
  const { clock, server, rt } = world({ seed: 7 })
  server.isDown = true
  rt.table("orders")
  await clock.advance(3_600_000)
  const waits = rt.statuses.filter((status) => status.state === "waiting")
  assert.ok(waits.length > 100, `${waits.length}`)
  assert.deepEqual(waits.slice(0, 8).map((status) => status.attempt), [1, 2, 3, 4, 5, 6, 7, 8])
  const delays = await Promise.all(Array.from({ length: 60 }, (_, seed) => firstDelays(seed, 8)))
  for (let n = 0; n < 8; n++) {
    const bound = Math.min(20_000, 500 * 2 ** n)
    const seen = delays.map((one) => one[n])
    assert.ok(Math.max(...seen) <= bound && Math.max(...seen) > 0.8 * bound, `attempt ${n}: up to ${Math.max(...seen)} of ${bound}`)
    assert.ok(Math.min(...seen) < 0.2 * bound, `attempt ${n}: from ${Math.min(...seen)}`)
  }
  assert.equal(rt.status.reason, "connection_lost")
})

async function firstDelays(seed, count) {
  const { clock, server, rt } = world({ seed })
  server.isDown = true
  const delays = []
  rt.on("status", ({ retryAt }) => retryAt && delays.push(retryAt - clock.now))
  rt.table("orders")
  await clock.until(() => delays.length >= count, 600_000)
  await rt.close()
  return delays
}

test("the back-off begins anew after 5 s of uptime, and not before", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  for (let n = 1; n <= 4; n++) {
    await clock.advance(4_000)
    server.cut()
    await clock.until(() => rt.status.state === "waiting")
    assert.equal(rt.status.attempt, n)
    await clock.until(() => rt.status.state === "open")
  }
  await clock.advance(5_000)
  server.cut()
  await clock.until(() => rt.status.state === "waiting")
  assert.equal(rt.status.attempt, 1)
})

for (const code of [1001, 1012])
  test(`after ${code} it comes back no sooner than the server asked`, async () => {
    const { clock, server, rt } = world()
    await outcome(clock, rt.ready())
    const asked = clock.now
    server.connections[0].send({ type: "reconnect", reason: "draining", after_ms: 7_000 })
    await clock.advance(100)
    assert.equal(rt.status.state, "open")
    server.close(code)
    await clock.until(() => rt.status.state === "waiting")
    assert.equal(rt.status.reason, "draining")
    clock.dispatch("focus")
    await clock.until(() => server.attempts === 2)
    assert.ok(clock.now - asked >= 7_000, `${clock.now - asked}`)
  })

test("a socket that never opens is given up after 10 s", async () => {
  const { clock, server, rt } = world()
  server.isBlackHole = true
  rt.table("orders")
  await clock.advance(9_900)
  assert.equal(rt.status.state, "connecting")
  await clock.advance(200)
  assert.equal(rt.status.reason, "timeout")
  server.isBlackHole = false
  await clock.until(() => rt.status.state === "open")
  assert.equal(server.connections.length, 1)
})

test("after a sleep a socket that never opened is given up at once", async () => {
  const { clock, server, rt } = world()
  server.isBlackHole = true
  rt.table("orders")
  await clock.advance(1_000)
  server.isBlackHole = false
  clock.freeze()
  await clock.advance(60_000)
  await clock.thaw()
  await clock.until(() => rt.status.state === "open", 1_000)
})

for (const [code, error] of [
  [4403, "forbidden"],
  [4404, "not_found"],
  [4410, "disconnected"],
])
  test(`${code} closes for good`, async () => {
    const { clock, server, rt } = world()
    server.refuse(code, error)
    const [, failure] = await outcome(clock, rt.ready())
    assert.ok(failure instanceof RealtimeError)
    assert.equal(failure.code, error)
    await clock.advance(3_600_000)
    assert.equal(server.attempts, 1)
    assert.deepEqual(rt.status, { state: "closed", attempt: 0, retryAt: null, reason: error })
    assert.equal(clock.timers + clock.listeners, 0)
  })

for (const code of [1006, 1009, 1011, 4408, 4413, 4429, 4503])
  test(`${code} is waited out`, async () => {
    const { clock, server, rt } = world()
    await outcome(clock, rt.ready())
    server.close(code, "unavailable")
    await clock.until(() => rt.status.state === "waiting")
    assert.equal(rt.status.reason, "unavailable")
    await clock.until(() => rt.status.state === "open")
  })

test("without a WebSocket the client is closed, and says so", async () => {
  const given = globalThis.WebSocket
  globalThis.WebSocket = undefined
  try {
    const { clock, rt } = world({ WebSocket: undefined })
    assert.equal((await outcome(clock, rt.ready()))[1].code, "no_websocket")
  } finally {
    globalThis.WebSocket = given
  }
})

test("an error that did not end the connection is not its reason", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  server.connections[0].send({ type: "error", code: "rate_limited", message: "slower" })
  server.connections[0].send({ type: "pong" })
  await clock.advance(100)
  server.cut()
  await clock.until(() => rt.status.state === "waiting")
  assert.equal(rt.status.reason, "connection_lost")
})

test("a status listener may close the client at any step", async () => {
  for (const step of ["connecting", "open", "waiting"]) {
    let asked = 0
    const { clock, server, open } = world()
    const rt = open({ token: () => (asked++, server.token()) })
    rt.on("status", ({ state }) => state === step && rt.close())
    rt.table("orders").on("state", () => {})
    await clock.advance(100)
    server.cut()
    await clock.advance(60_000)
    assert.equal(rt.status.state, "closed")
    assert.equal(asked, step === "connecting" ? 0 : 1)
    assert.equal(clock.timers + clock.listeners, 0)
    assert.deepEqual(clock.errors, [])
  }
})

test("a socket that was given up is deaf", async () => {
  const { clock, server, open } = world()
  const sockets = []
  class Watched extends server.WebSocket {
    constructor(...all) {
      super(...all)
      sockets.push(this)
    }
  }
  const rt = open({ WebSocket: Watched })
  await outcome(clock, rt.ready())
  server.loseConnections()
  clock.dispatch("online")
  await clock.until(() => sockets.length === 2 && rt.status.state === "open")
  assert.deepEqual([sockets[0].onmessage, sockets[0].onclose, typeof sockets[0].onerror], [null, null, "function"])
  assert.equal(sockets[0].readyState, 2)
})

// Wake-ups.

const wakes = {
  visibilitychange: (clock) => clock.show(),
  focus: (clock) => clock.dispatch("focus"),
  online: (clock) => clock.dispatch("online"),
  "pageshow from the cache": (clock) => clock.dispatch("pageshow", { persisted: true }),
  resume: (clock) => clock.dispatch("resume"),
}

for (const [name, wake] of Object.entries(wakes)) {
  test(`${name} probes an open connection, and one that answers stays`, async () => {
    const { clock, server, rt } = world()
    await outcome(clock, rt.ready())
    await clock.advance(1_500)
    wake(clock)
    wake(clock)
    await clock.advance(10_000)
    assert.equal(received(server, "ping").length, 1)
    assert.equal(server.attempts, 1)
  })

  test(`${name} replaces a dead connection 3 s later`, async () => {
    const { clock, server, rt } = world()
    await outcome(clock, rt.ready())
    await clock.advance(6_000)
    server.loseConnections()
    wake(clock)
    await clock.advance(2_990)
    assert.equal(server.attempts, 1)
    await clock.until(() => rt.status.state === "open" && server.attempts === 2, 100)
    assert.ok(rt.statuses.some((status) => status.reason === "no_answer"))
  })

  test(`${name} ends a long wait, at most once a second`, async () => {
    const { clock, server, rt } = world()
    server.isDown = true
    rt.table("orders")
    await clock.until(() => rt.status.attempt > 8 && rt.status.retryAt - clock.now > 5_000, 3_600_000)
    const before = server.attempts
    await clock.advance(1_100)
    wake(clock)
    await clock.advance(1)
    assert.equal(server.attempts, before + 1)
    for (let n = 0; n < 100; n++) {
      wake(clock)
      await clock.advance(30)
    }
    assert.ok(server.attempts - before <= 5, `${server.attempts - before}`)
  })
}

test("a page that goes to the background, or is new, is no reason to probe", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  await clock.advance(1_500)
  clock.hide()
  clock.dispatch("pageshow", { persisted: false })
  await clock.advance(5_000)
  assert.equal(received(server, "ping").length, 0)
})

test("a machine that slept finds out in 3 s that the connection is dead", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  await clock.advance(6_000)
  server.loseConnections()
  await clock.sleep(3_600_000)
  await clock.until(() => rt.status.state === "open" && server.attempts === 2, 3_600)
})

test("a frozen tab keeps a connection that lives, though its timers come late", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  for (let n = 0; n < 20; n++) {
    await clock.advance(clock.random() * 30_000)
    await clock.sleep(clock.random() * 60_000)
  }
  await clock.advance(60_000)
  assert.equal(server.attempts, 1)
  assert.equal(rt.status.state, "open")
})

test("silence for longer than the heartbeat and 10 s is probed", async () => {
  const { clock, server, rt } = world()
  await outcome(clock, rt.ready())
  await clock.advance(34_000)
  assert.equal(received(server, "ping").length, 0)
  await clock.advance(4_000)
  assert.equal(received(server, "ping").length, 1)
  server.loseConnections()
  await clock.until(() => rt.status.state === "open" && server.attempts === 2, 45_000)
})

test("a message that is not JSON is reported, and the next one is taken", async () => {
  const { clock, server, rt } = world()
  const table = rt.table("orders")
  await outcome(clock, rt.ready())
  for (const text of ["{", "null", "7", '"x"', "[]", '{"type":"news"}', '{"type":"realtime","channel":"table:gone","id":"1"}']) server.connections[0].sendText(text)
  server.change("orders")
  await clock.until(() => table.position === "1-1")
  assert.ok(clock.errors.length >= 1)
})

for (const afterMs of [undefined, null, "soon", {}, [], -1e300, "1e300", 12345678901234567])
  test(`a farewell with ${JSON.stringify(afterMs)} for a time takes no back-off away`, async () => {
    const { clock, server, rt } = world({ integers: "bigint" })
    await outcome(clock, rt.ready())
    server.connections[0].send({ type: "reconnect", reason: "draining", after_ms: afterMs })
    server.isDown = true
    await clock.advance(10)
    server.cut()
    await clock.advance(60_000)
    assert.ok(rt.status.retryAt > clock.now, `waits until ${rt.status.retryAt}`)
    assert.ok(server.attempts < 20, `${server.attempts} attempts in a minute`)
    server.isDown = false
    await clock.advance(3_700_000)
    assert.equal(rt.status.state, "open")
    assert.deepEqual(clock.errors, [])
  })

for (const heartbeatSeconds of [null, "often", {}, 0, 12345678901234567])
  test(`a heartbeat of ${JSON.stringify(heartbeatSeconds)} seconds keeps no connection from opening`, async () => {
    const { clock, open } = world()
    const server = fakeServer({ clock, heartbeatSeconds })
    const rt = open({ WebSocket: server.WebSocket, token: "t", integers: "bigint" })
    assert.deepEqual(await outcome(clock, rt.ready()), [undefined])
    if (heartbeatSeconds > 1) return // so long does nobody wait
    server.loseConnections()
    await clock.advance(60_000)
    assert.equal(server.attempts, 2) // its silence was noticed
    assert.deepEqual(clock.errors, [])
  })

test("what listeners throw is reported, and the others hear all the same", async () => {
  const { clock, server, rt } = world()
  const heard = []
  rt.on("status", () => { throw new Error("status") })
  const table = rt.table("orders")
  table.on("change", () => { throw new Error("change") })
  table.on("change", (change) => heard.push(change.id))
  await outcome(clock, rt.ready())
  await clock.advance(100)
  server.change("orders")
  server.change("orders")
  await clock.advance(100)
  assert.deepEqual(heard, ["1-1", "1-2"])
  assert.deepEqual(clock.errors.map((error) => error.message), ["status", "status", "change", "change"])
})

test("where the runtime has no reportError, an error is thrown behind the client's back", async () => {
  const { clock, server } = world()
  const { reportError: _, ...runtime } = clock.runtime
  const thrown = []
  const original = globalThis.queueMicrotask
  globalThis.queueMicrotask = (run) => { try { run() } catch (error) { thrown.push(error.message) } }
  const had = globalThis.reportError
  globalThis.reportError = undefined
  try {
    const rt = connect(URL, { token: "t", WebSocket: server.WebSocket, runtime })
    rt.on("status", () => { throw new Error("oh") })
    await outcome(clock, rt.ready())
    assert.deepEqual(thrown, ["oh", "oh"])
    await rt.close()
  } finally {
    globalThis.queueMicrotask = original
    globalThis.reportError = had
  }
})

test("on gives back what undoes it, once, and the same function may listen twice", async () => {
  const { clock, rt } = world()
  const heard = []
  const listener = ({ state }) => heard.push(state)
  const off = rt.on("status", listener)
  rt.on("status", listener)
  off()
  off()
  if (Symbol.dispose) assert.equal(typeof off[Symbol.dispose], "function")
  await outcome(clock, rt.ready())
  assert.deepEqual(heard, ["connecting", "open"])
})
