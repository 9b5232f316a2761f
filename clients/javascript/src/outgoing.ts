// Broadcasts on their way out. One that was never written may wait for the connection; none is written twice.

import type { Connection, Message } from "./connection.js"
import { RealtimeError } from "./errors.js"

const MOST_WAITING = 100
const WAIT_MS = 10_000

export class Outgoing {
  _waiting = new Set<() => void>()

  constructor(readonly _connection: Connection) {}

  _send(message: Message, ack: boolean, signal: AbortSignal | undefined): Promise<void> {
    const connection = this._connection
    return new Promise((resolve, reject) => {
      // What is sent is what it was at the call.
      message = JSON.parse(JSON.stringify(message))
      let forget = () => {}
      let timer: unknown
      const written = () => {
        this._waiting.delete(write)
        connection._runtime.clearTimeout(timer)
      }
      const finish = (error?: unknown) => {
        forget()
        written()
        signal?.removeEventListener("abort", aborted)
        if (error) reject(error)
        else resolve()
      }
      const aborted = () => finish(signal!.reason)
      const write = () => {
        written()
        if (connection._error) return finish(connection._error)
        forget = connection._request(message, finish)
        if (!ack) finish()
      }
      if (signal?.aborted) return aborted()
      signal?.addEventListener("abort", aborted)
      if (connection._isOpen || connection._error) return write()
      if (this._waiting.size >= MOST_WAITING) return finish(new RealtimeError("not_sent", "too many messages wait for a connection"))
      this._waiting.add(write)
      timer = connection._runtime.setTimeout(() => finish(new RealtimeError("not_sent", "there was no connection")), WAIT_MS)
      connection._start()
    })
  }

  /** The connection is open, or closed for good. */
  _flush(): void {
    for (const write of [...this._waiting]) write()
  }
}
