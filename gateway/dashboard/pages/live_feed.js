// What Live holds: one subscription and the last events of it, as the text of their frames. Nothing is made of an event
// before it is seen. The subscription goes on while another page is open, and ends with the session.
import { familyOf } from "../channel_names.js"
import { client, frame, nodeNow, subscribe as subscribeTo } from "../connection.js"
import { fields, json } from "../json_text.js"
import { session } from "../session.js"
import { computed, effect, signal } from "../vendor/preact.js"

export const MOST = 10_000
const MOST_CHARACTERS = 32 * 2 ** 20
const MOST_UNDRAWN = 1_000 // in a tab that is not seen no frame is drawn
const GRACE_MS = 1_100 // for which the client keeps a subscription that nobody uses
const LONG_MS = 30
const MOST_PAUSE_MS = 1_000
const PASSING = /^(unavailable|internal|rate_limited|unknown|not_sent|closed)$/
const NOTHING = { subscribed: false, enabled: null, position: null, error: null }
const STILL = { rate: 0, lag: null, most: null, total: 0 }

/** The last events, in order; the oldest go when they are too many or too big. */
class Ring {
    items = []
    characters = 0

    add(events) {
        for (const event of events) this.characters += event.text.length
        this.items.push(...events)
        let over = 0
        while (this.items.length - over > MOST || (this.characters > MOST_CHARACTERS && over < this.items.length - 1)) {
            this.characters -= this.items[over++].text.length
        }
        this.items.splice(0, over)
        return over
    }
}

export const wanted = signal(null) // {channel, filter, since}, or null
export const state = signal(NOTHING) // of the subscription, as the client reports it
export const refusal = computed(() => (state.value.error && !PASSING.test(state.value.error.code) ? state.value.error : null))
export const isPaused = signal(false)
export const waiting = signal(0) // how many came while paused
export const figures = signal(STILL)
export const isQuiet = computed(() => figures.value.total === 0)
export const drawn = signal(0) // grows, at most once a frame, when what is to be shown has changed
export const search = signal("")
export const hidden = signal(new Set()) // kinds that are not shown
/** `shown` are the events to draw; `cut` counts those that left its front, so that a list can keep its place. */
export const view = { shown: [], cut: 0, kept: 0 }

let ring = new Ring()
let held = new Ring() // what came while paused
let lost = 0 // of what came while paused
let arrived = []
let number = 0
let lastId = null
let end = null // ends the subscription
const left = new Map() // when a subscription was given up, by channel and filter
let opening = 0
let isScheduled = false
let drawAt = 0 // when the next drawing may begin
let drawingAt = 0
const afterwards = new MessageChannel()
let since = { at: 0, total: 0, lags: 0, sum: 0, most: 0 } // the last figures
let total = 0

const keyOf = ({ channel, filter }) => `${channel}\n${filter}`

export function subscribe(next) {
    const before = wanted.peek()
    if (before && keyOf(before) === keyOf(next) && !next.since && state.peek().subscribed) return
    stop()
    clear()
    lastId = null
    isPaused.value = false
    wanted.value = next
    // The client would share the subscription that was just given up: it stands elsewhere, or was refused.
    const pause = GRACE_MS - (Date.now() - (left.get(keyOf(next)) ?? 0))
    if (pause > 0) opening = setTimeout(open, pause, next.since)
    else open(next.since)
}

function open(start) {
    clearTimeout(opening)
    const { channel, filter } = wanted.peek()
    end = subscribeTo(channel, { filter, since: start, onEvent, onGap, onState: (news) => { state.value = news } })
}

export function stop() {
    clearTimeout(opening)
    if (end) {
        for (const [key, at] of left) if (Date.now() - at > GRACE_MS) left.delete(key)
        left.set(keyOf(wanted.peek()), Date.now())
        end()
    }
    end = null
    wanted.value = null
    state.value = NOTHING
}

export function clear() {
    ring = new Ring()
    held = new Ring()
    arrived = []
    lost = total = waiting.value = 0
    since = { at: Date.now(), total: 0, lags: 0, sum: 0, most: 0 }
    figures.value = STILL
    choose()
}

export function pause(on) {
    isPaused.value = on
    if (on) {
        flush()
        return
    }
    if (lost) note(`${lost} events that came while paused are not here: no more than ${MOST} wait.`)
    arrived.push(...held.items)
    held = new Ring()
    lost = 0
    flush()
}

function onEvent(kind, message) {
    const at = nodeNow()
    const sentAt = message.commitTimestamp ?? message.timestamp
    const lag = sentAt === undefined ? null : at - Date.parse(sentAt)
    if (lag !== null) {
        since.lags++
        since.sum += lag
        if (lag > since.most) since.most = lag
    }
    lastId = message.id ?? lastId
    total++
    arrive({ number: ++number, kind, at, lag, text: kind === "sync" ? textOfSync(message) : frame() })
}

function onGap(reason) {
    const isTable = familyOf(wanted.peek()?.channel ?? "") === "table"
    const why = reason === "history" ? "History no longer reaches back to where this began" : "Messages were lost that history could not bring back"
    note(isTable ? `${why}: read the table again.` : `${why}: something is missing here.`, reason)
}

function note(words, reason = "paused") {
    arrived.push({ number: ++number, kind: "gap", at: nodeNow(), lag: null, words, text: JSON.stringify({ type: "gap", reason, message: words }) })
    schedule()
}

function arrive(event) {
    arrived.push(event)
    if (arrived.length >= MOST_UNDRAWN) flush()
    else schedule()
}

/**
 * Draw in the next frame. A drawing that took long is followed by a pause that is many times longer, so that the page
 * answers on any machine.
 */
function schedule() {
    if (isScheduled) return
    isScheduled = true
    const pause = drawAt - performance.now()
    if (pause > 1) setTimeout(() => requestAnimationFrame(draw), pause)
    else requestAnimationFrame(draw)
}

function draw() {
    isScheduled = false
    drawingAt = performance.now()
    flush()
    afterwards.port2.postMessage(null) // comes when the browser has painted
}

afterwards.port1.onmessage = () => {
    const now = performance.now()
    const took = now - drawingAt
    drawAt = now + Math.min(took * (took < LONG_MS ? 2 : 20), MOST_PAUSE_MS)
}

function flush() {
    if (isPaused.peek()) {
        if (arrived.length) lost += held.add(arrived)
        arrived = []
        waiting.value = held.items.length + lost
        return
    }
    waiting.value = 0
    if (!arrived.length) return
    const matches = matcher()
    const events = arrived
    arrived = []
    for (const event of events) if (matches(event)) view.shown.push(event)
    ring.add(events)
    const first = ring.items[0].number
    let over = 0
    while (over < view.shown.length && view.shown[over].number < first) over++
    if (over) view.shown.splice(0, over)
    view.cut += over
    view.kept = ring.items.length
    drawn.value = drawn.peek() + 1
}

/** Look through all that is kept again. */
function choose() {
    view.shown = ring.items.filter(matcher())
    view.kept = ring.items.length
    drawn.value = drawn.peek() + 1
}

function matcher() {
    const without = hidden.peek()
    const needle = search.peek().trim().toLowerCase()
    if (!needle && !without.size) return () => true
    return (event) => event.kind === "gap" || (!without.has(event.kind) && (!needle || rowOf(event).toLowerCase().includes(needle)))
}

/** What somebody may look for in an event: its row, payload or people. */
function rowOf({ text }) {
    // Inside of a string each double quote has a backslash before it, so that these are the fields themselves.
    const from = text.search(/,"(?:data|payload|presences)":/)
    const to = text.lastIndexOf(',"id":')
    const row = text.slice(from < 0 ? 0 : from + 8, to > from ? to : undefined)
    return row.includes("\\") ? row.replace(/\\(?:u([0-9a-fA-F]{4})|(["\\/]))/g, (_, code, one) => one ?? String.fromCharCode(parseInt(code, 16))) : row
}

/** The client puts a list together that came in parts. */
function textOfSync(people) {
    const text = frame()
    if (text.includes('"event":"sync"') && text.split('"connection_id":').length > people.length) return text
    return json({ type: "presence", channel: wanted.peek().channel, event: "sync", presences: people })
}

/** Save what is shown as JSON lines: frames as they came, digit for digit. */
export function save() {
    const lines = view.shown.map((event) => `${event.text}\n`)
    const link = document.createElement("a")
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }))
    const channel = fields(view.shown[0]?.text ?? "{}").get("channel") ?? "events"
    link.download = `${channel.replace(/[^\w-]+/g, "_").replace(/^_+|_+$/g, "").slice(0, 60)}-${new Date().toISOString().slice(0, 19).replace(/:/g, "-")}.jsonl`
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}

/** The id of the last event: where another subscription may begin. */
export const position = () => lastId ?? state.peek().position

effect(() => {
    search.value
    hidden.value
    choose()
})

setInterval(() => {
    const now = Date.now()
    const { lags, sum, most } = since
    const rate = ((total - since.total) * 1000) / Math.max(1, now - since.at)
    const last = figures.peek()
    since = { at: now, total, lags: 0, sum: 0, most: 0 }
    if (rate || last.rate) figures.value = { rate, total, lag: lags ? sum / lags : last.lag, most: lags ? most : last.most }
}, 1000)

// Another session begins with nothing; another client of the same one goes on where this one was.
let owner = session.peek()?.token
effect(() => {
    const rt = client.value
    const token = session.peek()?.token
    if (token !== owner) {
        owner = token
        stop()
        clear()
        isPaused.value = false
        search.value = ""
        hidden.value = new Set()
    } else if (rt && wanted.peek()) {
        end?.()
        open(position() ?? wanted.peek().since)
    }
})
