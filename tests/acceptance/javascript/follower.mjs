// Follows a table with one client or several, and tells whoever started it, a line of JSON each, what it hears.
//
//     node follower.mjs '{"client": "realtime.mjs", "ws": "…/ws/wrapper.mjs"|null, "followers": {"name": {"url": "…", "backoff": {…}}}}'
//
// A line on its input wakes a follower as a browser does, answers its question for a token, or ends it.
import { createInterface } from "node:readline"

const { client, ws, followers } = JSON.parse(process.argv[2])
const { connect } = await import(client)
const Socket = ws ? (await import(ws)).WebSocket : globalThis.WebSocket

const asked = new Map() // questions for a token, by number
const windows = {}
const clients = []
let questions = 0

function tell(who, kind, value = null) {
  process.stdout.write(JSON.stringify({ who, kind, at: Date.now(), value }) + "\n")
}

/** The runtime's WebSocket, which tells when it is opened, and what the server says beside messages. */
function watched(who) {
  return class extends Socket {
    constructor(url, protocols) {
      super(url, protocols)
      tell(who, "attempt")
      this.addEventListener("message", ({ data }) => {
        const message = JSON.parse(data)
        if (message.type == "connected" || message.type == "reconnect") tell(who, message.type, message)
      })
    }
  }
}

function ask(who, { reason }) {
  const number = ++questions
  tell(who, "token", { number, reason })
  return new Promise((resolve, reject) => asked.set(number, { resolve, reject }))
}

for (const [who, { url, backoff }] of Object.entries(followers)) {
  windows[who] = new EventTarget()
  const runtime = { window: windows[who], reportError: (error) => tell(who, "reported", String(error?.stack ?? error)) }
  const rt = connect(url, { token: (question) => ask(who, question), WebSocket: watched(who), backoff, runtime })
  clients.push(rt)
  rt.on("status", (status) => tell(who, "status", status))
  const messages = rt.table("messages", { event: "INSERT" })
  messages.on("state", ({ subscribed, error }) => tell(who, "state", { subscribed, error: error?.code ?? null }))
  messages.on("gap", ({ reason }) => tell(who, "gap", reason))
  messages.on("change", ({ data }) => tell(who, "change", data.id))
}

for await (const line of createInterface({ input: process.stdin })) {
  const { number, token, wake, who } = JSON.parse(line)
  if (wake) windows[who].dispatchEvent(new Event(wake))
  else if (token != null) asked.get(number).resolve(token)
  else asked.get(number).reject(new Error("there is no token now"))
  asked.delete(number)
}
for (const rt of clients) await rt.close()
