// Presence: who is there, as the server reports it, and what this client is present with.

import type { PresenceEntry } from "./api.js"
import type { Connection, Message } from "./connection.js"
import { PASSING, type RealtimeError } from "./errors.js"

/** The list of one presence channel. */
export class Roster {
  _list: readonly PresenceEntry[] = []
  _isSynced = false
  _parts: Map<string, PresenceEntry> | null = null // of a list that comes in parts

  /** Apply a message of the server. Returns the event for the users, and its entries. */
  _apply({ event, presences, more }: Message): [string, readonly PresenceEntry[]] | null {
    if (event == "sync") {
      this._parts ??= new Map()
      change(this._parts, event, presences)
      if (more) return null
      this._list = [...this._parts.values()]
      this._parts = null
      this._isSynced = true
      return [event, this._list]
    }
    if (this._parts) change(this._parts, event, presences)
    const entries = new Map(this._list.map((entry) => [entry.connection_id, entry]))
    change(entries, event, presences)
    this._list = [...entries.values()]
    return [event, presences]
  }
}

function change(entries: Map<string, PresenceEntry>, event: string, presences: PresenceEntry[]): void {
  for (const entry of presences) {
    if (event == "leave") entries.delete(entry.connection_id)
    else entries.set(entry.connection_id, entry)
  }
}

/** What this client is present with under one channel, or in the project. */
export class Scope {
  _wanted: object | null = null
  _confirmed: object | null = null // what the server acknowledged
  _owner: unknown = null // the handle that set it
  _isPending = false
  _failures = 0
  _timer: unknown
  _waiting: { _resolve: () => void; _reject: (error: RealtimeError) => void }[] = []

  constructor(
    readonly _connection: Connection,
    readonly _channel: string | undefined,
  ) {}

  _set(state: object | null, owner: unknown): Promise<void> {
    // A copy: what is sent again must not be what the application made of it since.
    this._wanted = state && JSON.parse(JSON.stringify(state))
    this._owner = owner
    const settled = new Promise<void>((_resolve, _reject) => this._waiting.push({ _resolve, _reject }))
    settled.catch(() => {}) // a refusal that nobody waits for is no unhandled rejection
    const { _error } = this._connection
    if (_error) this._settle(_error)
    else if (this._connection._isOpen || this._wanted) this._connection._start()
    this._flush()
    return settled
  }

  _opened(): void {
    this._confirmed = null
    this._flush()
  }

  _flush(): void {
    const { _connection: connection, _wanted: wanted } = this
    if (this._isPending) return
    if (wanted == this._confirmed) return this._settle()
    if (!connection._isOpen) {
      if (!wanted) this._settle() // it ended with the connection
      return
    }
    connection._runtime.clearTimeout(this._timer)
    this._isPending = true
    connection._request({ type: "presence", state: wanted, channel: this._channel }, (error) => {
      this._isPending = false
      if (!error) {
        this._failures = 0
        this._confirmed = wanted
        this._flush()
      } else if (connection._error) this._settle(connection._error)
      else if (!PASSING.test(error.code)) {
        if (wanted == this._wanted) {
          this._wanted = this._confirmed
          this._settle(error)
        } else this._flush()
      } else if (connection._isOpen) {
        this._timer = connection._runtime.setTimeout(() => this._flush(), connection._delay(this._failures++))
      }
    })
  }

  _settle(error?: RealtimeError): void {
    this._connection._runtime.clearTimeout(this._timer)
    for (const { _resolve, _reject } of this._waiting.splice(0)) {
      if (error) _reject(error)
      else _resolve()
    }
  }
}
