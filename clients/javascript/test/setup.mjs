// What all tests share: a client, a server in memory and a clock. CLIENT names another build of the client.
import { fakeServer, virtualClock } from "../dist/testing.js"

export const { connect, Lagged, RealtimeError, Unauthorized } = await import(process.env.CLIENT ?? "../dist/index.js")

export const URL = "https://host/projects/demo"

export function world({ seed, latency, token, ...more } = {}) {
  const clock = virtualClock({ seed })
  const server = fakeServer({ clock, latency })
  const open = (options = {}) => {
    const rt = connect(URL, { token: token ?? (() => server.token()), WebSocket: server.WebSocket, runtime: clock.runtime, ...more, ...options })
    rt.statuses = []
    rt.on("status", (status) => rt.statuses.push(status))
    return rt
  }
  return { clock, server, open, rt: open() }
}

/** Collects what comes, in order. */
export function collect(handle, type, map = (value) => value) {
  const values = []
  handle.on(type, (value) => values.push(map(value)))
  return values
}

/** Waits for a promise while the virtual time goes on; gives [value] or [undefined, error]. */
export async function outcome(clock, promise, ms = 60_000) {
  let settled
  promise.then((value) => (settled = [value]), (error) => (settled = [undefined, error]))
  await clock.until(() => settled, ms)
  return settled
}

export const received = (server, type) => server.connections.flatMap((one) => one.received).filter((one) => one.type === type)
