// Changes as an async iterator: `for await (const change of orders.changes())`. What waits to be read is bounded.

import type { Change, IteratorOptions } from "./api.js"
import { Lagged, type RealtimeError } from "./errors.js"
import type { Listeners } from "./listeners.js"

interface Waiting {
  _resolve: (result: IteratorResult<Change>) => void
  _reject: (error: unknown) => void
}

const DONE: IteratorResult<Change> = { done: true, value: undefined }

/** `ended` is how the subscription ended before the call: an error, null for a close, undefined if it lives. */
export function changes(
  listeners: Listeners,
  position: string | null,
  ended: RealtimeError | null | undefined,
  { signal, buffer = 1_000 }: IteratorOptions,
): AsyncIterableIterator<Change> {
  const queue: Change[] = []
  const waiting: Waiting[] = []
  let isOver = false
  let failure: unknown

  const finish = (error?: unknown, forget?: boolean) => {
    if (isOver) return
    isOver = true
    failure = error ?? null
    if (forget) queue.length = 0
    for (const undo of undos) undo()
    signal?.removeEventListener("abort", aborted)
    for (const { _resolve, _reject } of waiting.splice(0)) {
      if (failure) _reject(failure)
      else _resolve(DONE)
      failure = null
    }
  }
  const aborted = () => finish(signal!.reason, true)
  const undos = [
    listeners._add("change", (change: Change) => {
      if (waiting.length) waiting.shift()!._resolve({ done: false, value: change })
      else if (queue.length < buffer) queue.push(change)
      else return finish(new Lagged(position))
      position = change.id
    }),
    listeners._add("end", (error) => finish(error, !error)),
  ]
  signal?.addEventListener("abort", aborted)
  if (signal?.aborted) aborted()
  if (ended !== undefined) finish(ended)

  return {
    next: () =>
      new Promise((_resolve, _reject) => {
        if (queue.length) _resolve({ done: false, value: queue.shift()! })
        else if (!isOver) waiting.push({ _resolve, _reject })
        else if (failure) {
          _reject(failure)
          failure = null
        } else _resolve(DONE)
      }),
    return: async () => {
      finish(null, true)
      return DONE
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}
