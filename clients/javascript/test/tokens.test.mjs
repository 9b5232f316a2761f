import assert from "node:assert/strict"
import { test } from "node:test"
import { outcome, received, Unauthorized, world } from "./setup.mjs"

/** A token callback that notes why it was asked, and takes some time. */
function source(server, { ms = 10, answer = () => server.token() } = {}) {
  const asked = []
  const token = async ({ reason, signal }) => {
    assert.ok(signal instanceof AbortSignal)
    asked.push(reason)
    token.running++
    token.most = Math.max(token.most, token.running)
    try {
      await new Promise((resolve) => server.clock.later(ms, resolve))
      return await answer(reason, asked.length)
    } finally {
      token.running--
    }
  }
  return Object.assign(token, { asked, running: 0, most: 0 })
}

function asking(options) {
  const { clock, server, open } = world()
  const token = source(server, options)
  return { clock, server, token, rt: open({ token }) }
}

/** Open the connection with a token of one minute; those that follow are good for an hour. */
async function openForAMinute({ clock, server, rt }) {
  server.tokenSeconds = 60
  await outcome(clock, rt.ready())
  server.tokenSeconds = 3_600
}

test("the token is asked for once, and used again after a cut", async () => {
  const { clock, server, token, rt } = asking()
  await outcome(clock, rt.ready())
  server.cut()
  await clock.until(() => server.attempts === 2 && rt.status.state === "open")
  assert.deepEqual(token.asked, ["first"])
})

test("a newer token is asked for 30 s before the old one ends, and sent by auth", async () => {
  const { clock, server, token, rt } = asking()
  server.tokenSeconds = 600
  await outcome(clock, rt.ready())
  await clock.advance(569_000)
  assert.deepEqual(token.asked, ["first"])
  await clock.advance(3_500)
  assert.deepEqual(token.asked, ["first", "expiring"])
  assert.equal(received(server, "auth").length, 1)
  await clock.advance(6_000_000)
  assert.equal(server.attempts, 1)
  assert.ok(token.asked.length <= 13, `${token.asked.length}`)
})

test("a callback that fails is asked again while the old token is good", async () => {
  const { clock, server, token, rt } = asking({
    answer: (_reason, count) => {
      if (count > 1 && count < 5) throw new Error("no network")
      return server.token()
    },
  })
  await openForAMinute({ clock, server, rt })
  await clock.advance(60_000)
  assert.equal(token.asked.length, 5)
  assert.equal(server.attempts, 1)
  assert.equal(rt.status.state, "open")
})

test("a callback that fails before a connection is asked again with back-off, and its error kills nothing", async () => {
  const { clock, server, token, rt } = asking({
    answer: (_reason, count) => {
      if (count < 8) throw new Error("no network")
      return server.token()
    },
  })
  const ready = rt.ready()
  await clock.until(() => rt.status.reason === "token_failed")
  assert.equal(rt.status.state, "waiting")
  assert.deepEqual(await outcome(clock, ready, 300_000), [undefined])
  assert.deepEqual(new Set(token.asked), new Set(["first"]))
  assert.equal(server.attempts, 1)
})

test("a callback that gives no string is a failure like another", async () => {
  const { clock, server, rt } = asking({ answer: (_reason, count) => (count < 3 ? undefined : server.token()) })
  assert.deepEqual(await outcome(clock, rt.ready()), [undefined])
})

test("a callback that throws before it returns a promise is a failure like another", async () => {
  const { clock, server, open } = world()
  let count = 0
  const rt = open({
    token: () => {
      if (++count < 3) throw new Error("at once")
      return server.token()
    },
  })
  assert.deepEqual(await outcome(clock, rt.ready()), [undefined])
})

test("a callback that hangs is aborted after 30 s, and asked again", async () => {
  const { clock, server, open } = world()
  const signals = []
  const rt = open({
    token: ({ signal }) => {
      signals.push(signal)
      return signals.length < 3 ? new Promise(() => {}) : server.token()
    },
  })
  assert.deepEqual(await outcome(clock, rt.ready(), 120_000), [undefined])
  assert.deepEqual(signals.map((signal) => signal.aborted), [true, true, false])
})

test("closing aborts the callback's signal", async () => {
  const { clock, open } = world()
  let signal
  const rt = open({ token: (request) => (signal = request.signal, new Promise(() => {})) })
  rt.table("orders")
  await clock.advance(10)
  await rt.close()
  assert.equal(signal.aborted, true)
  await clock.advance(60_000)
  assert.equal(clock.timers, 0)
})

test("after 4401 the callback is asked once with rejected", async () => {
  const { clock, server, token, rt } = asking()
  await outcome(clock, rt.ready())
  server.revoke()
  server.close(4401, "token_expired")
  await clock.until(() => rt.status.state === "waiting")
  assert.equal(rt.status.reason, "token_expired")
  await clock.until(() => rt.status.state === "open")
  assert.deepEqual(token.asked, ["first", "rejected"])
})

test("a second 4401 closes for good", async () => {
  const { clock, server, token, rt } = asking({ answer: () => "known" })
  server.token()
  server.refuse(4401, "unauthorized")
  server.refuse(4401, "token_expired")
  const [, error] = await outcome(clock, rt.ready())
  assert.ok(error instanceof Unauthorized)
  assert.equal(error.code, "token_expired")
  assert.equal(error.message, "refused: token_expired")
  await clock.advance(600_000)
  assert.deepEqual(token.asked, ["first", "rejected"])
  assert.equal(server.attempts, 2)
  assert.equal(rt.status.state, "closed")
})

test("a refusal much later is a first one again", async () => {
  const { clock, server, token, rt } = asking()
  await outcome(clock, rt.ready())
  for (let n = 0; n < 3; n++) {
    server.revoke()
    server.close(4401, "token_expired")
    await clock.until(() => rt.status.state !== "open")
    await clock.until(() => rt.status.state === "open")
  }
  assert.deepEqual(token.asked, ["first", "rejected", "rejected", "rejected"])
})

test("a string that is refused closes for good", async () => {
  const { clock, server, open } = world()
  const rt = open({ token: "old" })
  server.refuse(4401, "unauthorized")
  const [, error] = await outcome(clock, rt.ready())
  assert.ok(error instanceof Unauthorized)
  assert.equal(server.attempts, 1)
})

test("a token that no WebSocket can carry counts as refused", async () => {
  const { clock, open } = world()
  assert.equal((await outcome(clock, open({ token: "not a token" }).ready()))[1].code, "unauthorized")
  assert.equal((await outcome(clock, open({ token: "" }).ready()))[1].code, "unauthorized")
  assert.equal((await outcome(clock, open({ token: () => "a b" }).ready()))[1].code, "unauthorized")
})

for (const when of ["first", "expiring", "rejected"])
  test(`Unauthorized thrown for ${when} closes for good`, async () => {
    const { clock, server, token, rt } = asking({
      answer: (reason) => {
        if (reason === when) throw new Unauthorized("signed out")
        return server.token()
      },
    })
    server.tokenSeconds = 40
    if (when === "rejected") server.refuse(4401, "unauthorized")
    rt.table("orders")
    await clock.until(() => rt.status.state === "closed")
    const [, error] = await outcome(clock, rt.ready())
    assert.ok(error instanceof Unauthorized)
    assert.equal(error.message, "signed out")
    await clock.advance(600_000)
    assert.equal(token.asked.at(-1), when)
    assert.equal(clock.timers + clock.listeners, 0)
  })

test("only one question is open at a time, whatever happens meanwhile", async () => {
  const { clock, server, token, rt } = asking({ ms: 8_000 })
  server.tokenSeconds = 45
  rt.table("orders")
  for (let n = 0; n < 400; n++) {
    await clock.advance(clock.random() * 4_000)
    if (n % 7 === 0) server.cut()
    if (n % 11 === 0) server.revoke(), server.close(4401, "token_expired")
    if (n % 3 === 0) clock.dispatch("focus")
  }
  assert.equal(token.most, 1)
  server.tokenSeconds = 3_600
  await clock.until(() => rt.status.state === "open")
})

test("a question that is under way when the connection is cut is not asked again", async () => {
  const { clock, server, token, rt } = asking({ ms: 5_000 })
  await openForAMinute({ clock, server, rt })
  await clock.until(() => token.running)
  server.cut()
  await clock.until(() => server.attempts === 2 && rt.status.state === "open")
  assert.deepEqual(token.asked, ["first", "expiring"])
  assert.equal(server.connections[0].token, "token-2")
})

test("a newer token that is refused leaves the old one, and another is asked for", async () => {
  const { clock, server, token, rt } = asking({
    answer: (_reason, count) => (count === 2 ? server.token(-1) : server.token()),
  })
  await openForAMinute({ clock, server, rt })
  await clock.advance(60_000)
  assert.equal(token.asked.length, 3)
  assert.equal(server.attempts, 1)
})

test("a clock that is an hour ahead does not make it ask without end", async () => {
  const { clock, server, open } = world()
  const token = source(server)
  const runtime = { ...clock.runtime, now: () => clock.now + 3_600_000 }
  const rt = open({ token, runtime })
  server.tokenSeconds = 3_500
  await outcome(clock, rt.ready())
  await clock.advance(600_000)
  assert.ok(token.asked.length < 30, `${token.asked.length}`)
  assert.equal(rt.status.state, "open")
})

test("a token that lives for months is not asked for at once", async () => {
  const { clock, server, token, rt } = asking()
  server.tokenSeconds = 90 * 86_400
  await outcome(clock, rt.ready())
  await clock.advance(60_000)
  assert.deepEqual(token.asked, ["first"])
})

test("a machine that slept over the end of its token comes back with a newer one", async () => {
  const { clock, server, token, rt } = asking()
  server.tokenSeconds = 120
  const table = rt.table("orders")
  await clock.until(() => table.state.subscribed)
  await clock.sleep(3_600_000)
  await clock.until(() => table.state.subscribed && server.connections.length === 1)
  assert.equal(token.asked[0], "first")
  assert.ok(token.asked.length <= 3, `${token.asked}`)
})
