import assert from "node:assert/strict"
import { test } from "node:test"
import { collect, world } from "./setup.mjs"

/** What becomes of a row's JSON text on its way. */
async function row(text, integers) {
  const { clock, server, open } = world()
  const table = open({ integers }).table("orders")
  const heard = collect(table, "change", (change) => change.data)
  await clock.until(() => table.state.subscribed)
  server.connections[0].sendText(`{"type":"realtime","channel":"table:orders","id":"9-1","event":"INSERT","data":${text},"old":null}`)
  await clock.until(() => heard.length)
  return heard[0]
}

const TEXT = `{"max":9007199254740991,"over":9007199254740993,"edge":9007199254740992,"big":-9223372036854775808,
  "huge":123456789012345678901234567890,"decimal":12345678901234567890.10,"power":1e25,"small":7,"minus":-0,
  "text":"9007199254740993","tricky":"a\\"9007199254740993,\\\\","list":[9007199254740993,{"9007199254740993":9007199254740995}],
  "none":null,"yes":true,"nine":"1\\u0000 0.5"}`

const whole = (convert) => ({
  ...JSON.parse(TEXT),
  over: convert("9007199254740993"),
  edge: convert("9007199254740992"),
  big: convert("-9223372036854775808"),
  huge: convert("123456789012345678901234567890"),
  list: [convert("9007199254740993"), { "9007199254740993": convert("9007199254740995") }],
})

test("number is what JSON.parse gives", async () => {
  assert.deepEqual(await row(TEXT, undefined), JSON.parse(TEXT))
  assert.deepEqual(await row(TEXT, "number"), JSON.parse(TEXT))
})

test("integers beyond 2^53 keep each digit", async () => {
  assert.deepEqual(await row(TEXT, "bigint"), whole(BigInt))
  assert.deepEqual(await row(TEXT, "string"), whole(String))
})

test("a row nested deeper than the stack comes, with each digit", async () => {
  const DEPTH = 20_000
  let inner = await row(`${"[".repeat(DEPTH)}9007199254740993${"]".repeat(DEPTH)}`, "bigint")
  for (let depth = 0; depth < DEPTH; depth++) [inner] = inner
  assert.equal(inner, 9007199254740993n)
})

test("a name that an object has by itself is a column like any other", async () => {
  const data = await row('{"__proto__":{"constructor":9007199254740993},"__proto__2":1}', "bigint")
  assert.equal(Object.getOwnPropertyDescriptor(data, "__proto__").value.constructor, 9007199254740993n)
  assert.equal(Object.getPrototypeOf(data), Object.prototype)
})
