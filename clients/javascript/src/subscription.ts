// One subscription on the wire, shared by all who want the same channel with the same filter.

import type { SubscriptionState } from "./api.js"
import type { Connection, Message } from "./connection.js"
import { PASSING, TOO_BIG, type RealtimeError } from "./errors.js"
import { Roster } from "./presence.js"

/** How many ids are remembered, to drop what comes twice. */
const REMEMBERED = 1_000
const GRACE_MS = 1_000

export interface User {
  /** `gap`, `state`, or what came: `realtime`, `broadcast`, `presence`. */
  _receive(type: string, value: any): void
}

export class Subscription {
  _users = new Set<User>()
  _position: string | null = null // what was seen last
  _subscribed = false
  _isPending = false // `subscribe` is on its way
  _enabled: boolean | null = null
  _error: RealtimeError | null = null
  _seen = new Set<string>()
  _roster = new Roster() // on a presence channel
  _failures = 0 // in a row
  _forget = () => {} // the answer to `subscribe`
  _timer: unknown // to try again
  _grace: unknown // to give the subscription up

  constructor(
    readonly _connection: Connection,
    readonly _channel: string,
    readonly _filter: string | undefined,
    readonly _as: string | undefined,
    readonly _gone: () => void, // given up
    readonly _freed: () => void, // the server knows it
  ) {}

  get _state(): SubscriptionState {
    const { _subscribed: subscribed, _enabled: enabled, _position: position, _error: error } = this
    return { subscribed, enabled, position, error }
  }

  _join(user: User, since?: string | null): void {
    const { _connection: connection } = this
    const isAlone = !this._users.size
    const isElsewhere = since && since != this._position
    connection._runtime.clearTimeout(this._grace)
    this._users.add(user)
    if (isElsewhere && !isAlone) {
      // What this user missed does not come: the others stand where they are.
      queueMicrotask(() => this._users.has(user) && user._receive("gap", { reason: "history" }))
    } else if (isElsewhere) {
      this._position = since
      this._seen.clear()
      this._subscribed = this._isPending = false
      this._forget()
    }
    this._error ??= connection._error
    connection._start()
    this._subscribe()
  }

  /** What a new listener gets at once. */
  _current(type: string): unknown {
    if (type == "state" && (this._subscribed || this._error)) return this._state
    if (type == "sync" && this._roster._isSynced) return this._roster._list
  }

  _leave(user: User): void {
    if (!this._users.delete(user) || this._users.size) return
    this._grace = this._connection._runtime.setTimeout(() => {
      this._gone()
      this._connection._runtime.clearTimeout(this._timer)
      if (this._connection._isOpen)
        this._connection._request({ type: "unsubscribe", channel: this._channel, as: this._as }, this._freed)
    }, GRACE_MS)
  }

  _subscribe(): void {
    const { _connection: connection, _channel: channel } = this
    if (this._subscribed || this._isPending || !connection._isOpen || this._error?.code == TOO_BIG) return
    const pause = connection._pause()
    if (pause) return this._later(pause)
    connection._runtime.clearTimeout(this._timer)
    this._isPending = true
    const since = /^presence(:|$)/.test(channel) ? null : this._position
    const message: Message = { type: "subscribe", channel, filter: this._filter, as: this._as }
    if (since != null) message["since"] = since
    this._forget = connection._request(message, (error, answer) => {
      this._isPending = false
      if (error) return this._refused(error)
      const { position, recovered, enabled = null } = answer!
      this._subscribed = true
      this._failures = 0
      this._error = null
      this._enabled = enabled
      if (!recovered || since == null) this._position = position
      this._emit("state", this._state)
      if (since != null && !recovered) this._emit("gap", { reason: "history" })
    })
  }

  _later(ms: number): void {
    const { _runtime: runtime } = this._connection
    runtime.clearTimeout(this._timer)
    this._timer = runtime.setTimeout(() => this._subscribe(), ms)
  }

  _refused(error: RealtimeError): void {
    const { _connection: connection } = this
    this._error = error
    this._subscribed = false
    if (PASSING.test(error.code) && connection._isOpen) {
      this._later(connection._delay(this._failures++))
    }
    this._emit("state", this._state)
  }

  /** The connection is gone, with all that the server knew of this subscription. */
  _lost(): void {
    const was = this._subscribed
    this._roster._parts = null
    this._subscribed = this._isPending = false
    this._failures = 0
    this._connection._runtime.clearTimeout(this._timer)
    if (was) this._emit("state", this._state)
  }

  _ended(error: RealtimeError): void {
    this._error = error
    this._connection._runtime.clearTimeout(this._grace)
    this._emit("state", this._state)
    this._emit("end", error.code == "closed" ? null : error)
  }

  _receive(message: Message): void {
    if (!this._subscribed) return // of an earlier subscription to the same channel
    const { type, id } = message
    if (type == "resync") {
      this._position = message["position"]
      this._emit("gap", { reason: "resync" })
    } else if (id !== undefined) {
      if (this._seen.has(id)) return
      this._seen.add(id)
      for (const oldest of this._seen) {
        if (this._seen.size > REMEMBERED) this._seen.delete(oldest)
        break
      }
      this._position = id
      this._emit(type, message)
    } else if (type == "presence") {
      const news = this._roster._apply(message)
      if (news) this._emit(...news)
    }
  }

  /** The server ended the subscription by itself. */
  _unsubscribed(): void {
    if (!this._subscribed) return
    this._subscribed = false
    this._emit("state", this._state)
  }

  _emit(type: string, value: unknown): void {
    for (const user of [...this._users]) user._receive(type, value)
  }
}
