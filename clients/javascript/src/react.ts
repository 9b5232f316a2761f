// Hooks for React 18 and later. The application makes the client and hands it to the provider; hooks subscribe and
// unsubscribe with their component. A subscription that is needed again within a second was never given up, so strict
// mode and a changing channel cost nothing.

import { createContext, createElement, type FunctionComponent, type ReactNode, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react"
import type { Broadcast, BroadcastOptions, Change, ChangeEvent, Gap, Presence, PresenceEntry, Realtime, Row, Status, SubscriptionState, TableOptions } from "./api.js"

type Client = Realtime<any, any>

const Context = createContext<Client | null>(null)
const EVENTS = ["sync", "join", "update", "leave"] as const
const NOBODY: readonly PresenceEntry[] = []
const UNKNOWN: Status = { state: "idle", attempt: 0, retryAt: null, reason: null }
const IDLE: SubscriptionState = { subscribed: false, enabled: null, position: null, error: null }

export interface ProviderProps {
  client: Client
  children?: ReactNode
}

export const RealtimeProvider: FunctionComponent<ProviderProps> = ({ client, children }) => createElement(Context.Provider, { value: client }, children)

/** The client of the nearest provider. */
export function useRealtime(): Client {
  const client = useContext(Context)
  if (!client) throw new Error("there is no RealtimeProvider above")
  return client
}

/** The state of the connection. */
export function useStatus(): Status {
  const client = useRealtime()
  const subscribe = useCallback((changed: () => void) => client.on("status", changed), [client])
  return useSyncExternalStore(subscribe, () => client.status, () => UNKNOWN)
}

export interface UseTableOptions<R = Row, E extends ChangeEvent = ChangeEvent> extends TableOptions<E> {
  onChange?: ((change: Change<R, E>) => void) | undefined
  /** What was read before is out of date: read it again. */
  onGap?: ((gap: Gap) => void) | undefined
}

/** Subscribes to a table while the component is there; null subscribes to nothing. Renders when the state changes. */
export function useTable<R = Row, E extends ChangeEvent = ChangeEvent>(name: string | null, options: UseTableOptions<R, E> = {}): SubscriptionState {
  const client = useRealtime()
  const { event, filter } = options
  const latest = useLatest(options)
  const [state, setState] = useState(IDLE)
  useEffect(() => {
    if (name == null) return
    const { since } = latest.current
    const table = client.table(name, { event, filter, since })
    table.on("change", (change) => latest.current.onChange?.(change as Change<R, E>))
    table.on("gap", (gap) => latest.current.onGap?.(gap))
    table.on("state", setState)
    return () => {
      table.close()
      setState(IDLE)
    }
  }, [client, name, event, filter])
  return state
}

/** Who is present in a channel, or in the project without one. With a state, this client is, too; null leaves. */
export function usePresence(channel?: string | null, state?: object | null): readonly PresenceEntry[] {
  const client = useRealtime()
  const [list, setList] = useState(NOBODY)
  const text = state ? JSON.stringify(state) : null
  const present = useRef<Presence | null>(null)
  const isSet = useRef(false)
  useEffect(() => {
    const room = channel == null ? null : client.channel(channel)
    const presence = (present.current = room ? room.presence : client.presence)
    const offs = EVENTS.map((type) => presence.on(type, () => setList(presence.list)))
    setList(presence.list)
    return () => {
      for (const off of offs) off()
      if (room) room.close()
      else if (isSet.current) presence.leave()
      setList(NOBODY)
    }
  }, [client, channel])
  useEffect(() => {
    if (text) present.current!.set(JSON.parse(text))
    else if (isSet.current) present.current!.leave()
    isSet.current = !!text
  }, [client, channel, text])
  return list
}

/** A function that sends to a channel. With `onMessage`, the component listens to the channel as well. */
export function useBroadcast<P = any>(channel: string, onMessage?: (message: Broadcast<P>) => void): (payload: P, options?: BroadcastOptions) => Promise<void> {
  const client = useRealtime()
  const latest = useLatest(onMessage)
  const listens = !!onMessage
  useEffect(() => {
    if (!listens) return
    const room = client.channel(channel)
    room.on("broadcast", (message) => latest.current?.(message as Broadcast<P>))
    return () => room.close()
  }, [client, channel, listens])
  return useCallback((payload, options) => client.channel(channel).broadcast(payload, options), [client, channel])
}

/** The value of the last render, for callbacks that outlive it. */
function useLatest<T>(value: T) {
  const latest = useRef(value)
  useEffect(() => void (latest.current = value))
  return latest
}
