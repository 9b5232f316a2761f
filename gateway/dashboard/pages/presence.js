// Presence: who is there under a channel or in the project, and who came and went since one looks.
import { html, useEffect, useRef, useSignal, useState } from "../vendor/preact.js"
import { endWithStop } from "../api.js"
import { client, ConnectionNotice, me, nodeNow, status } from "../connection.js"
import { count } from "../format.js"
import { Button, Field } from "../parts/controls.js"
import { Empty, Page, Panel, Skeleton } from "../parts/layout.js"
import { Icon } from "../parts/icons.js"
import { href, replaceQuery, route } from "../router.js"
import { Here } from "./presence_here.js"
import { Person, Strip, Timeline } from "./presence_people.js"
import { Roster } from "./presence_roster.js"

const PAGE_PEOPLE = 100 // in the document at first, and more at each wish
const TYPING_MS = 500
const SHOW_MS = 200 // between two views of a list that changes

export default function Presence() {
    const [typed, type] = useState(route.peek().query.get("channel") ?? "")
    const [channel, choose] = useState(scopeOf(typed))
    useEffect(() => { replaceQuery({ channel }) }, [channel])
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
        <${Page} title="Presence" lead="Who says to be there, on all nodes, and who comes and goes while you look.">
            <${ConnectionNotice} />
            <form class="filters" onSubmit=${(event) => { event.preventDefault(); choose(scopeOf(typed)) }}>
                <${Field} label="Channel" class="wide" placeholder="room:lobby" value=${typed} onInput=${(event) => type(event.currentTarget.value)}
                    hint=${scopeOf(typed) === channel ? "Empty: the whole project" : "Press Enter to look there"} error=${error ? endWithStop(error.message) : undefined} />
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
                <div class="people-search"><${Field} label="Search" type="search" placeholder="user id or connection id" value=${search} onInput=${(event) => find(event.currentTarget.value)} /></div>`}
            ${isSynced && !people.length && html`<${Empty} icon="presence" title="Nobody is there">
                <p>People come by <code>presence.set(…)</code> of the client. You can be present yourself, beside this list.</p><//>`}
            ${isSynced && people.length > 0 && !found.length && html`<${Empty} icon="search" title="Nobody has such an id" />`}
            ${!isSynced && !state.error && html`<div class="people-wait"><${Skeleton} lines=${4} /></div>`}
            <ul class="people" aria-label="People" hidden=${!found.length}>
                ${found.slice(0, most).map((person) => html`<${Person} key=${person.key} person=${person} isYou=${person.connections.has(ofUs)} />`)}
            </ul>
            ${found.length > most && html`
                <div class="people-more"><${Button} onClick=${() => setMost(most + PAGE_PEOPLE)}>Show ${count(Math.min(PAGE_PEOPLE, found.length - most))} more of ${count(found.length)}<//></div>`}
        <//>`
}

function Summary({ view: { people, connections, isSynced, state } }) {
    const told = useRef()
    if (isSynced) told.current = `${count(people.length)} ${people.length === 1 ? "person" : "people"}, ${count(connections)} ${connections === 1 ? "connection" : "connections"}`
    return html`<span role="status">${told.current ?? (state.error ? "unknown" : "asking")}${isSynced && !state.subscribed && ", as it was before the connection was lost"}</span>`
}

const fits = ({ user, connections }, words) =>
    (user ?? "").toLowerCase().includes(words) || [...connections.keys()].some((id) => id.toLowerCase().includes(words))
