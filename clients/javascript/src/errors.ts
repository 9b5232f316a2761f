// What the client throws. `code` is stable: one of the server's, or `lagged`, `unknown`, `not_sent`, `closed`.

/** Codes that pass by themselves. */
export const PASSING = /^(unavailable|internal|rate_limited|unknown|not_sent)$/
/** A frame that the server does not take: sent again, it would end the connection again. */
export const TOO_BIG = "message_too_big"

export class RealtimeError extends Error {
  readonly code: string

  constructor(code: string, message: string = code) {
    super(message)
    this.name = "RealtimeError"
    this.code = code
  }
}

/** Throw it in the token callback to close the client for good. The client throws it for a refused token. */
export class Unauthorized extends RealtimeError {
  constructor(message = "the token was refused", code = "unauthorized") {
    super(code, message)
    this.name = "Unauthorized"
  }
}

/** An iterator's buffer is full. All before `position` was delivered; subscribe with `since: position`. */
export class Lagged extends RealtimeError {
  readonly position: string | null

  constructor(position: string | null) {
    super("lagged", "changes came faster than they were read")
    this.name = "Lagged"
    this.position = position
  }
}
