// zmesh-realtime: the client of Realtime. `connect` opens nothing before the first subscription, presence,
// broadcast or `ready()`, and importing this touches no global.

import type { Options, Realtime, Row } from "./api.js"
import { Client } from "./client.js"

export type * from "./api.js"
export { Lagged, RealtimeError, Unauthorized } from "./errors.js"

/** The client of a project, such as `https://host/projects/demo`. `Db` types its tables, `Rooms` its channels. */
export function connect<Db = Record<string, Row>, Rooms = Record<string, any>>(
  url: string,
  options: Options,
): Realtime<Db, Rooms> {
  return new Client(url, options) as unknown as Realtime<Db, Rooms>
}
