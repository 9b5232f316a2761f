// Cuts one client off thousands of times, and tells what it holds after the first thousand and at the end.
//
//     node --expose-gc memory.mjs '{"client": "realtime.mjs", "ws": "…/ws/wrapper.mjs", "marks": [1000, 5000]}'
import { setImmediate } from "node:timers/promises"

const { client, ws, marks } = JSON.parse(process.argv[2])
const { connect } = await import(client)
const { WebSocket, WebSocketServer } = await import(ws)

const LATER = "2100-01-01T00:00:00.000000Z"
let connections = 0
let changes = 0

/** A server that takes all, sends a change, and closes or drops the connection. */
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "realtime" })
server.on("connection", (socket) => {
  const number = ++connections
  const say = (message) => socket.send(JSON.stringify(message))
  say({ type: "connected", connection_id: `${number}`, project_id: "demo", user_id: "ann", expires_at: LATER, heartbeat_seconds: 25 })
  socket.on("message", (text) => {
    const { type, channel, ref, as } = JSON.parse(text)
    if (type == "subscribe") {
      say({ type: "subscribed", channel, position: "0", recovered: true, enabled: true, ref, as })
      if (channel != "presence") return
      say({ type: "presence", channel, event: "sync", presences: [], more: false })
      const id = `${number}`
      say({ type: "realtime", channel: "table:orders", schema: "public", table: "orders", event: "INSERT", data: { id }, old: null, id, commit_timestamp: LATER })
      say({ type: "broadcast", channel: "room:lobby", payload: id, sender: {}, id, timestamp: LATER })
    } else if (ref !== undefined && (type == "presence" || type == "broadcast")) say({ type: "ack", ref })
  })
})
await new Promise((resolve) => server.on("listening", resolve))

/** Something that events happen on, and that knows how many listen. */
function counted() {
  const listeners = new Set()
  return {
    listeners,
    addEventListener: (type, listener) => listeners.add(`${type} ${listener}`),
    removeEventListener: (type, listener) => listeners.delete(`${type} ${listener}`),
  }
}

// The client's time goes faster than ours: it bounds how often it subscribes in a second.
const SPEED = 20
const start = Date.now()
const timers = new Set()
const runtime = {
  now: () => start + (Date.now() - start) * SPEED,
  window: counted(),
  document: counted(),
  setTimeout(run, ms) {
    const timer = setTimeout(() => {
      timers.delete(timer)
      run()
    }, ms / SPEED)
    timers.add(timer)
    return timer
  },
  clearTimeout(timer) {
    timers.delete(timer)
    clearTimeout(timer)
  },
}

const signals = []
const rt = connect(`http://127.0.0.1:${server.address().port}/projects/demo`, {
  token: async ({ signal }) => (signals.push(signal), "token"),
  backoff: { min: 0, max: 0 },
  WebSocket,
  runtime,
})
const orders = rt.table("orders")
const room = rt.channel("room:lobby")
let end

/** One life of the connection: all that a client does, and then its end. */
const lived = () =>
  new Promise((resolve) => {
    end = resolve
  })
orders.on("change", () => changes++)
room.on("broadcast", () => {
  room.broadcast("hello").catch(() => {}) // the connection ends before the answer
  const sockets = [...server.clients]
  for (const socket of sockets) connections % 2 ? socket.close(1001) : socket.terminate()
  end()
})
rt.presence.on("sync", () => {})
rt.presence.set({ name: "Ann" })

for (const mark of marks) {
  while (connections < mark) await lived()
  for (let pause = 0; pause < 20; pause++) await setImmediate()
  global.gc()
  const { heapUsed } = process.memoryUsage()
  const listeners = runtime.window.listeners.size + runtime.document.listeners.size
  process.stdout.write(JSON.stringify({ kind: "held", connections, changes, heapUsed, listeners, timers: timers.size, asked: signals.length }) + "\n")
}
await rt.close()
process.stdout.write(JSON.stringify({ kind: "closed", timers: timers.size, listeners: runtime.window.listeners.size + runtime.document.listeners.size }) + "\n")
for (const socket of server.clients) socket.terminate()
server.close()
process.stdin.destroy()
