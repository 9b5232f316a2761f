// Presence: who is there under a channel or in the project, and who came and went since one looks.
import { effect, html, signal, useEffect, useRef, useSignal, useState } from "../vendor/preact.js"
import { client, ConnectionNotice, me, nodeNow, status } from "../connection.js"
import { clip, clockTime, count, counted, duration, endWithStop, moment } from "../format.js"
import { json, seenLines } from "../json_text.js"
import { Button, Field } from "../parts/controls.js"
import { Ago, Badge, Empty, Facts, Foreign, Page, Panel, Skeleton } from "../parts/layout.js"
import { Icon } from "../parts/icons.js"
import { href, replaceQuery, route } from "../router.js"
import { clock } from "../session.js"
import { newest, Roster, strip } from "./presence_roster.js"

const PAGE_PEOPLE = 100 // in the document at first, and more at each wish
const PAGE_EVENTS = 30
const [WIDTH, HEIGHT] = [300, 44] // of the strip
const TYPING_MS = 500
const SHOW_MS = 200 // between two views of a list that changes

export default function Presence() {
    const [typed, type] = useState(route.peek().query.get("channel") ?? "")
    const [channel, choose] = useState(scopeOf(typed))
    useEffect(() => { replaceQuery("presence", { channel }) }, [channel])
    useEffect(() => {
        // Half a name is no channel: it waits for the rest, or for Enter.
        if (scopeOf(typed) && !/^[^:]+:./.test(typed)) return undefined
        const timer = setTimeout(() => choose(scopeOf(typed)), TYPING_MS)
        return () => clearTimeout(timer)
    }, [typed])
    const followed = useFollowed(channel)
    const view = followed.value.channel === channel ? followed.value : NOBODY // of the channel before
    const { state } = view
    const error = status.value.state !== "closed" && state.error
    return html`
        <${Page} title="Presence" lead="Who is present, on all nodes, and who comes and goes while you look.">
            <${ConnectionNotice} />
            <form class="filters" onSubmit=${(event) => { event.preventDefault(); choose(scopeOf(typed)) }}>
                <${Field} label="Channel" class="wide" placeholder="room:lobby" value=${typed} onInput=${(event) => type(event.currentTarget.value)}
                    onBlur=${() => choose(scopeOf(typed))} hint=${scopeOf(typed) === channel ? "Empty: the whole project" : "Press Enter to look there"} error=${error ? endWithStop(error.message) : undefined} />
            </form>
            <div class="presence">
                <${People} key=${channel} view=${view} channel=${channel} />
                <div class="presence-side">
                    <${Panel} title="Comings and goings" note="since you look">
                        <${Strip} steps=${view.steps} />
                        <${Timeline} key=${channel} events=${view.timeline} />
                    <//>
                    <${Here} channel=${channel} />
                </div>
            </div>
        <//>`
}

/** The channel as `presence` messages spell it: the prefix may be left out. */
const scopeOf = (typed) => typed.trim().replace(/^presence(:|$)/, "")

const UNKNOWN = { subscribed: false, error: null }
const NOBODY = { people: [], connections: 0, timeline: [], steps: [], isSynced: false, state: UNKNOWN }

/** A signal of who is present under a channel; it changes a few times a second at most. */
function useFollowed(channel) {
    const view = useSignal(NOBODY)
    const rt = client.value
    useEffect(() => {
        view.value = NOBODY
        if (!rt) return undefined
        const roster = new Roster()
        let state = UNKNOWN
        let timer = 0
        const show = () => {
            timer = 0
            const { timeline, steps, isSynced, connections } = roster
            view.value = { people: roster.sorted(), connections: connections.size, timeline, steps, isSynced, state, channel }
        }
        const soon = () => { timer ||= setTimeout(show, SHOW_MS) }
        const presence = channel ? rt.channel(channel).presence : rt.presence
        const undo = [
            presence.on("sync", (entries) => { roster.sync(entries, nodeNow()); soon() }),
            presence.on("join", (entries) => { roster.join(entries, nodeNow()); soon() }),
            presence.on("update", (entries) => { roster.join(entries, nodeNow()); soon() }),
            presence.on("leave", (entries) => { roster.leave(entries, nodeNow()); soon() }),
            presence.on("state", (news) => { state = news; soon() }),
        ]
        return () => {
            clearTimeout(timer)
            undo.forEach((off) => off())
        }
    }, [rt, channel])
    return view
}

function People({ view, channel }) {
    const [search, find] = useState("")
    const [most, setMost] = useState(PAGE_PEOPLE)
    const { people, connections, isSynced, state } = view
    const words = search.trim().toLowerCase()
    const found = words ? people.filter((person) => fits(person, words)) : people
    const ofUs = me.value
    return html`
        <${Panel} flush title="Who is there" note=${html`<${Summary} view=${view} />`}
            actions=${html`<a class="button small" href=${href("live", [], { channel: channel ? `presence:${channel}` : "presence" })}><${Icon} name="live" />See this channel</a>`}>
            ${people.length > 10 && html`
                <div class="in-panel"><${Field} label="Search" type="search" placeholder="user id or connection id" value=${search} onInput=${(event) => find(event.currentTarget.value)} /></div>`}
            ${isSynced && !people.length && html`<${Empty} icon="presence" title="Nobody is there">
                <p>People come by <code>presence.set(…)</code> of the client. You can be present yourself, beside this list.</p><//>`}
            ${isSynced && people.length > 0 && !found.length && html`<${Empty} icon="search" title="Nobody has such an id" />`}
            ${!isSynced && !state.error && html`<div class="in-panel"><${Skeleton} lines=${4} /></div>`}
            <ul class="people" aria-label="People">
                ${found.slice(0, most).map((person) => html`<${Person} key=${person.key} person=${person} isYou=${person.connections.has(ofUs)} />`)}
            </ul>
            ${found.length > most && html`
                <div class="pager"><${Button} onClick=${() => setMost(most + PAGE_PEOPLE)}>Show ${count(Math.min(PAGE_PEOPLE, found.length - most))} more of ${count(found.length)}<//></div>`}
        <//>`
}

function Summary({ view: { people, connections, isSynced, state } }) {
    const latest = useRef()
    if (isSynced) latest.current = `${counted(people.length, "person", "people")}, ${counted(connections, "connection")}`
    return html`<span role="status">${latest.current ?? (state.error ? "unknown" : "asking")}${isSynced && !state.subscribed && ", as it was before the connection was lost"}</span>`
}

const fits = ({ user, connections }, words) =>
    (user ?? "").toLowerCase().includes(words) || [...connections.keys()].some((id) => id.toLowerCase().includes(words))

function Person({ person, isYou }) {
    const [isOpen, open] = useState(false)
    const { user, connections, joinedAt } = person
    const [first] = connections.keys()
    return html`
        <li class="person">
            <div class="person-name">
                ${user === null ? html`<span class="none">no user id</span> <${Foreign} text=${first} most=${24} mono />` : html`<strong><${Foreign} text=${user} most=${80} empty="empty user id" /></strong>`}
                ${isYou && html`<${Badge} kind="accent">this page<//>`}
                ${connections.size > 1 && html`<${Badge}>${count(connections.size)} tabs<//>`}
            </div>
            <div class="person-since soft"><${Ago} at=${joinedAt} /></div>
            <div class="person-state"><${Foreign} text=${json(newest(person).state)} most=${160} mono /></div>
            <details onToggle=${(event) => open(event.currentTarget.open)}>
                <summary>${connections.size === 1 ? "Details" : `${count(connections.size)} connections`}</summary>
                ${isOpen && [...connections.values()].slice(0, 50).map((entry) => html`<${Tab} key=${entry.connection_id} entry=${entry} />`)}
                ${isOpen && connections.size > 50 && html`<p class="soft">And ${count(connections.size - 50)} more.</p>`}
            </details>
        </li>`
}

function Tab({ entry }) {
    return html`
        <div class="person-tab">
            <${Facts} of=${[
                ["Connection", html`<${Foreign} text=${entry.connection_id} most=${64} mono />`],
                ["Since", moment(entry.joined_at)],
                ["State since", moment(entry.updated_at)],
            ]} />
            <pre tabindex="0" role="group" aria-label="State">${seenLines(clip(json(entry.state, 2), 8_000))}</pre>
        </div>`
}

function Strip({ steps }) {
    const now = Math.max(clock.value && nodeNow(), steps.at(-1)?.[0])
    if (steps.every(([, people]) => people === 0)) return null
    const { path, most, seconds } = strip(steps, now, WIDTH, HEIGHT)
    return html`
        <figure class="strip">
            <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
                aria-label=${`People in the last minutes: ${count(steps.at(-1)[1])} now, ${count(most)} at most`}><path d=${path} /></svg>
            <figcaption class="soft small"><span>${duration(seconds)} ago</span><span>at most ${count(most)}</span><span>now</span></figcaption>
        </figure>`
}

const SIGNS = { join: "+", update: "~", leave: "−" }

function wordsOf({ kind, count: left }) {
    if (kind === "update") return "changed the state"
    if (kind === "join") return left === 1 ? "joined" : `opened tab ${count(left)}`
    return left ? `closed a tab, ${count(left)} left` : "left"
}

function Timeline({ events }) {
    const [most, setMost] = useState(PAGE_EVENTS)
    if (!events.length) return html`<p class="soft">Nobody came or went yet.</p>`
    return html`
        <ol class="timeline" aria-label="Timeline">
            ${events.slice(-most).reverse().map((event) => html`
                <li key=${event.id}>
                    <time class="soft" datetime=${event.at} title=${moment(event.at)}>${clockTime(event.at)}</time>
                    <span class=${`kind ${event.kind}`} aria-hidden="true">${SIGNS[event.kind]}</span>
                    <span>${event.user === null ? html`<${Foreign} text=${event.connection} most=${24} mono />` : html`<strong><${Foreign} text=${event.user} most=${40} empty="empty user id" /></strong>`}
                        ${" "}${wordsOf(event)}${event.kind === "update" && html` <${Foreign} text=${json(event.state)} most=${60} mono />`}</span>
                </li>`)}
        </ol>
        ${events.length > most && html`<${Button} small onClick=${() => setMost(most + 100)}>Show older<//>`}`
}

const here = signal(new Map()) // by channel: the handle that holds the presence, which ends with the client
effect(() => { client.value; here.value = new Map() })

function problemOf(text) {
    let state
    try {
        state = JSON.parse(text)
    } catch (error) {
        return endWithStop(`This is no JSON: ${error.message}`)
    }
    return state === null || typeof state !== "object" || Array.isArray(state) ? "A state is an object: { … }." : null
}

function Here({ channel }) {
    const [text, type] = useState('{"name": "dashboard"}')
    const [busy, setBusy] = useState(false)
    const [refused, refuse] = useState(null)
    const handle = here.value.get(channel)
    const problem = problemOf(text)
    useEffect(() => refuse(null), [channel])

    const act = async (event, work) => {
        event?.preventDefault()
        if (busy || !client.peek()) return
        setBusy(true)
        refuse(null)
        try {
            await work(client.peek())
        } catch (error) {
            refuse(endWithStop(error.message))
        }
        setBusy(false)
    }
    const enter = (event) => problem ? event.preventDefault() : act(event, async (rt) => {
        const presence = handle ?? (channel ? rt.channel(channel).presence : rt.presence)
        await presence.set(JSON.parse(text))
        here.value = new Map(here.peek()).set(channel, presence)
    })
    const leave = () => act(null, async () => {
        await handle.leave()
        const left = new Map(here.peek())
        left.delete(channel)
        here.value = left
    })
    return html`
        <${Panel} title="Be present yourself">
            <form class="here" onSubmit=${enter}>
                <${Field} label="State" as="textarea" rows="3" value=${text} onInput=${(event) => { type(event.currentTarget.value); refuse(null) }}
                    error=${problem ?? refused} hint="JSON that everybody there sees, until you leave or close this tab" />
                <div class="actions">
                    <${Button} kind="main" type="submit" busy=${busy || problem !== null}>${handle ? "Change the state" : "Be present"}<//>
                    ${handle && html`<${Button} busy=${busy} onClick=${leave}>Leave<//>`}
                </div>
            </form>
        <//>`
}
