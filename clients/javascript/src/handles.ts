// What an application holds: a table, a channel, presence. Each is a user of subscriptions that it shares with others.

import type { BroadcastOptions, Change, IteratorOptions, Off, PresenceEntry, SubscriptionState } from "./api.js"
import type { Client } from "./client.js"
import { changes } from "./iterator.js"
import { disposable, Listeners } from "./listeners.js"
import type { Subscription, User } from "./subscription.js"

const IDLE: SubscriptionState = { subscribed: false, enabled: null, position: null, error: null }

/** One subscription as one user sees it. */
class Handle implements User {
  _listeners: Listeners
  _subscription: Subscription | null = null
  _last = IDLE // the state when the subscription was given up
  _isClosed = false

  constructor(
    readonly _client: Client,
    readonly _channel: string,
  ) {
    this._listeners = new Listeners(_client._connection._runtime)
  }

  get state(): SubscriptionState {
    return this._subscription ? this._subscription._state : this._last
  }

  get position(): string | null {
    return this.state.position
  }

  _open(filter?: string, since?: string | null): void {
    if (this._subscription || this._isClosed) return
    this._subscription = this._client._subscription(this._channel, filter)
    this._subscription._join(this, since)
  }

  _shut(): void {
    this._last = { ...this.state, subscribed: false }
    this._subscription?._leave(this)
    this._subscription = null
  }

  close(): void {
    this._isClosed = true
    this._shut()
  }

  _add(type: string, listener: (value: any) => void, removed?: () => void): Off {
    return this._listeners._add(type, listener, () => this._subscription?._current(type), removed)
  }

  _receive(type: string, value: any): void {
    this._listeners._emit(type, value)
  }
}

export class Table extends Handle {
  constructor(client: Client, name: string, options: { event?: string; filter?: string; since?: string | null }) {
    const { event, filter, since } = options
    super(client, "table:" + name + (event ? ":" + event : ""))
    disposable(this, () => this.close())
    this._open(filter || undefined, since)
  }

  on(type: string, listener: (value: any) => void): Off {
    return this._add(type, listener)
  }

  changes(options: IteratorOptions = {}): AsyncIterableIterator<Change> {
    const { _error } = this._client._connection
    const ended = _error && _error.code != "closed" ? _error : this._isClosed || _error ? null : undefined
    return changes(this._listeners, this.position, ended, options)
  }

  override close(): void {
    super.close()
    this._receive("end", null)
  }

  override _receive(type: string, value: any): void {
    if (type != "realtime") return super._receive(type, value)
    const { event, table, schema, data, old, commit_timestamp: commitTimestamp, id, truncated } = value
    const change: Record<string, unknown> = { event, table, schema, data, old, commitTimestamp, id }
    if (truncated) change["truncated"] = true
    super._receive("change", change)
  }
}

/** A handle that is subscribed while it has a listener. */
class Lazy extends Handle {
  _isHeld = false // subscribed even without a listener

  on(type: string, listener: (value: any) => void): Off {
    const off = this._add(type, listener, () => {
      if (!this._listeners._all.size && !this._isHeld) this._shut()
    })
    this._open()
    return off
  }
}

export class Channel extends Lazy {
  readonly presence: Presence

  constructor(client: Client, name: string) {
    super(client, name)
    this.presence = new Presence(client, name)
    disposable(this, () => this.close())
  }

  async broadcast(payload: unknown, options: BroadcastOptions = {}): Promise<void> {
    const { self, ack = true, signal } = options
    const message = { type: "broadcast", channel: this._channel, payload, self: self === false ? false : undefined }
    await this._client._outgoing._send(message, ack, signal)
  }

  override close(): void {
    super.close()
    this.presence.close()
  }

  override _receive(type: string, value: any): void {
    if (type != "broadcast") return super._receive(type, value)
    const { payload, sender, id, timestamp } = value
    super._receive(type, { payload, sender, id, timestamp })
  }
}

export class Presence extends Lazy {
  _name: string | undefined // of the channel, none for the project

  constructor(client: Client, name?: string) {
    super(client, name === undefined ? "presence" : "presence:" + name)
    this._name = name
  }

  get list(): readonly PresenceEntry[] {
    this._isHeld = true
    this._open()
    return this._subscription?._roster._list ?? []
  }

  set(state: object): Promise<void> {
    return this._client._scope(this._name)._set(state, this)
  }

  leave(): Promise<void> {
    return this._client._scope(this._name)._set(null, this)
  }

  override close(): void {
    super.close()
    this._client._abandon(this._name, this)
  }
}
