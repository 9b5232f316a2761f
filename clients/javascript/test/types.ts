// Compiled, never run: what the types allow, and with @ts-expect-error what they do not.
import { type Change, connect, Lagged, type Realtime, RealtimeError, type Row, Unauthorized } from "zmesh-realtime"
import { RealtimeProvider, useBroadcast, usePresence, useStatus, useTable } from "zmesh-realtime/react"
import { fakeServer, virtualClock } from "zmesh-realtime/testing"

interface Order {
  id: bigint
  total: string
  status: "new" | "paid"
}
interface Db {
  orders: Order
  "audit.logins": { id: number; at: string }
}
interface Rooms {
  "room:lobby": { text: string }
  [chat: `chat:${string}`]: { text: string; to?: string }
}

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const same = <A, B>(_: Equal<A, B>) => {}

export async function typed() {
  await using rt = connect<Db, Rooms>("https://host/projects/demo", {
    token: async ({ reason, signal }) => {
      same<typeof reason, "first" | "expiring" | "rejected">(true)
      same<typeof signal, AbortSignal>(true)
      throw new Unauthorized()
    },
    integers: "bigint",
    backoff: { min: 100 },
    signal: AbortSignal.timeout(1_000),
  })

  using orders = rt.table("orders", { filter: "id=eq.1", since: null })
  using off = orders.on("change", (change) => {
    same<typeof change, Change<Order>>(true)
    same<typeof change.data, Order>(true)
    if (change.event === "INSERT") same<typeof change.old, null>(true)
    if (change.event === "UPDATE") same<typeof change.old, Order | null>(true)
    // @ts-expect-error: there is no such column
    change.data.amount
    // @ts-expect-error: there is no such event
    if (change.event === "TRUNCATE") return
    // @ts-expect-error: a change is not to be changed
    change.id = "1"
  })
  off()
  orders.on("gap", ({ reason }) => same<typeof reason, "history" | "resync">(true))
  orders.on("state", ({ error, enabled, position, subscribed }) => {
    same<typeof error, RealtimeError | null>(true)
    same<[typeof enabled, typeof position, typeof subscribed], [boolean | null, string | null, boolean]>(true)
  })
  // @ts-expect-error: there is no such event
  orders.on("changes", () => {})

  const updates = rt.table("public.orders", { event: "UPDATE" })
  updates.on("change", (change) => {
    same<typeof change.event, "UPDATE">(true)
    same<typeof change.old, Order | null>(true)
  })
  for await (const change of updates.changes({ buffer: 10 })) same<typeof change.data.status, "new" | "paid">(true)
  rt.table("audit.logins").on("change", ({ data }) => same<typeof data.at, string>(true))
  // @ts-expect-error: there is no such table
  rt.table("order")
  // @ts-expect-error: there is no such kind of change
  rt.table("orders", { event: "insert" })

  const lobby = rt.channel("room:lobby")
  lobby.on("broadcast", ({ payload, sender }) => same<[typeof payload, typeof sender.user_id], [{ text: string }, string | null]>(true))
  await lobby.broadcast({ text: "hi" }, { self: false, ack: true })
  await rt.channel("chat:room-1").broadcast({ text: "hi", to: "Ann" })
  // @ts-expect-error: the payload has a text
  await lobby.broadcast({ txt: "hi" })
  // @ts-expect-error: there is no such room
  rt.channel("room:kitchen")
  lobby.presence.on("join", (entries) => same<(typeof entries)[number]["user_id"], string | null>(true))
  await lobby.presence.set({ name: "Ann" })
  // @ts-expect-error: a state is an object
  await lobby.presence.set("Ann")
  same<typeof rt.status.state, "idle" | "connecting" | "open" | "waiting" | "closed">(true)
}

export function untyped(rt: Realtime) {
  rt.table("anything").on("change", ({ data }) => same<typeof data, Row>(true))
  rt.channel("any:thing").broadcast([1, "two"])
  // @ts-expect-error: a token is needed
  connect("https://host/projects/demo", {})
  // @ts-expect-error: numbers, bigints or strings
  connect("https://host/projects/demo", { token: "t", integers: "float" })
  const clock = virtualClock({ seed: 1 })
  const server = fakeServer({ clock, latency: [1, 2] })
  connect("https://host/projects/demo", { token: "t", WebSocket: server.WebSocket, runtime: clock.runtime })
  connect("https://host/projects/demo", { token: "t", WebSocket: globalThis.WebSocket })
  return new Lagged(null).position
}

export function Page() {
  const state = useTable<Order, "INSERT">("orders", { event: "INSERT", onChange: ({ data, old }) => same<[typeof data, typeof old], [Order, null]>(true) })
  const send = useBroadcast<{ text: string }>("room:lobby", ({ payload }) => same<typeof payload.text, string>(true))
  // @ts-expect-error: the payload has a text
  void send({})
  same<[typeof state.subscribed, number], [boolean, ReturnType<typeof usePresence>["length"]]>(true)
  return [useStatus().state, RealtimeProvider]
}
