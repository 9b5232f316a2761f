// A server in memory that speaks the protocol: tables, broadcasts and presence with a history, and faults on demand.

import type { ChangeEvent, PresenceEntry, Row } from "../api.js"
import type { VirtualClock } from "./clock.js"
import { type FakeConnection, fakeWebSocket, type FakeWebSocketClass } from "./socket.js"

export interface FakeServerOptions {
  clock: VirtualClock
  /** How long a message takes, each way, in milliseconds: one number, or from and to. */
  latency?: number | [number, number]
  heartbeatSeconds?: number
  /** How many messages the history of a channel keeps. */
  historyEntries?: number
  /** For how long a token is good that `token()` makes. */
  tokenSeconds?: number
}

export interface FakeChange {
  event?: ChangeEvent
  data?: Row
  old?: Row | null
  schema?: string
}

interface Entry {
  number: number
  id: string
  message: Row
}

/** One table or channel: its latest messages. */
interface Topic {
  epoch: number
  last: number
  entries: Entry[]
}

const TABLE = /^table:(?:([^.:]+)\.)?([^.:]+)(?::(INSERT|UPDATE|DELETE))?$/

export class FakeServer {
  readonly WebSocket: FakeWebSocketClass
  readonly clock: VirtualClock
  /** Connections that are open now, the oldest first. */
  readonly connections: FakeConnection[] = []
  /** How many connections were ever opened, the refused ones too. */
  attempts = 0
  /** The most connections that were open at a time. */
  most = 0
  /** Nothing gets through any more, without a sign. New connections never open. */
  isBlackHole = false
  /** No process listens: new connections fail at once. */
  isDown = false
  /** What a subscription is refused with, by its channel. */
  readonly refusals = new Map<string, string>()
  /** Whether `ack`s and answers are held back. */
  isMute = false
  readonly tables = new Set<string>()
  historyEntries: number
  tokenSeconds: number
  readonly #options: FakeServerOptions
  readonly #topics = new Map<string, Topic>()
  readonly #presences = new Map<string, Map<string, PresenceEntry>>()
  readonly #tokens = new Map<string, number>() // when they end
  #refuseNext: { code: number; error: string }[] = []
  #serial = 0

  constructor(options: FakeServerOptions) {
    this.#options = options
    this.clock = options.clock
    this.historyEntries = options.historyEntries ?? 10_000
    this.tokenSeconds = options.tokenSeconds ?? 3_600
    this.WebSocket = fakeWebSocket(this)
  }

  get latency(): number {
    const { latency = 1 } = this.#options
    if (typeof latency == "number") return latency
    return latency[0] + this.clock.random() * (latency[1] - latency[0])
  }

  // What a test does.

  /** A new token, as an application's own server would make it. */
  token(seconds = this.tokenSeconds): string {
    const token = `token-${++this.#serial}`
    this.#tokens.set(token, this.clock.now + seconds * 1_000)
    return token
  }

  /** No token is good any more that exists now. */
  revoke(): void {
    for (const token of this.#tokens.keys()) this.#tokens.set(token, 0)
  }

  /** A row changes. Returns the change's id. */
  change(table: string, { event = "INSERT", data = {}, old = null, schema = "public" }: FakeChange = {}): string {
    const commit_timestamp = this.#timestamp()
    return this.#publish(`${schema}.${table}`, { type: "realtime", schema, table, event, data, old, commit_timestamp })
  }

  /** Somebody else sends a broadcast. Returns the message's id. */
  broadcast(channel: string, payload: unknown, sender: object = { connection_id: null, user_id: "somebody" }): string {
    return this.#publish(channel, { type: "broadcast", payload, sender, timestamp: this.#timestamp() })
  }

  /** All connections break. */
  cut(): void {
    for (const connection of [...this.connections]) connection.end(1006)
  }

  /** The packets of all connections get lost from now on, without a sign to either side. */
  loseConnections(): void {
    for (const connection of [...this.connections]) connection.lose()
  }

  /** The next connection is refused. */
  refuse(code: number, error: string): void {
    this.#refuseNext.push({ code, error })
  }

  /** Closes all connections, with an error message first. */
  close(code: number, error?: string): void {
    for (const connection of [...this.connections]) connection.refuse(code, error)
  }

  /** The node begins to stop. */
  drain(afterMs: number): void {
    for (const connection of [...this.connections]) {
      connection.send({ type: "reconnect", reason: "draining", after_ms: afterMs })
      this.clock.later(afterMs, () => connection.end(1001))
    }
  }

  /** History is shortened to so many messages a channel. */
  forget(keep = 0): void {
    for (const topic of this.#topics.values()) topic.entries.splice(0, Math.max(0, topic.entries.length - keep))
  }

  /** Redis lost everything: ids begin anew. */
  wipe(): void {
    for (const topic of this.#topics.values()) Object.assign(topic, { epoch: topic.epoch + 1, last: 0, entries: [] })
    for (const connection of this.connections) connection.resync()
  }

  present(channel: string | undefined): PresenceEntry[] {
    return [...this.#presencesOf(channel).values()]
  }

  // What the sockets call.

  /** @internal */
  accept(connection: FakeConnection, token: string): void {
    const refusal = this.#refuseNext.shift()
    if (refusal) return connection.refuse(refusal.code, refusal.error)
    const expiresAt = this.#tokens.get(token) ?? this.clock.now + this.tokenSeconds * 1_000
    if (expiresAt <= this.clock.now) return connection.refuse(4401, "unauthorized")
    this.connections.push(connection)
    this.most = Math.max(this.most, this.connections.length)
    connection.send({
      type: "connected",
      connection_id: connection.id,
      project_id: "demo",
      user_id: "alice",
      expires_at: new Date(expiresAt).toISOString(),
      heartbeat_seconds: this.#options.heartbeatSeconds ?? 25,
    })
    this.#expire(connection, expiresAt)
  }

  /** @internal */
  receive(connection: FakeConnection, message: Row): void {
    const { type, ref, channel } = message
    const answer = (fields: Row) => {
      if (!this.isMute) connection.send({ ...fields, ...(ref === undefined ? {} : { ref }) })
    }
    if (type == "ping") answer({ type: "pong", timestamp: this.#timestamp() })
    else if (type == "subscribe") this.#subscribe(connection, message, answer)
    else if (type == "unsubscribe") {
      connection.subscriptions.delete(key(message))
      answer({ type: "unsubscribed", channel, as: message["as"] })
    } else if (type == "broadcast") {
      if (this.refusals.has(channel)) return answer(this.#error(this.refusals.get(channel)!, channel))
      if (/^(table:|presence(:|$))/.test(channel)) return answer(this.#error("forbidden", channel))
      const sender = { connection_id: connection.id, user_id: "alice" }
      const published = { type: "broadcast", payload: message["payload"], sender, timestamp: this.#timestamp() }
      this.#publish(channel, published, message["self"] === false ? connection : undefined)
      if (ref !== undefined) answer({ type: "ack" })
    } else if (type == "presence") {
      if (this.refusals.has(`presence:${channel}`)) return answer(this.#error(this.refusals.get(`presence:${channel}`)!, channel))
      this.#setPresence(connection, channel, message["state"])
      if (ref !== undefined) answer({ type: "ack" })
    } else if (type == "auth") {
      const expiresAt = this.#tokens.get(message["token"]) ?? this.clock.now + this.tokenSeconds * 1_000
      if (expiresAt <= this.clock.now) return answer(this.#error("token_expired"))
      this.#expire(connection, expiresAt)
      answer({ type: "authenticated", expires_at: new Date(expiresAt).toISOString() })
    } else answer(this.#error("unknown_type"))
  }

  /** @internal */
  gone(connection: FakeConnection): void {
    const at = this.connections.indexOf(connection)
    if (at < 0) return
    this.connections.splice(at, 1)
    this.clock.cancel(connection.expiry)
    for (const channel of this.#presences.keys()) this.#setPresence(connection, channel || undefined, null)
  }

  #expire(connection: FakeConnection, at: number): void {
    this.clock.cancel(connection.expiry)
    connection.expiry = this.clock.later(at - this.clock.now, () => connection.refuse(4401, "token_expired"))
  }

  #subscribe(connection: FakeConnection, message: Row, answer: (fields: Row) => void): void {
    const { channel, filter, as, since } = message as Row
    const refusal = this.refusals.get(channel) ?? (/^[^:]+:.|^presence$/.test(channel) ? undefined : "invalid_channel")
    if (refusal) return answer({ ...this.#error(refusal, channel), ...(as === undefined ? {} : { as }) })
    const wanted = filter === undefined ? undefined : /^(\w+)=eq\.(.*)$/.exec(filter)
    if (wanted === null) return answer({ ...this.#error("invalid_filter", channel), as })
    const matches = (row: Row | null) => !wanted || (row !== null && String(row[wanted[1]!]) == wanted[2])
    const [, schema = "public", table, event] = TABLE.exec(channel) ?? []
    const topic = this.#topic(table === undefined ? channel : `${schema}.${table}`)
    const wants = (one: Row) => (!event || one["event"] == event) && (matches(one["data"]) || matches(one["old"]))
    const missed = since === undefined ? undefined : this.#since(topic, since)
    connection.subscriptions.set(key(message), {
      name: table === undefined ? channel : `${schema}.${table}`,
      fields: as === undefined ? { channel } : { channel, as },
      wants: table === undefined ? () => true : wants,
    })
    const position = missed ? since : this.#id(topic, topic.last)
    const enabled = table === undefined ? {} : { enabled: !this.tables.size || this.tables.has(table) }
    answer({ type: "subscribed", channel, ...(as === undefined ? {} : { as }), position, recovered: !!missed, ...enabled })
    for (const entry of missed ?? []) connection.deliver(key(message), entry.message)
    if (/^presence(:|$)/.test(channel)) {
      const presences = this.present(channel.slice("presence:".length) || undefined)
      connection.send({ type: "presence", channel, event: "sync", presences, more: false })
    }
  }

  #since(topic: Topic, since: string): Entry[] | undefined {
    const [epoch, number] = since.split("-").map(Number)
    const oldest = topic.entries[0]?.number ?? topic.last + 1
    if (epoch != topic.epoch || !(number! >= oldest - 1) || number! > topic.last) return undefined
    return topic.entries.filter((entry) => entry.number > number!)
  }

  #publish(name: string, message: Row, except?: FakeConnection): string {
    const topic = this.#topic(name)
    const id = this.#id(topic, ++topic.last)
    const entry = { number: topic.last, id, message: { ...message, id } }
    topic.entries.push(entry)
    if (topic.entries.length > this.historyEntries) topic.entries.shift()
    for (const connection of this.connections) {
      if (connection == except) continue
      for (const [key, subscription] of connection.subscriptions) {
        if (subscription.name == name) connection.deliver(key, entry.message)
      }
    }
    return id
  }

  #setPresence(connection: FakeConnection, channel: string | undefined, state: Row | null): void {
    const entries = this.#presencesOf(channel)
    const before = entries.get(connection.id)
    if (!before && !state) return
    const now = this.#timestamp()
    const entry = {
      connection_id: connection.id,
      user_id: "alice",
      state: state ?? before!.state,
      joined_at: before?.joined_at ?? now,
      updated_at: now,
    }
    if (state) entries.set(connection.id, entry)
    else entries.delete(connection.id)
    const event = !state ? "leave" : before ? "update" : "join"
    const where = channel === undefined ? "presence" : `presence:${channel}`
    for (const other of this.connections) {
      if (other.subscriptions.has(`${where}\n`)) other.send({ type: "presence", channel: where, event, presences: [entry] })
    }
  }

  #presencesOf(channel: string | undefined): Map<string, PresenceEntry> {
    let found = this.#presences.get(channel ?? "")
    if (!found) this.#presences.set(channel ?? "", (found = new Map()))
    return found
  }

  #topic(name: string): Topic {
    let found = this.#topics.get(name)
    if (!found) this.#topics.set(name, (found = { epoch: 1, last: 0, entries: [] }))
    return found
  }

  #id = (topic: Topic, number: number) => `${topic.epoch}-${number}`

  #error(code: string, channel?: string): Row {
    return { type: "error", code, message: `refused: ${code}`, ...(channel === undefined ? {} : { channel }) }
  }

  #timestamp(): string {
    return new Date(this.clock.now).toISOString()
  }

  /** @internal */
  position(name: string): string {
    const topic = this.#topic(name)
    return this.#id(topic, topic.last)
  }
}

function key(message: Row): string {
  return `${message["channel"]}\n${message["as"] ?? ""}`
}

export function fakeServer(options: FakeServerOptions): FakeServer {
  return new FakeServer(options)
}
