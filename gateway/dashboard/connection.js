// The one WebSocket of the dashboard: a client for all pages, which is made anew when the session changes. It connects
// when a page first subscribes.
//
// The client reads JSON into values, which rounds a numeric of many digits. So the text of each frame is kept while
// its listeners run: `frame()` has every digit as the server sent it, and `sendAsTyped` sends a payload as it stands.
import { effect, html, signal } from "./vendor/preact.js"
import { connect } from "../realtime.js"
import { familyOf } from "./channel_names.js"
import { duration } from "./format.js"
import { Notice } from "./parts/layout.js"
import { Button } from "./parts/controls.js"
import { clock, end, serverNow, session } from "./session.js"

const IDLE = { state: "idle", attempt: 0, retryAt: null, reason: null }
const PING_MS = 30_000

export const client = signal(null) // of the session; another object once the session, or `again()`, made a new one
export const status = signal(IDLE) // as the client reports it
export const me = signal(null) // the id of this connection while it is open

let text = ""
let ahead = null // of the node's clock before this one's, in ms, once a ping was answered
const payloads = new Map() // by the mark that stands for them
const starts = new Map() // `since` by channel, for channels on which the client knows none
const round = signal(0)

/** The text of the frame whose listeners run now. */
export const frame = () => text

/** The time by the node's clock, to the millisecond once a ping was answered. */
export const nodeNow = () => (ahead === null ? serverNow() : Date.now() + ahead)

/** Connect anew after the connection has ended for good; whoever depends on `client` subscribes again. */
export function again() {
    round.value++
}

class Socket extends WebSocket {
    constructor(url, protocols) {
        super(url, protocols)
        let timer = 0
        let askedAt = 0
        const ping = () => {
            askedAt = Date.now()
            if (this.readyState === WebSocket.OPEN) super.send('{"type":"ping"}')
        }
        // Added first, so it runs before the listener of the client.
        this.addEventListener("message", ({ data }) => {
            text = data
            if (data.startsWith('{"type":"connected"')) {
                me.value = JSON.parse(data).connection_id
                ping()
                timer = setInterval(ping, PING_MS)
            } else if (data.startsWith('{"type":"pong"') && askedAt) {
                ahead = Date.parse(JSON.parse(data).timestamp) - (askedAt + Date.now()) / 2
                askedAt = 0
            }
        })
        this.addEventListener("close", () => clearInterval(timer))
    }

    close(...why) {
        me.value = null
        super.close(...why)
    }

    send(message) {
        for (const [mark, payload] of payloads) {
            const where = message.indexOf(`"payload":"${mark}"`)
            if (where >= 0) message = message.slice(0, where + 10) + payload + message.slice(where + mark.length + 12)
        }
        if (starts.size && message.startsWith('{"type":"subscribe"')) {
            const { channel, since } = JSON.parse(message)
            if (since === undefined && starts.has(channel)) message = `${message.slice(0, -1)},"since":${JSON.stringify(starts.get(channel))}}`
            starts.delete(channel)
        }
        super.send(message)
    }
}

effect(() => {
    round.value
    const who = session.value
    if (!who) return undefined
    const made = connect(new URL(`projects/${who.project}`, document.baseURI).href, {
        token: who.token, integers: "bigint", WebSocket: Socket,
    })
    client.value = made
    status.value = IDLE
    made.on("status", (news) => {
        if (news.state !== "open") me.value = null
        status.value = news
        if (news.state !== "closed") return
        if (news.reason === "token_expired") end("Your token has expired. Sign in with a newer one.")
        else if (news.reason === "unauthorized") end("The token was refused. Sign in with another one.")
    })
    return () => {
        client.value = null
        starts.clear()
        made.close()
    }
})

/** Broadcast a payload, given as JSON text, digit for digit. Rejects like `broadcast` of the client, or with a SyntaxError. */
export async function sendAsTyped(channel, payload) {
    JSON.parse(payload) // what is no JSON must not get into a frame
    const mark = `as typed ${Math.random()}`
    payloads.set(mark, payload)
    const handle = client.peek().channel(channel)
    try {
        await handle.broadcast(mark)
    } finally {
        payloads.delete(mark)
        handle.close()
    }
}

/**
 * Subscribe to any channel, spelled as in the protocol. `onEvent(kind, message)` gets changes, broadcasts and
 * presence, `onState(state)` each state of the subscription, `onGap(reason)` each gap. Returns a function that ends it.
 */
export function subscribe(channel, { filter, since, onEvent, onState, onGap }) {
    const rt = client.peek()
    const family = familyOf(channel)
    let handle
    if (family === "table") {
        handle = rt.table(channel.slice(6), { filter, since: since || undefined })
        handle.on("change", (change) => onEvent(change.event, change))
    } else {
        const [, scope] = /^presence(?::(.*))?$/s.exec(channel) ?? []
        const isPresence = family === "presence"
        if (since && !isPresence) starts.set(channel, since)
        handle = isPresence ? (scope === undefined ? rt.presence : rt.channel(scope).presence) : rt.channel(channel)
        const undo = isPresence
            ? ["sync", "join", "update", "leave"].map((kind) => handle.on(kind, (people) => onEvent(kind, people)))
            : [handle.on("broadcast", (message) => onEvent("broadcast", message)), handle.on("gap", (gap) => onGap(gap.reason))]
        undo.push(handle.on("state", (state) => {
            if (since && !isPresence && text.startsWith('{"type":"subscribed"') && state.subscribed) {
                if (JSON.parse(text).recovered === false) onGap("history")
                since = undefined
            }
            onState(state)
        }))
        return () => undo.forEach((off) => off())
    }
    handle.on("gap", (gap) => onGap(gap.reason))
    handle.on("state", onState)
    return () => handle.close()
}

/** Why there is no connection, in words; null while there is one, or while it is only being opened. */
export function trouble({ state, attempt, reason, retryAt }) {
    if (state === "closed") return FINAL[reason]?.() ?? `The connection was closed: ${reason}.`
    if (!reason || state === "open" || (state === "connecting" && attempt < 1)) return null
    const seconds = ((retryAt ?? 0) - Date.now()) / 1000
    const wait = seconds > 1 ? ` The next attempt starts in ${duration(seconds)}.` : " Trying again."
    return (PASSING[reason] ?? `The connection was lost (${reason}).`) + wait
}

const FINAL = {
    forbidden: () => `The project takes no WebSocket from this address: add "${location.origin}" to allowed_origins in its settings.`,
    not_found: () => "This node serves no project of that name.",
    disconnected: () => "An administrator has disconnected this page.",
    closed: () => "The connection was closed.",
}

const PASSING = {
    connection_lost: "The connection was lost.",
    timeout: "The node did not answer in time.",
    no_answer: "The connection had died without a sign.",
    draining: "The node is going away.",
    slow_consumer: "This page could not read as fast as messages came, so the node ended the connection.",
    rate_limited: "This page sent too many messages.",
    too_many_connections: "The project has as many connections as it may have.",
    unavailable: "The node cannot serve this project now.",
}

/** What to know of the connection, above a page that needs it; nothing while all is well. */
export function ConnectionNotice() {
    clock.value // the time to the next attempt goes down
    const why = trouble(status.value)
    if (!why) return null
    return status.value.state === "closed"
        ? html`<${Notice} kind="error" title="There is no connection." actions=${html`<${Button} small icon="refresh" onClick=${again}>Connect again<//>`}>${why}<//>`
        : html`<${Notice} kind="warning" title="There is no connection at the moment.">${why}<//>`
}
