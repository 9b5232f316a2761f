// The surroundings of a client: clock, chance and events of the page. Looked up when `connect` runs, not on import.

import type { Runtime } from "./api.js"

export function surroundings(given: Partial<Runtime> | undefined): Runtime {
  const world = globalThis as any
  return {
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer as number),
    reportError: (error) =>
      world.reportError
        ? world.reportError(error)
        : queueMicrotask(() => {
            throw error
          }),
    window: world.addEventListener && world,
    document: world.document,
    ...given,
  }
}

/** The WebSocket address of a project: `https://host/projects/demo` in, `wss://…/realtime/ws` out. */
export function address(url: string): string {
  const parsed = new URL(url, (globalThis as any).location?.href)
  parsed.hash = ""
  parsed.pathname = parsed.pathname.replace(/\/*$/, "/realtime/ws")
  const found = parsed.href.replace(/^http/, "ws")
  if (!/^wss?:/.test(found)) throw new TypeError("not an http or ws address: " + url)
  return found
}
