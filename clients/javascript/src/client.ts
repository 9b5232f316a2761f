// The client: which subscriptions there are, and which of them a message is for.

import type { Options, Status } from "./api.js"
import { type Handler, Connection, type Message } from "./connection.js"
import { RealtimeError } from "./errors.js"
import { Channel, Presence, Table } from "./handles.js"
import { nameOf } from "./names.js"
import { Outgoing } from "./outgoing.js"
import { Scope } from "./presence.js"
import { Subscription } from "./subscription.js"

const GRACE_MS = 1_000

export class Client implements Handler {
  _connection: Connection
  _outgoing: Outgoing
  _subscriptions = new Map<string, Subscription>() // by channel and `as`
  _scopes = new Map<string | undefined, Scope>()
  _ready = new Set<(error: RealtimeError | null) => void>()
  readonly presence: Presence

  constructor(url: string, options: Options) {
    this._connection = new Connection(url, options, this)
    this._outgoing = new Outgoing(this._connection)
    this.presence = new Presence(this)
    const { signal } = options
    if (Symbol.asyncDispose) (this as any)[Symbol.asyncDispose] = () => this.close()
    if (signal?.aborted) this.close()
    else signal?.addEventListener("abort", () => this.close(), { once: true })
  }

  get status(): Status {
    return this._connection._status
  }

  on(type: string, listener: (status: Status) => void) {
    return this._connection._listeners._add(type, listener)
  }

  ready({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      const finish = (error: unknown) => {
        this._ready.delete(finish)
        signal?.removeEventListener("abort", aborted)
        if (error) reject(error)
        else resolve()
      }
      const aborted = () => finish(signal!.reason)
      if (signal?.aborted) return aborted()
      if (this._connection._isOpen || this._connection._error) return finish(this._connection._error)
      signal?.addEventListener("abort", aborted)
      this._ready.add(finish)
      this._connection._start()
    })
  }

  table(name: string, options: any = {}): Table {
    return new Table(this, name, options)
  }

  channel(name: string): Channel {
    return new Channel(this, name)
  }

  async close(): Promise<void> {
    this._connection._end(new RealtimeError("closed", "the client was closed"))
  }

  _subscription(channel: string, filter?: string): Subscription {
    const as = filter && nameOf(filter)
    const key = keyOf(channel, as)
    let found = this._subscriptions.get(key)
    if (!found) {
      const gone = () => this._subscriptions.delete(key)
      found = new Subscription(this._connection, channel, filter, as, gone, () => this._tryAgain("too_many_channels"))
      this._subscriptions.set(key, found)
    }
    return found
  }

  _scope(name: string | undefined): Scope {
    let found = this._scopes.get(name)
    if (!found) this._scopes.set(name, (found = new Scope(this._connection, name)))
    return found
  }

  /** A handle was closed: what it is present with ends soon, unless another handle sets it meanwhile. */
  _abandon(name: string | undefined, owner: unknown): void {
    const scope = this._scopes.get(name)
    if (scope?._owner != owner || !scope?._wanted) return
    this._connection._runtime.setTimeout(() => scope._owner == owner && scope._set(null, owner), GRACE_MS)
  }

  // What the connection reports.

  _opened(): void {
    for (const [name, scope] of this._scopes) {
      if (scope._wanted || scope._waiting.length) scope._opened()
      else this._scopes.delete(name)
    }
    for (const subscription of this._subscriptions.values()) subscription._subscribe()
    this._outgoing._flush()
    for (const finish of [...this._ready]) finish(null)
  }

  _received(message: Message): void {
    const subscription = this._subscriptions.get(keyOf(message["channel"], message["as"]))
    if (!subscription) return
    if (message.type == "unsubscribed") subscription._unsubscribed()
    else if (message.type == "error") subscription._refused(new RealtimeError(message["code"], message["message"]))
    else subscription._receive(message)
  }

  /** A newer token may allow more. */
  _authenticated(): void {
    this._tryAgain("forbidden")
  }

  _tryAgain(code: string): void {
    for (const subscription of this._subscriptions.values()) if (subscription._error?.code == code) subscription._subscribe()
  }

  _lost(): void {
    for (const subscription of this._subscriptions.values()) subscription._lost()
  }

  _ended(error: RealtimeError): void {
    for (const subscription of [...this._subscriptions.values()]) subscription._ended(error)
    for (const scope of this._scopes.values()) scope._settle(error)
    this._outgoing._flush()
    for (const finish of [...this._ready]) finish(error)
  }
}

const keyOf = (channel: string, as: string | undefined) => channel + "\n" + (as ?? "")
