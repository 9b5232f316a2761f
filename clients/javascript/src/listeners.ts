// Listeners by type of event, and what becomes of one that throws.

import type { Off, Runtime } from "./api.js"

/** Lets `using` end something, where the runtime knows the symbol. */
export function disposable<T>(it: T, undo: () => void): T & Disposable {
  if (Symbol.dispose) (it as any)[Symbol.dispose] = undo
  return it as T & Disposable
}

export class Listeners {
  // The function stands in an object of its own: the same function may be added twice.
  _all = new Set<{ _type: string; _run: (value: any) => void }>()

  constructor(readonly _runtime: Runtime) {}

  _add(type: string, run: (value: any) => void, removed?: () => void): Off {
    const listener = { _type: type, _run: run }
    this._all.add(listener)
    const off = () => {
      if (this._all.delete(listener)) removed?.()
    }
    return disposable(off, off)
  }

  _emit(type: string, value: unknown): void {
    for (const listener of [...this._all]) {
      if (listener._type != type || !this._all.has(listener)) continue
      try {
        listener._run(value)
      } catch (error) {
        this._runtime.reportError(error)
      }
    }
  }
}
