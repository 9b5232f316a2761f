// A clock that stands still until a test moves it, and the page around a client: its timers, chance and events.
//
// There are two kinds of work: that of the page (timers, events, messages of sockets), which waits while the page is
// frozen, and that of the world (`later`), which never does.

import type { Runtime } from "../api.js"

interface Timer {
  at: number
  order: number
  run: () => void
  inPage: boolean
}

type Listener = (event: any) => void

export interface VirtualClockOptions {
  /** Milliseconds since 1970 at which it starts. */
  start?: number
  /** The same seed gives the same chance. */
  seed?: number
}

export class VirtualClock {
  /** Hand it to `connect` as the option `runtime`. */
  readonly runtime: Runtime
  /** What callbacks threw. */
  readonly errors: unknown[] = []
  #now: number
  #seed: number
  #order = 0
  #timers = new Map<number, Timer>()
  #listeners = new Map<string, Set<Listener>>()
  #frozen: (() => void)[] | null = null
  #late = new Set<number>() // timers that are due, and wait until the page runs again
  #visibility = "visible"

  constructor({ start = Date.UTC(2026, 0, 1), seed = 1 }: VirtualClockOptions = {}) {
    this.#now = start
    this.#seed = seed
    const page = {
      addEventListener: (type: string, listener: Listener) => void this.#of(type).add(listener),
      removeEventListener: (type: string, listener: Listener) => void this.#of(type).delete(listener),
    }
    const clock = this
    this.runtime = {
      now: () => this.#now,
      random: () => this.random(),
      setTimeout: (run, ms) => this.#schedule(run, ms, true),
      clearTimeout: (timer) => {
        this.#timers.delete(timer as number)
        this.#late.delete(timer as number)
      },
      reportError: (error) => void this.errors.push(error),
      window: page,
      document: {
        ...page,
        get visibilityState() {
          return clock.#visibility
        },
      },
    }
  }

  get now(): number {
    return this.#now
  }

  /** How many timers of the page are set. */
  get timers(): number {
    return [...this.#timers.values()].filter((timer) => timer.inPage).length
  }

  /** How many listeners the page has. */
  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, listeners) => sum + listeners.size, 0)
  }

  /** A number from 0 to 1, without 1. */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), this.#seed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  /** Work of the world, such as a packet on its way. */
  later(ms: number, run: () => void): number {
    return this.#schedule(run, ms, false)
  }

  cancel(timer: number): void {
    this.#timers.delete(timer)
  }

  /** Work of the page, now, or once it is no longer frozen. */
  inPage(run: () => void): void {
    if (this.#frozen) this.#frozen.push(run)
    else run()
  }

  /** Lets time pass, and everything happen that is due. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    for (let next = this.#next(end); next; next = this.#next(end)) {
      const [id, timer] = next
      this.#timers.delete(id)
      this.#now = Math.max(this.#now, timer.at)
      if (timer.inPage) this.#fire(id, timer.run)
      else timer.run()
      await this.settle()
    }
    this.#now = end
  }

  /** Lets promises that are already resolved do their work. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await null
  }

  /** Lets time pass until a condition holds; throws if it does not within `ms`. */
  async until(condition: () => unknown, ms = 60_000): Promise<void> {
    const end = this.#now + ms
    await this.settle()
    while (!condition()) {
      const next = this.#next(end)
      if (!next) throw new Error(`it did not happen within ${ms} ms: ${condition}`)
      await this.advance(next[1].at - this.#now)
    }
  }

  /** The page is frozen, or the machine sleeps: nothing of the page runs, and the world goes on. */
  freeze(): void {
    this.#frozen ??= []
  }

  /** The page runs again: first what waited. */
  async thaw(): Promise<void> {
    const waited = this.#frozen ?? []
    this.#frozen = null
    for (const run of waited) {
      run()
      await this.settle()
    }
  }

  /** Freezes the page for a time. */
  async sleep(ms: number): Promise<void> {
    this.freeze()
    await this.advance(ms)
    await this.thaw()
  }

  /** An event of the page: `clock.dispatch("online")`, `clock.dispatch("pageshow", { persisted: true })`. */
  dispatch(type: string, properties: object = {}): void {
    this.inPage(() => {
      for (const listener of [...this.#of(type)]) listener({ type, ...properties })
    })
  }

  hide(): void {
    this.#visibility = "hidden"
    this.dispatch("visibilitychange")
  }

  show(): void {
    this.#visibility = "visible"
    this.dispatch("visibilitychange")
  }

  /** A late timer may still be cleared. */
  #fire(id: number, run: () => void): void {
    this.#late.add(id)
    this.inPage(() => {
      if (this.#late.delete(id)) run()
    })
  }

  #of(type: string): Set<Listener> {
    let found = this.#listeners.get(type)
    if (!found) this.#listeners.set(type, (found = new Set()))
    return found
  }

  #schedule(run: () => void, ms: number, inPage: boolean): number {
    const order = ++this.#order
    this.#timers.set(order, { at: this.#now + Math.max(0, ms || 0), order, run, inPage })
    return order
  }

  #next(end: number): [number, Timer] | null {
    let found: [number, Timer] | null = null
    for (const entry of this.#timers) if (entry[1].at <= end && (!found || entry[1].at < found[1].at)) found = entry
    return found
  }
}

export function virtualClock(options?: VirtualClockOptions): VirtualClock {
  return new VirtualClock(options)
}
