// Listeners by type of event, and what becomes of one that throws.

import type { Off, Runtime } from "./api.js"

/** Lets `using` end something, where the runtime knows the symbol. */
export function disposable<T>(it: T, undo: () => void): T & Disposable {
  if (Symbol.dispose) (it as any)[Symbol.dispose] = undo
  return it as T & Disposable
}

interface Listener {
  _type: string
  _run: (value: any) => void
}

export class Listeners {
  // Each in an object of its own: the same function may be added twice.
  _all = new Set<Listener>()

  constructor(readonly _runtime: Runtime) {}

  /** `first` gives what is known already: the new listener gets it soon, unless it is undefined. */
  _add(type: string, run: (value: any) => void, first?: () => unknown, removed?: () => void): Off {
    const listener = { _type: type, _run: run }
    this._all.add(listener)
    if (first) queueMicrotask(() => this._call(listener, first()))
    const off = () => {
      if (this._all.delete(listener)) removed?.()
    }
    return disposable(off, off)
  }

  _emit(type: string, value: unknown): void {
    for (const listener of [...this._all]) if (listener._type == type) this._call(listener, value)
  }

  _call(listener: Listener, value: unknown): void {
    if (value === undefined || !this._all.has(listener)) return
    try {
      listener._run(value)
    } catch (error) {
      this._runtime.reportError(error)
    }
  }
}
