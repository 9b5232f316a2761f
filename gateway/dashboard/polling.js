// Reads again and again while the tab is seen: one request at a time, later after failures, never after the page left.
import { useEffect, useSignal } from "./vendor/preact.js"

const MOST_WAIT_MS = 30_000

/**
 * Call `read({signal})` now and then each `every` ms. Returns a signal of {data, error, failingSince, at}; `data`
 * stays while an error is shown. `again()` of it reads at once. A change in `inputs` forgets the data, or, with `keep`,
 * marks it as `isOld` until the next is there.
 */
export function usePolling(read, every, inputs = [], { keep = false } = {}) {
    const state = useSignal(EMPTY)
    useEffect(() => {
        const { data } = state.peek()
        state.value = keep && data !== null ? { ...EMPTY, data, isOld: true, again } : { ...EMPTY, again }
        const stop = new AbortController()
        let timer = 0
        let failures = 0
        let isReading = false
        let isWanted = false

        async function round() {
            clearTimeout(timer)
            if (isReading) {
                isWanted = true
                return
            }
            isReading = true
            let wait = every
            try {
                const data = await read({ signal: stop.signal })
                if (stop.signal.aborted) return
                failures = 0
                state.value = { data, error: null, failingSince: null, at: Date.now(), isOld: false, again }
            } catch (error) {
                if (stop.signal.aborted) return
                const since = state.peek().failingSince ?? Date.now()
                wait = Math.max(Math.min(every * 2 ** failures++, MOST_WAIT_MS), (error.retrySeconds ?? 0) * 1000)
                state.value = { ...state.peek(), error, failingSince: since }
            } finally {
                isReading = false
            }
            if (isWanted) wait = 0
            isWanted = false
            if (!document.hidden && Number.isFinite(wait)) timer = setTimeout(round, wait)
        }

        function again() {
            if (!stop.signal.aborted) round()
        }
        const seen = () => { if (document.hidden) clearTimeout(timer); else again() }
        document.addEventListener("visibilitychange", seen)
        again()
        return () => {
            stop.abort(new DOMException("the page has left", "AbortError"))
            clearTimeout(timer)
            document.removeEventListener("visibilitychange", seen)
        }
    }, inputs)
    return state
}

const EMPTY = { data: null, error: null, failingSince: null, at: null, isOld: false, again() {} }
