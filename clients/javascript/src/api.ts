// The words of the client: what `connect` takes and gives. Types alone, no code.

import type { RealtimeError } from "./errors.js"

/** Undoes an `on`. It works with `using`, too. */
export interface Off extends Disposable {
  (): void
}

export interface Status {
  readonly state: "idle" | "connecting" | "open" | "waiting" | "closed"
  /** How many attempts in a row failed before this one. */
  readonly attempt: number
  /** When the next attempt starts, in milliseconds since 1970; null unless `state` is `waiting`. */
  readonly retryAt: number | null
  /** Why the last connection ended: an error code of the server, or one of the client. */
  readonly reason: string | null
}

export type TokenReason = "first" | "expiring" | "rejected"

export interface TokenRequest {
  reason: TokenReason
  /** Aborted when nobody waits for the token any more. */
  signal: AbortSignal
}

export type Integers = "number" | "bigint" | "string"

/** The part of a browser's `WebSocket` that the client uses. The package `ws` has it as well. */
export interface Socket {
  onmessage: ((event: { data: unknown }) => void) | null
  onclose: ((event: { code: number }) => void) | null
  onerror: ((event: unknown) => void) | null
  readonly readyState: number
  readonly bufferedAmount: number
  send(text: string): void
  close(code?: number, reason?: string): void
}

export interface EventSource {
  addEventListener(type: string, listener: (event: Event) => void): void
  removeEventListener(type: string, listener: (event: Event) => void): void
}

/** What the client takes from its surroundings. Tests may hand in their own, see `zmesh-realtime/testing`. */
export interface Runtime {
  now(): number
  random(): number
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
  reportError(error: unknown): void
  /** Where `focus`, `online` and `pageshow` happen. */
  window?: EventSource | undefined
  /** Where `visibilitychange` and `resume` happen. */
  document?: (EventSource & { readonly visibilityState?: string }) | undefined
}

export interface Options {
  /** A JWT, or a function that gets one. Throw `Unauthorized` in it to stop for good. */
  token: string | ((request: TokenRequest) => string | Promise<string>)
  /** Closes the client when it is aborted. */
  signal?: AbortSignal | undefined
  /** What integers beyond 2^53 become. `number`, the default, rounds them as `JSON.parse` does. */
  integers?: Integers | undefined
  /** Bounds of the delay before a reconnect, in milliseconds: 500 and 20,000 by default. */
  backoff?: { min?: number; max?: number } | undefined
  /** Where the runtime has no `WebSocket`: that of the package `ws`, for instance. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  WebSocket?: (new (url: string, protocols: string[]) => any) | undefined
  runtime?: Partial<Runtime> | undefined
}

export type Row = Record<string, any>
export type ChangeEvent = "INSERT" | "UPDATE" | "DELETE"

interface ChangeOf<E extends ChangeEvent, R, Old> {
  readonly event: E
  readonly table: string
  readonly schema: string
  /** The new row; for a DELETE the deleted one, or its primary key alone where it left the client's sight. */
  readonly data: R
  /** The row before an UPDATE; null where it was out of the client's sight. */
  readonly old: Old
  readonly commitTimestamp: string
  /** Opaque: compare it for equality, or hand it in as `since`. */
  readonly id: string
  /** The change was too big: `data` is the primary key alone, and `old` is null. */
  readonly truncated?: true
}

/** A change of a row, of one kind or of any. `if (change.event === "UPDATE")` tells TypeScript about `old`. */
export type Change<R = Row, E extends ChangeEvent = ChangeEvent> = E extends "UPDATE"
  ? ChangeOf<"UPDATE", R, R | null>
  : E extends ChangeEvent
    ? ChangeOf<E, R, null>
    : never

export interface Gap {
  /** `history`: the server no longer has what was missed. `resync`: it lost messages. Read the data again. */
  readonly reason: "history" | "resync"
}

export interface SubscriptionState {
  /** The server confirmed the subscription on the present connection. */
  readonly subscribed: boolean
  /** Whether realtime is on for the table; null where the server does not know, or has not said. */
  readonly enabled: boolean | null
  readonly position: string | null
  /** Why the server refused the subscription. */
  readonly error: RealtimeError | null
}

export interface TableOptions<E extends ChangeEvent = ChangeEvent> {
  event?: E | undefined
  /** Conditions in PostgREST's notation, such as `user_id=eq.42`. */
  filter?: string | undefined
  /** The `id` or `position` that was seen last: what came after it is delivered first. */
  since?: string | null | undefined
}

export interface IteratorOptions {
  signal?: AbortSignal | undefined
  /** How many changes may wait to be read. One more, and the iterator throws `Lagged`. */
  buffer?: number | undefined
}

interface SubscriptionEvents {
  gap: Gap
  state: SubscriptionState
}

export interface TableEvents<R = Row, E extends ChangeEvent = ChangeEvent> extends SubscriptionEvents {
  change: Change<R, E>
}

export interface Table<R = Row, E extends ChangeEvent = ChangeEvent> extends Disposable {
  on<K extends keyof TableEvents>(type: K, listener: (value: TableEvents<R, E>[K]) => void): Off
  changes(options?: IteratorOptions): AsyncIterableIterator<Change<R, E>>
  readonly state: SubscriptionState
  /** Where the subscription stands: the last `id`. Keep it, and hand it in as `since`. */
  readonly position: string | null
  close(): void
}

export interface Sender {
  readonly connection_id: string | null
  readonly user_id: string | null
}

export interface Broadcast<P = unknown> {
  readonly payload: P
  readonly sender: Sender
  readonly id: string
  readonly timestamp: string
}

export interface BroadcastOptions {
  /** Whether the sender receives its own message, if it is subscribed; true by default. */
  self?: boolean | undefined
  /** Wait until the service has it; true by default. Otherwise the promise resolves once it is written. */
  ack?: boolean | undefined
  signal?: AbortSignal | undefined
}

export interface PresenceEntry<S = Row> {
  readonly connection_id: string
  readonly user_id: string | null
  readonly state: S
  readonly joined_at: string
  readonly updated_at: string
}

export interface PresenceEvents {
  sync: readonly PresenceEntry[]
  join: readonly PresenceEntry[]
  update: readonly PresenceEntry[]
  leave: readonly PresenceEntry[]
  state: SubscriptionState
}

export interface Presence {
  /** Be present, with this state, until `leave`; again after each reconnect. Resolves once others can see it. */
  set(state: object): Promise<void>
  leave(): Promise<void>
  /** Who is present. The first use subscribes, and the list fills with `sync`. */
  readonly list: readonly PresenceEntry[]
  on<K extends keyof PresenceEvents>(type: K, listener: (value: PresenceEvents[K]) => void): Off
}

export interface ChannelEvents<P = unknown> extends SubscriptionEvents {
  broadcast: Broadcast<P>
}

export interface Channel<P = unknown> extends Disposable {
  /** The first listener subscribes, the last one that goes ends the subscription. */
  on<K extends keyof ChannelEvents>(type: K, listener: (value: ChannelEvents<P>[K]) => void): Off
  /** Rejects when the service refuses, or when it is unknown whether the message went out. Never sends twice. */
  broadcast(payload: P, options?: BroadcastOptions): Promise<void>
  readonly presence: Presence
  readonly state: SubscriptionState
  readonly position: string | null
  close(): void
}

type Name<T> = keyof T & string
/** A table of `Db`, spelled with or without the schema `public`. */
export type TableName<Db> = Name<Db> | `public.${Name<Db>}`
export type RowOf<Db, N> = N extends Name<Db>
  ? Db[N]
  : N extends `public.${infer Bare}`
    ? Bare extends Name<Db>
      ? Db[Bare]
      : never
    : never

export interface Realtime<Db = Record<string, Row>, Rooms = Record<string, any>> extends AsyncDisposable {
  readonly status: Status
  on(type: "status", listener: (status: Status) => void): Off
  /** Connects; resolves once the connection is open, rejects when the client is closed for good. */
  ready(options?: { signal?: AbortSignal | undefined }): Promise<void>
  table<N extends TableName<Db>, E extends ChangeEvent = ChangeEvent>(
    name: N,
    options?: TableOptions<E>,
  ): Table<RowOf<Db, N>, E>
  channel<N extends Name<Rooms>>(name: N): Channel<Rooms[N]>
  /** Presence in the project. */
  readonly presence: Presence
  close(): Promise<void>
}
