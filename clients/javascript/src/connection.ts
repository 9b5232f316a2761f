// One connection at a time, for ever: opens the WebSocket, notices when it dies, and opens the next one.
//
// It reports to its handler, the client. A `_request` is answered once: by the server, or with an error when no
// answer came. Nothing is ever sent twice here. Long, since each state of a connection is here.

import type { Options, Runtime, Socket, Status } from "./api.js"
import { RealtimeError, TOO_BIG, Unauthorized } from "./errors.js"
import { parser } from "./json.js"
import { Listeners } from "./listeners.js"
import { address, surroundings } from "./runtime.js"
import { Tokens } from "./tokens.js"

export type Message = Record<string, any> & { type: string }
export type Answer = (error: RealtimeError | null, message?: Message) => void

export interface Handler {
  _opened(): void
  _received(message: Message): void
  _lost(): void
  _ended(error: RealtimeError): void
  _authenticated(): void
}

const CONNECT_MS = 10_000
const PROBE_MS = 3_000
const TICK_MS = 2_000
const STEADY_MS = 5_000
const ANSWER_MS = 15_000
/** More than this in the socket's own queue, and it takes no more from us. */
const MOST_BUFFERED = 1 << 20
const UNANSWERED = "the server did not answer"
/** In a second; a server's default for all messages is 100, and twice as many in a burst. */
const MOST_SUBSCRIBES = 90
const FOR_GOOD: Record<number, string> = { 4401: "unauthorized", 4403: "forbidden", 4404: "not_found", 4410: "disconnected" }

export class Connection {
  _status: Status = { state: "idle", attempt: 0, retryAt: null, reason: null }
  _error: RealtimeError | null = null // why it is closed
  _runtime: Runtime
  _listeners: Listeners
  _tokens: Tokens
  _url: string
  _parse: (text: string) => any
  _socket: Socket | null = null // being opened, or open
  _timer: unknown // the one of the state: the next attempt, the end of this one, or of a probe
  _ticker: unknown
  _requests = new Map<number, { _answer: Answer; _due: number; _size: number }>() // by `ref`
  _lastRef = 0
  _secondAt = 0 // since when `_subscribes` counts
  _subscribes = 0
  _failures = 0 // in a row, for the back-off
  _notBefore = 0 // `reconnect` said so
  _attemptedAt = 0
  _openedAt = 0
  _receivedAt = 0
  _tickAt = 0
  _wokenAt = 0
  _heartbeatMs = 25_000
  _probing = 0 // how many probes in a row have had no answer
  _cause: { _code: string; _text?: string } | null = null // what the server said before it closed

  constructor(
    url: string,
    readonly _options: Options,
    readonly _handler: Handler,
  ) {
    this._url = address(url)
    this._runtime = surroundings(_options.runtime)
    this._listeners = new Listeners(this._runtime)
    this._parse = parser(_options.integers)
    this._tokens = new Tokens(_options.token, this._runtime)
  }

  get _isOpen(): boolean {
    return this._status.state == "open"
  }

  /** Opens the connection if nobody has yet. */
  _start(): void {
    if (this._status.state != "idle") return
    this._listen("addEventListener")
    this._tickAt = this._runtime.now()
    this._tick()
    this._connect()
  }

  _listen(method: "addEventListener" | "removeEventListener"): void {
    const { window, document } = this._runtime
    for (const type of ["focus", "online", "pageshow"]) window?.[method](type, this._wakeUp)
    for (const type of ["visibilitychange", "resume"]) document?.[method](type, this._wakeUp)
  }

  /** A time before another attempt: full jitter. */
  _delay(failures: number, min = 1_000, max = 20_000): number {
    return this._runtime.random() * Math.min(max, min * 2 ** failures)
  }

  /** Sends a message and reports its answer, once. Returns a function that no longer wants it. */
  _request(message: Message, answer: Answer): () => void {
    const ref = ++this._lastRef
    const text = JSON.stringify({ ...message, ref })
    if (!this._isOpen || this._socket!.bufferedAmount > MOST_BUFFERED) {
      answer(new RealtimeError("not_sent", "the connection takes no messages now"))
      return () => {}
    }
    this._requests.set(ref, { _answer: answer, _due: this._runtime.now() + ANSWER_MS, _size: text.length })
    this._send(text)
    return () => this._requests.delete(ref)
  }

  /** How long to wait before another `subscribe`: a server takes so many messages in a second. */
  _pause(): number {
    const now = this._runtime.now()
    if (Math.abs(now - this._secondAt) >= 1_000) {
      this._secondAt = now
      this._subscribes = 0
    }
    return this._subscribes++ < MOST_SUBSCRIBES ? 0 : this._secondAt + 1_000 - now
  }

  _send(text: string): void {
    try {
      this._socket!.send(text)
    } catch {
      // The socket is closing: its end is reported by `onclose`.
    }
  }

  /** Closes for good. */
  _end(error: RealtimeError): void {
    if (this._error) return
    this._error = error
    this._drop()
    this._runtime.clearTimeout(this._ticker)
    this._tokens._abort()
    this._listen("removeEventListener")
    this._set("closed", error.code)
    this._handler._ended(error)
  }

  async _connect(): Promise<void> {
    this._runtime.clearTimeout(this._timer)
    this._attemptedAt = this._runtime.now()
    this._set("connecting")
    if (this._error) return
    const Class = this._options.WebSocket ?? (globalThis as any).WebSocket
    if (!Class) return this._end(new RealtimeError("no_websocket", "there is no WebSocket: hand one in as an option"))
    let token
    try {
      token = await this._tokens._get()
    } catch (error) {
      if (!this._error) this._tokenFailed(error)
      return
    }
    if (this._error) return
    this._attemptedAt = this._runtime.now()
    let socket: Socket
    try {
      socket = new Class(this._url, ["realtime", token])
    } catch (error) {
      // No server will ever see this token, or this address.
      this._cause = { _code: "unauthorized", _text: String(error) }
      return this._closed(4401)
    }
    this._socket = socket
    socket.onmessage = ({ data }) => this._read(data)
    socket.onclose = ({ code }) => this._closed(code)
    socket.onerror = () => {} // `onclose` follows
    this._timer = this._runtime.setTimeout(() => this._closed(0, "timeout"), CONNECT_MS)
  }

  _tokenFailed(error: any): void {
    if (error?.name == "Unauthorized") this._end(error)
    else this._wait("token_failed")
  }

  _read(data: unknown): void {
    this._receivedAt = this._runtime.now()
    if (this._probing) {
      this._probing = 0
      this._runtime.clearTimeout(this._timer)
    }
    let message: Message
    try {
      message = this._parse(data as string)
      this._dispatch(message, message.type)
    } catch (error) {
      this._runtime.reportError(error)
    }
  }

  _dispatch(message: Message, type: string): void {
    const { ref } = message
    if (type == "connected") return this._opened(message)
    const request = this._requests.get(ref)
    if (request) {
      this._requests.delete(ref)
      request._answer(type == "error" ? new RealtimeError(message.code, message.message) : null, message)
    } else if (ref !== undefined) {
      // Nobody waits for this answer any more.
    } else if (type == "reconnect") {
      this._notBefore = this._receivedAt + Math.min(Number(message.after_ms) || 0, 3_600_000)
      this._cause = { _code: message.reason }
    } else if (type == "error" && message.channel === undefined) {
      this._cause = { _code: message.code, _text: message.message }
    } else {
      if (this._cause?._text) this._cause = null // that error did not end the connection
      this._handler._received(message)
    }
  }

  _opened(message: Message): void {
    if (this._status.state != "connecting") return
    this._runtime.clearTimeout(this._timer)
    this._openedAt = this._receivedAt
    this._heartbeatMs = Number(message.heartbeat_seconds) * 1000 || 25_000
    this._cause = null
    this._tokens._accepted(message.expires_at)
    this._set("open")
    if (this._isOpen) this._handler._opened()
  }

  /** The socket closed, or is given up with a reason of ours. */
  _closed(code: number, reason?: string): void {
    const wasOpen = this._isOpen
    const cause = this._cause
    const longest = Math.max(0, ...[...this._requests.values()].map((one) => one._size))
    this._cause = null
    this._drop((size) =>
      code == 1009 && size == longest
        ? new RealtimeError(TOO_BIG, "the server takes no message of this size")
        : new RealtimeError("unknown", UNANSWERED),
    )
    if (wasOpen && this._runtime.now() - this._openedAt >= STEADY_MS) this._failures = 0
    const why = reason ?? cause?._code ?? FOR_GOOD[code] ?? "connection_lost"
    if (FOR_GOOD[code] && !(code == 4401 && this._tokens._rejected()))
      this._end(code == 4401 ? new Unauthorized(cause?._text, why) : new RealtimeError(why, cause?._text))
    else this._wait(why, reason == "no_answer")
  }

  /** Lets go of the socket, if there is one, and of all requests on it. */
  _drop(error?: (size: number) => RealtimeError): void {
    const socket = this._socket
    this._runtime.clearTimeout(this._timer)
    this._probing = 0
    this._socket = null
    if (socket) {
      socket.onmessage = socket.onclose = null
      try {
        socket.close(1000)
      } catch {
        // It was closed already.
      }
    }
    const open = [...this._requests.values()]
    this._requests.clear()
    if (this._isOpen) {
      this._set("waiting")
      this._handler._lost()
    }
    for (const one of open) one._answer(error?.(one._size) ?? new RealtimeError("unknown", UNANSWERED))
  }

  _wait(reason: string, atOnce?: boolean): void {
    if (this._error) return
    const { min = 500, max } = this._options.backoff ?? {}
    const delay = atOnce ? 0 : this._delay(this._failures, min, max)
    this._failures++
    this._retry(this._runtime.now() + delay, reason)
  }

  /** Sets the time of the next attempt. */
  _retry(at: number, reason: string | null): void {
    const now = this._runtime.now()
    at = Math.max(at, this._notBefore)
    this._runtime.clearTimeout(this._timer)
    this._timer = this._runtime.setTimeout(() => this._connect(), at - now)
    this._set("waiting", reason, at)
  }

  _tick(): void {
    const now = this._runtime.now()
    const jumped = Math.abs(now - this._tickAt) > 2 * TICK_MS
    this._tickAt = now
    this._ticker = this._runtime.setTimeout(() => this._tick(), TICK_MS)
    for (const [ref, { _answer, _due }] of this._requests) {
      if (_due > now) break
      this._requests.delete(ref)
      _answer(new RealtimeError("unknown", UNANSWERED))
    }
    if (jumped) this._wake()
    if (!this._isOpen) return
    if (now - this._receivedAt > this._heartbeatMs + 10_000) this._probe()
    if (this._tokens._isDue()) this._renew()
  }

  _wakeUp = (event: Event): void => {
    const asleep = event.type == "visibilitychange" ? this._runtime.document?.visibilityState == "hidden" : event.type == "pageshow" && !(event as any).persisted
    if (!asleep) this._wake()
  }

  /** Somebody is there again, or the network: the line may be dead without a sign, or a long wait pointless. */
  _wake(): void {
    const now = this._runtime.now()
    const { state, retryAt, reason } = this._status
    if (state == "open") {
      if (now - this._wokenAt >= 1_000) this._probe()
      this._wokenAt = now
    } else if (state == "waiting") {
      const at = Math.max(now, this._attemptedAt + 1_000, this._notBefore)
      if (at < retryAt!) this._retry(at, reason)
    } else if (this._socket && now - this._attemptedAt >= CONNECT_MS) this._closed(0, "timeout")
  }

  /** Asks for a sign of life; whatever comes is one. Without it the socket is replaced. */
  _probe(): void {
    if (this._probing) return
    this._probing = 1
    this._ping()
  }

  _ping(): void {
    const sentAt = this._runtime.now()
    this._send('{"type":"ping"}')
    this._timer = this._runtime.setTimeout(() => {
      // A timer that comes late proves nothing: the answer may lie behind it.
      if (this._runtime.now() - sentAt > PROBE_MS + 2_000 && this._probing++ < 2) this._ping()
      else this._closed(0, "no_answer")
    }, PROBE_MS)
  }

  async _renew(): Promise<void> {
    let token: string
    try {
      token = await this._tokens._renew()
    } catch (error: any) {
      if (this._error) return
      if (error?.name == "Unauthorized") this._end(error)
      return // else it is asked again soon
    }
    if (!this._isOpen) return
    this._request({ type: "auth", token }, (error, message) => {
      if (error) return
      this._tokens._accepted(message!["expires_at"])
      this._handler._authenticated()
    })
  }

  _set(state: Status["state"], reason: string | null = this._status.reason, retryAt: number | null = null): void {
    const attempt = state == "open" || state == "idle" ? 0 : this._failures
    this._status = { state, attempt, retryAt, reason: state == "open" ? null : reason }
    if (state != "waiting" || retryAt != null) this._listeners._emit("status", this._status)
  }
}
