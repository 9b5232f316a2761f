// Loaded before an example of the documentation: tells, a line of JSON each, what it prints and subscribes to.
//
// Addresses without a host are of the application's own server. The program ends with its input.
import { format } from "node:util"

const { application, ws } = JSON.parse(process.argv[2])
const print = (event) => process.stdout.write(JSON.stringify(event) + "\n")
console.log = (...words) => print({ printed: format(...words) })

const Socket = globalThis.WebSocket ?? (await import(ws)).WebSocket
globalThis.WebSocket = class extends Socket {
  constructor(...words) {
    super(...words)
    this.addEventListener("message", ({ data }) => {
      const { type } = JSON.parse(data)
      if (type == "subscribed") print({ type })
    })
  }
  send(text) {
    if (JSON.parse(text).type == "subscribe") print({ type: "subscribe" })
    super.send(text)
  }
}

const { fetch } = globalThis
globalThis.fetch = (address, options) => fetch(new URL(address, application), options)

const kept = new Map()
Object.defineProperty(globalThis, "sessionStorage", {
  value: { getItem: (name) => kept.get(name) ?? null, setItem: (name, value) => kept.set(name, value) },
})

process.stdin.on("end", () => process.exit()).resume().unref()
