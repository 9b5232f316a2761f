// Broadcast: send JSON to a channel as it was typed, and see what comes back.
import { Component, html, signal, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { familyOf, hasNamespace } from "../channel_names.js"
import { client, ConnectionNotice, frame, me, sendAsTyped, status, subscribe } from "../connection.js"
import { bytes, count, endWithStop } from "../format.js"
import { fields, mistake } from "../json_text.js"
import { usePolling } from "../polling.js"
import { Button, Field } from "../parts/controls.js"
import { Badge, Empty, Foreign, Page, Panel } from "../parts/layout.js"
import { replaceQuery, route } from "../router.js"
import { isService, session } from "../session.js"
import { timeOf, value } from "./live_list.js"

const MOST_RECEIVED = 100
const MOST_SENT = 20
const DRAW_MS = 50
const CHECK_MS = 500 // after the last key
const SUBSCRIBE_MS = 3_000 // how long a message waits for the subscription that receives it

// Of this tab and this session: what was sent, and the fields as they were left.
const sent = signal([]) // {channel, payload}, the newest first
let left = { owner: null, channel: "", payload: '{"text": "hello"}' }

function wrongChannel(channel) {
    if (!channel) return "Enter a channel, such as room:lobby."
    const family = familyOf(channel)
    if (family === "table") return "Nobody can broadcast on a channel of a table: its messages are changes alone."
    if (family === "presence") return "Nobody can broadcast on a presence channel: its messages tell who is there."
    return hasNamespace(channel) ? null : `A channel is written with a namespace, such as room:${channel}.`
}

const sizeOf = (text) => new TextEncoder().encode(text).length

/** Where a refusal belongs. */
function fieldOf({ code }) {
    if (/^(message_too_big|invalid_json|invalid_message)$/.test(code)) return "payload"
    return /^(forbidden|invalid_channel)$/.test(code) ? "channel" : "form"
}

/** What comes on a channel, and how long one's own messages took. Signals; `channel` null listens to nothing. */
function useReceived(channel, rt) {
    const [received] = useState(() => signal([]))
    const [state] = useState(() => signal(null))
    const inFlight = useRef([]).current // own messages on their way, in order
    useLayoutEffect(() => {
        received.value = []
        state.value = null
        inFlight.length = 0
        if (!channel || !rt) return undefined
        let arrived = []
        let isScheduled = false
        let number = 0
        const draw = () => {
            isScheduled = false
            received.value = [...arrived.reverse(), ...received.value].slice(0, MOST_RECEIVED)
            arrived = []
        }
        const off = subscribe(channel, {
            onEvent(_, { sender, id }) {
                const isMine = sender?.connection_id !== null && sender?.connection_id === me.peek()
                const own = isMine ? inFlight.shift() : undefined
                const trip = own && performance.now() - own.at
                own?.back(trip)
                arrived.push({ number: ++number, id, at: Date.now(), text: frame(), user: sender?.user_id, isMine, trip })
                if (arrived.length > 2 * MOST_RECEIVED) arrived = arrived.slice(-MOST_RECEIVED)
                if (isScheduled) return
                isScheduled = true
                setTimeout(draw, DRAW_MS)
            },
            onState: (news) => { state.value = news },
            onGap() {},
        })
        return () => off()
    }, [channel, rt])
    return { received, state, inFlight }
}

/** Resolve once a signal has a value that suits, or after a while. */
function until(it, suits, ms) {
    return new Promise((resolve) => {
        let off = () => {}
        const timer = setTimeout(finish, ms)
        function finish() {
            clearTimeout(timer)
            queueMicrotask(() => off())
            resolve()
        }
        off = it.subscribe((now) => { if (suits(now)) finish() })
    })
}

export default function Broadcast() {
    const owner = session.value?.token
    if (left.owner !== owner) {
        left = { owner, channel: "", payload: '{"text": "hello"}' }
        sent.value = []
    }
    const [typed, type] = useState(() => ({ channel: route.value.query.get("channel") ?? left.channel, payload: left.payload }))
    const [on, listenTo] = useState(() => (wrongChannel(typed.channel.trim()) ? null : typed.channel.trim()))
    const [wrong, setWrong] = useState({})
    const [outcome, setOutcome] = useState(null)
    const [busy, setBusy] = useState(false)
    const rt = client.value
    const { received, state, inFlight } = useReceived(on, rt)
    left.channel = typed.channel
    left.payload = typed.payload

    const send = async (event) => {
        event?.preventDefault()
        if (busy) return
        const channel = typed.channel.trim()
        const found = Object.fromEntries(Object.entries({ channel: wrongChannel(channel), payload: mistake(typed.payload) }).filter(([, words]) => words))
        setWrong(found)
        setOutcome(null)
        if (Object.keys(found).length) return
        setBusy(true)
        replaceQuery("broadcast", { channel })
        listenTo(channel)
        await new Promise((go) => setTimeout(go)) // drawn, and so subscribed
        await until(state, (now) => now?.subscribed || now?.error, SUBSCRIBE_MS)
        const isSubscribed = state.peek()?.subscribed
        const own = { at: performance.now(), back: (trip) => setOutcome((now) => ({ ...now, trip })) }
        if (isSubscribed) inFlight.push(own)
        try {
            await sendAsTyped(channel, typed.payload)
            const refusal = state.peek()?.error
            setOutcome((now) => ({ trip: null, ...now, isSubscribed, refusal: refusal && endWithStop(refusal.message), accepted: performance.now() - own.at }))
            const others = sent.peek().filter((one) => one.channel !== channel || one.payload !== typed.payload)
            sent.value = [{ channel, payload: typed.payload }, ...others].slice(0, MOST_SENT)
            if (isService.peek()) countSubscribers(channel).then((subscribers) => setOutcome((now) => ({ ...now, subscribers })))
        } catch (error) {
            const at = inFlight.indexOf(own)
            if (at >= 0) inFlight.splice(at, 1)
            // Of a frame that is too big a browser may see no more than that the connection is lost.
            const size = sizeOf(typed.payload)
            const most = `The payload has ${bytes(size)}, and a message has max_message_bytes at most, which are 64 KiB by default.`
            if (error.code === "unknown" && size > 2 ** 15) setWrong({ payload: `The connection was lost before the node answered. ${most}` })
            else if (status.peek().state !== "closed") setWrong({ [fieldOf(error)]: endWithStop(error.message) })
        } finally {
            setBusy(false)
        }
    }
    const set = (name) => (event) => {
        type({ ...typed, [name]: event.target.value })
        if (wrong[name] || wrong.form) setWrong({})
    }
    const settle = () => {
        const channel = typed.channel.trim()
        if (!wrongChannel(channel)) listenTo(channel)
    }
    return html`
        <${Page} title="Broadcast" lead="Send a message to every subscriber of a channel, and see it come back.">
            <${ConnectionNotice} />
            <${Panel}>
                <form class="send-form" onSubmit=${send} onKeyDown=${(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send(event) }}>
                    <${Field} label="Channel" value=${typed.channel} onInput=${set("channel")} onBlur=${settle} error=${wrong.channel}
                        list="send-channels" placeholder="room:lobby" maxlength="255" />
                    <${Field} label="Payload" as="textarea" rows="6" value=${typed.payload} onInput=${set("payload")} error=${wrong.payload}
                        hint="Any JSON. It goes out as it stands here, digit for digit." />
                    ${!wrong.payload && html`<${Check} text=${typed.payload} />`}
                    ${wrong.form && html`<p class="field-error" role="alert">${wrong.form}</p>`}
                    <div class="actions">
                        <${Button} kind="main" icon="broadcast" type="submit" busy=${busy}>Send<//>
                        <span class="soft small">or Ctrl + Enter</span>
                    </div>
                    <${Suggestions} />
                </form>
                <${Outcome} of=${outcome} />
            <//>
            <div class="send-lists">
                <${Received} channel=${on} received=${received} state=${state} />
                <${Sent} onUse=${(one) => { type(one); listenTo(one.channel); setWrong({}) }} />
            </div>
        <//>`
}

/** Whether what is typed is JSON, checked after a pause and not at each key. */
function Check({ text }) {
    const [checked, setChecked] = useState({ text: null })
    useEffect(() => {
        const timer = setTimeout(() => setChecked({ text, wrong: text.trim() ? mistake(text) : null }), CHECK_MS)
        return () => clearTimeout(timer)
    }, [text])
    return html`
        <p class="check" aria-live="polite">${checked.text === text && checked.wrong ? html`<span class="field-error">${checked.wrong}</span>`
            : checked.text === text && text.trim() ? html`<span class="soft">Valid JSON, ${bytes(sizeOf(text))}</span>` : html`<span class="soft">${"\u00a0"}</span>`}</p>`
}

async function countSubscribers(channel) {
    try {
        const { channels } = await get("/channels", { prefix: channel, limit: 100 })
        return channels.find((one) => one.channel === channel)?.subscribers ?? 0
    } catch {
        return null // the number is shown where it is known
    }
}

function Outcome({ of }) {
    if (of?.accepted === undefined && of?.trip == null) return html`<div role="status"></div>`
    const { subscribers } = of
    const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`
    return html`
        <div class="outcome" role="status">
            ${of.accepted !== undefined && html`<${Badge} kind="good">Accepted after ${ms(of.accepted)}<//>`}
            ${of.trip != null ? html`<${Badge} kind="accent">Round trip ${ms(of.trip)}<//>`
                : of.isSubscribed ? html`<span class="soft">It has not come back yet.</span>`
                : html`<span class="soft">No round trip: this page is not subscribed to the channel. ${of.refusal}</span>`}
            ${typeof subscribers === "number" && html`
                <span class="soft">${subscribers === 1 ? "1 connection is" : `${count(subscribers)} connections are`} subscribed to it now${of.isSubscribed ? ", this one among them" : ""}.</span>`}
        </div>`
}

function Suggestions() {
    const may = isService.value
    const channels = usePolling(async (options) => (may ? get("/channels", { limit: 200 }, options) : null), Infinity, [may]).value.data?.channels ?? []
    return html`
        <datalist id="send-channels">
            ${channels.filter((one) => !wrongChannel(one.channel)).map((one) => html`<option key=${one.channel} value=${one.channel} />`)}
        </datalist>`
}

function Received({ channel, received, state }) {
    const now = state.value
    const all = received.value
    const note = !channel ? null : now?.error ? endWithStop(now.error.message) : now?.subscribed ? "listening" : "connecting"
    return html`
        <${Panel} title="What comes back" note=${note} flush>
            ${all.length === 0
                ? html`
                    <${Empty} icon="broadcast" title="Nothing has come back yet">
                        <p>${channel ? html`What anybody sends to <${Foreign} text=${channel} most=${60} /> stands here.` : "Send a message: this page then listens to its channel."}</p>
                    <//>`
                : html`<ul class="heard" role="list" tabindex="0" aria-label="Messages">${all.map((one) => html`<${Message} key=${one.number} of=${one} />`)}</ul>`}
        <//>`
}

class Message extends Component {
    shouldComponentUpdate(next) {
        return next.of !== this.props.of
    }

    render({ of }) {
        const payload = fields(of.text).get("payload") ?? "null"
        return html`
            <li role="listitem">
                <header><time>${timeOf(of.at)}</time> <${Foreign} text=${of.user} most=${40} empty="no name" />
                    ${of.isMine && html`<${Badge} kind="accent">this page${of.trip != null ? `, ${Math.round(of.trip)} ms` : ""}<//>`}</header>
                <pre><bdi>${value(payload, 1_000)}</bdi></pre>
            </li>`
    }
}

function Sent({ onUse }) {
    const all = sent.value
    return html`
        <${Panel} title="Written in this tab" flush>
            ${all.length === 0
                ? html`<${Empty} title="Nothing was written yet">The last ${MOST_SENT} messages stay here until you sign out.<//>`
                : html`<ul class="heard" role="list" tabindex="0" aria-label="Written in this tab">${all.map((one) => html`
                    <li role="listitem" key=${`${one.channel}\n${one.payload}`}>
                        <header><${Foreign} text=${one.channel} most=${60} /> <${Button} small onClick=${() => onUse(one)}>Use again<//></header>
                        <pre><bdi>${value(one.payload, 300)}</bdi></pre>
                    </li>`)}</ul>`}
        <//>`
}
