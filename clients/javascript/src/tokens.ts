// The token: asks the application for it, one question at a time, and knows when the next one is needed.

import type { Options, Runtime } from "./api.js"

const EARLY_MS = 30_000
const PATIENCE_MS = 30_000

export class Tokens {
  _token: string | null = null // the last one
  _expiresAt = NaN // of the token that the server accepted last
  _isRejected = false // the server wants no more of `_token`
  _askedAgain = false // `rejected` was asked, and the server has not accepted anything since
  _dueAt = Infinity
  _asks = 0 // in a row, each of which left less than a minute
  _flight: Promise<string> | null = null
  _stop: AbortController | null = null

  constructor(
    readonly _source: Options["token"],
    readonly _runtime: Runtime,
  ) {}

  /** A token for a new connection. */
  async _get(): Promise<string> {
    if (typeof this._source == "string") return this._source
    const left = this._expiresAt - this._runtime.now()
    if (this._token != null && !this._isRejected && !this._flight && !(left < EARLY_MS)) return this._token
    try {
      return await this._ask()
    } catch (error: any) {
      if (error?.name == "Unauthorized" || this._isRejected || !(left > 0) || this._token == null) throw error
      return this._token
    }
  }

  /** A newer token for the open connection. */
  _renew(): Promise<string> {
    this._asks++
    this._schedule()
    return this._ask()
  }

  _isDue(): boolean {
    return this._runtime.now() >= this._dueAt
  }

  _accepted(expiresAt: string): void {
    this._expiresAt = Date.parse(expiresAt)
    this._isRejected = this._askedAgain = false
    if (this._expiresAt - this._runtime.now() > 2 * EARLY_MS) this._asks = 0
    this._schedule()
  }

  /** The server refused the token. Returns whether there is another one to try. */
  _rejected(): boolean {
    if (typeof this._source == "string" || this._askedAgain) return false
    return (this._isRejected = true)
  }

  _abort(): void {
    this._stop?.abort()
  }

  /** 30 s before the end; sooner after the last question only step by step, since clocks may be wrong. */
  _schedule(): void {
    const now = this._runtime.now()
    const left = this._expiresAt - now
    let pause = Math.min(30_000, 1_000 * 2 ** this._asks)
    if (left > 0) pause = Math.min(pause, Math.max(left / 2, 1_000))
    this._dueAt = typeof this._source == "string" ? Infinity : now + Math.max(left - EARLY_MS, pause)
  }

  _ask(): Promise<string> {
    return (this._flight ??= this._call().finally(() => (this._flight = null)))
  }

  async _call(): Promise<string> {
    const reason = this._isRejected ? "rejected" : this._token == null ? "first" : "expiring"
    if (this._isRejected) this._askedAgain = true
    const stop = (this._stop = new AbortController())
    const timer = this._runtime.setTimeout(() => stop.abort(new Error("the token did not come in time")), PATIENCE_MS)
    try {
      const token = await new Promise<string>((resolve, reject) => {
        stop.signal.addEventListener("abort", () => reject(stop.signal.reason))
        Promise.resolve((this._source as Function)({ reason, signal: stop.signal })).then(resolve, reject)
      })
      if (typeof token != "string") throw new TypeError("the token callback returned no string")
      this._isRejected = false
      return (this._token = token)
    } finally {
      this._runtime.clearTimeout(timer)
    }
  }
}
