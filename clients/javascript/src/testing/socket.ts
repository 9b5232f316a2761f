// A WebSocket in memory, and the server's end of it. Messages keep their order, and take the server's latency.

import type { Row, Socket } from "../api.js"
import type { FakeServer } from "./server.js"

export type FakeWebSocketClass = new (url: string, protocols?: string | string[]) => Socket & EventTarget

interface Subscription {
  name: string
  fields: Row
  wants: (message: Row) => boolean
}

const CONNECTING = 0
const OPEN = 1
const CLOSING = 2
const CLOSED = 3

export class FakeConnection {
  readonly id: string
  /** What the client sent, parsed. */
  readonly received: Row[] = []
  /** By channel, a line break, and `as`. */
  readonly subscriptions = new Map<string, Subscription>()
  expiry = 0 // the timer of its token
  isOver = false
  isLost = false
  #toClient = 0 // when the last packet arrives there
  #toServer = 0

  constructor(
    readonly server: FakeServer,
    readonly url: string,
    readonly token: string,
    readonly client: { opened(): void; received(text: string): void; closed(code: number): void },
  ) {
    this.id = `connection-${++server.attempts}`
  }

  /** Sends a message to the client. */
  send(message: Row): void {
    this.sendText(JSON.stringify(message))
  }

  sendText(text: string): void {
    if (!this.isOver) this.#travel(() => this.client.received(text))
  }

  deliver(key: string, message: Row): void {
    const subscription = this.subscriptions.get(key)
    if (!subscription?.wants(message)) return
    const { type, ...rest } = message
    this.send({ type, ...subscription.fields, ...rest })
  }

  /** Send `resync` to all subscriptions. */
  resync(): void {
    for (const { name, fields } of this.subscriptions.values())
      this.send({ type: "resync", ...fields, position: this.server.position(name) })
  }

  refuse(code: number, error?: string): void {
    if (error) this.send({ type: "error", code: error, message: `refused: ${error}` })
    this.end(code)
  }

  /** The connection ends: the client sees it, unless its packets get lost. */
  end(code: number): void {
    if (this.isOver) return
    this.isOver = true
    this.server.gone(this)
    this.#travel(() => this.client.closed(code))
  }

  /** From now on no packet arrives, in either direction. */
  lose(): void {
    this.isLost = true
    // The server misses its heartbeats, and gives up.
    this.server.clock.later(50_000, () => {
      if (this.isOver) return
      this.isOver = true
      this.server.gone(this)
    })
  }

  #travel(arrive: () => void): void {
    const { clock, latency, isBlackHole } = this.server
    if (this.isLost || isBlackHole) {
      if (!this.isLost) this.lose()
      return
    }
    this.#toClient = Math.max(this.#toClient, clock.now + latency)
    clock.later(this.#toClient - clock.now, () => {
      if (!this.isLost) clock.inPage(arrive)
    })
  }

  /** @internal A packet of the client. */
  take(run: () => void): void {
    const { clock, latency, isBlackHole } = this.server
    if (isBlackHole && !this.isLost) this.lose()
    if (this.isLost) return
    this.#toServer = Math.max(this.#toServer, clock.now + latency)
    clock.later(this.#toServer - clock.now, () => {
      if (!this.isLost && !this.isOver) run()
    })
  }

  /** @internal */
  open(): void {
    this.#travel(() => this.client.opened())
    this.server.accept(this, this.token)
  }
}

export function fakeWebSocket(server: FakeServer): FakeWebSocketClass {
  return class FakeWebSocket extends EventTarget implements Socket {
    onopen: ((event: any) => void) | null = null
    onmessage: ((event: any) => void) | null = null
    onclose: ((event: any) => void) | null = null
    onerror: ((event: any) => void) | null = null
    readyState = CONNECTING
    bufferedAmount = 0
    readonly #connection: FakeConnection

    constructor(url: string, protocols: string | string[] = []) {
      super()
      const [, token = ""] = [protocols].flat()
      if (!/^[\w!#$%&'*+.^`|~-]+$/.test(token)) throw new SyntaxError("not a subprotocol: " + token)
      const { clock } = server
      this.#connection = new FakeConnection(server, url, token, {
        opened: () => {
          if (this.readyState != CONNECTING) return
          this.readyState = OPEN
          this.onopen?.({ type: "open" })
        },
        received: (data) => {
          if (this.readyState == OPEN) this.onmessage?.({ type: "message", data })
        },
        closed: (code) => this.#close(code),
      })
      if (server.isDown) clock.later(server.latency, () => clock.inPage(() => this.#close(1006)))
      else this.#connection.take(() => this.#connection.open())
    }

    send(text: string): void {
      if (this.readyState == CONNECTING) throw new Error("the socket is not open yet")
      if (this.readyState != OPEN) return
      this.#connection.take(() => {
        const message = JSON.parse(text)
        this.#connection.received.push(message)
        server.receive(this.#connection, message)
      })
    }

    close(code = 1005): void {
      if (this.readyState >= CLOSING) return
      const wasOpen = this.readyState == OPEN
      this.readyState = CLOSING
      this.#connection.take(() => this.#connection.end(code))
      if (!wasOpen) server.clock.later(0, () => this.#close(1006))
    }

    #close(code: number): void {
      if (this.readyState == CLOSED) return
      this.readyState = CLOSED
      this.onclose?.({ type: "close", code, reason: "", wasClean: code != 1006 })
    }
  }
}
