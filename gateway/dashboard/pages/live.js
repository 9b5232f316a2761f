// Live: what comes on any channel, as it comes.
import { html, useEffect, useRef, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { channelOf, familyOf, hasNamespace, keyOf, tableOf } from "../channel_names.js"
import { ConnectionNotice, status } from "../connection.js"
import { count, endWithStop, rate } from "../format.js"
import { usePolling } from "../polling.js"
import { Button, Field } from "../parts/controls.js"
import { Badge, Empty, Foreign, Notice, Page, Panel } from "../parts/layout.js"
import { href, replaceQuery, route } from "../router.js"
import { isService } from "../session.js"
import * as feed from "./live_feed.js"
import { Code, Shortcuts, useShortcuts } from "./live_help.js"
import { Details, lagOf } from "./live_details.js"
import { EventList, isFollowing, selected } from "./live_list.js"

const KINDS = { table: ["INSERT", "UPDATE", "DELETE"], presence: ["sync", "join", "update", "leave"] }

/** What is wrong with what was typed, before it is sent: {channel}, {filter} or {since}; empty if nothing is. */
function problems({ channel, filter, since }) {
    if (!channel) return { channel: "Enter a channel, such as table:orders or room:lobby." }
    const family = familyOf(channel)
    if (family !== "presence" && !hasNamespace(channel)) {
        return { channel: `A channel is written with a namespace: table:${channel} for a table, or room:${channel}.` }
    }
    if (filter && family !== "table") return { filter: "Only a channel of a table takes a filter." }
    if (since && family === "presence") return { since: "Presence has no history: leave this empty." }
    return {}
}

/** Where a refusal of the server belongs. */
function fieldOf({ code }, { since }) {
    if (code === "invalid_filter") return "filter"
    return code === "invalid_message" && since ? "since" : "channel"
}

export default function Live() {
    const { query } = route.value
    const given = feed.wanted.peek()
    const [typed, type] = useState(() => ({
        channel: query.get("channel") ?? given?.channel ?? "",
        filter: query.get("filter") ?? (query.has("channel") ? "" : given?.filter ?? ""),
        since: query.get("since") ?? "",
    }))
    const [wrong, setWrong] = useState({})
    const form = useRef()
    const subscribe = (event) => {
        event?.preventDefault()
        const next = Object.fromEntries(Object.entries(typed).map(([name, text]) => [name, text.trim()]))
        const found = problems(next)
        setWrong(found)
        if (Object.keys(found).length) return
        selected.value = null
        isFollowing.value = true
        replaceQuery("live", { channel: next.channel, filter: next.filter })
        feed.subscribe(next)
    }
    useEffect(() => {
        // A link to a channel subscribes, unless that is what goes on already.
        const channel = query.get("channel")
        if (channel && (given?.channel !== channel || (query.get("filter") ?? "") !== given.filter || query.get("since"))) subscribe()
    }, [])
    const set = (name) => (event) => {
        type({ ...typed, [name]: event.target.value })
        if (wrong[name]) setWrong({})
    }
    const start = (id) => {
        type({ ...typed, since: id })
        form.current.querySelector("[name=since]").focus()
    }
    const wanted = feed.wanted.value
    const isClosed = status.value.state === "closed" // which stands above the form
    const refused = isClosed ? null : feed.refusal.value
    const errors = refused && wanted && !Object.keys(wrong).length ? { [fieldOf(refused, wanted)]: endWithStop(refused.message) } : wrong
    return html`
        <${Page} title="Live" lead="Every change, broadcast and arrival on a channel, as it comes.">
            <${ConnectionNotice} />
            <${Panel}>
                <form class="live-form" ref=${form} onSubmit=${subscribe}>
                    <${Field} label="Channel" name="channel" value=${typed.channel} onInput=${set("channel")} error=${errors.channel}
                        list="live-channels" placeholder="table:orders" maxlength="255" />
                    <${Field} label="Filter" name="filter" value=${typed.filter} onInput=${set("filter")} error=${errors.filter}
                        list="live-conditions" placeholder="status=eq.paid" />
                    <${Field} label="Since" name="since" value=${typed.since} onInput=${set("since")} error=${errors.since} placeholder="an id or a position" />
                    <div class="actions">
                        <${Button} kind="main" icon="live" type="submit">Subscribe<//>
                        ${wanted && html`<${Button} onClick=${feed.stop}>Stop<//>`}
                    </div>
                    <${Suggestions} channel=${typed.channel} filter=${typed.filter} />
                </form>
                <${State} />
                <${Code} wanted=${wanted} />
            <//>
            ${wanted && feed.state.value.enabled === false && feed.isQuiet.value && html`
                <${Notice} kind="warning" title="Realtime is not enabled on this table."
                    actions=${html`<a class="button small" href=${href("tables")}>Turn realtime on</a>`}>
                    The subscription stands: changes come from the moment that it is enabled.
                <//>`}
            <${Events} onStart=${start} />
        <//>`
}

function Suggestions({ channel, filter }) {
    const may = isService.value
    const read = (path, query) => usePolling(async (options) => (may ? get(path, query, options) : null), Infinity, [may]).value.data
    const tables = read("/tables")?.tables ?? []
    const channels = read("/channels", { limit: 200 })?.channels ?? []
    const nameOf = ({ schema, table_name: table }) => channelOf(schema, table)
    const names = new Set([
        ...tables.filter((one) => one.enabled).map(nameOf), ...channels.map((one) => one.channel), "presence",
        ...tables.filter((one) => !one.enabled).map(nameOf),
    ])
    const key = tableOf(channel)
    const before = filter.slice(0, filter.lastIndexOf("&") + 1) // conditions that stand already
    const columns = tables.find((one) => keyOf(one.schema, one.table_name) === key)?.columns ?? []
    return html`
        <datalist id="live-channels">${[...names].slice(0, 500).map((name) => html`<option key=${name} value=${name} />`)}</datalist>
        <datalist id="live-conditions">
            ${columns.slice(0, 200).map(({ name, type }) => html`<option key=${name} value=${`${before}${name}=eq.`}>${type}</option>`)}
        </datalist>`
}

function State() {
    const wanted = feed.wanted.value
    const { subscribed, error } = feed.state.value
    const refused = feed.refusal.value
    const { rate: perSecond, lag, most, total } = feed.figures.value
    const { state } = status.value
    const [kind, words] = !wanted ? ["plain", "Not subscribed"]
        : state === "closed" ? ["error", "Closed"]
        : refused ? ["error", "Refused"]
        : subscribed ? ["good", "Subscribed"]
        : error ? ["warning", `Trying again: ${endWithStop(error.message)}`]
        : ["plain", state === "open" ? "Asking" : "Connecting"]
    return html`
        <dl class="facts live-state">
            <div><dt>State</dt><dd><span role="status"><${Badge} kind=${kind}>${words}<//></span></dd></div>
            <div><dt>Rate</dt><dd>${rate(perSecond)} a second</dd></div>
            <div>
                <dt>${wanted && familyOf(wanted.channel) === "table" ? "Lag from commit" : "Lag"}</dt>
                <dd title=${most === null ? "" : `At most ${lagOf(most)} in the last second`}>${lagOf(lag)}</dd>
            </div>
            <div><dt>Received</dt><dd>${count(total)}</dd></div>
            <div class="wide"><dt>Position</dt><dd><${Foreign} text=${wanted && (total, feed.position())} most=${44} mono empty="–" /></dd></div>
        </dl>`
}

function Events({ onStart }) {
    feed.drawn.value
    const find = useRef()
    useShortcuts({ find: () => find.current.querySelector("input").focus() })
    const wanted = feed.wanted.value
    const { shown, kept } = feed.view
    const paused = feed.isPaused.value
    const waiting = feed.waiting.value
    const hidden = feed.hidden.value
    const needle = feed.search.value
    const kinds = KINDS[familyOf(wanted?.channel ?? "table:")] ?? []
    const toggle = (kind) => {
        const next = new Set(hidden)
        if (!next.delete(kind)) next.add(kind)
        feed.hidden.value = next
    }
    return html`
        <${Panel} flush class="live-panel">
            <div class="live-bar">
                <${Button} icon=${paused ? "play" : "pause"} aria-pressed=${paused} onClick=${() => feed.pause(!paused)}>Pause<//>
                <${Button} icon="close" onClick=${() => { selected.value = null; feed.clear() }}>Clear<//>
                <${Button} icon="download" busy=${shown.length === 0} onClick=${feed.save}>Export<//>
                ${kinds.length > 0 && html`
                    <div class="kinds" role="group" aria-label="Kinds">
                        ${kinds.map((kind) => html`
                            <button key=${kind} type="button" class=${`kind ${kind}`} aria-pressed=${!hidden.has(kind)} onClick=${() => toggle(kind)}>${kind}</button>`)}
                    </div>`}
                <div class="find" ref=${find}>
                    <input type="search" aria-label="Search in rows" placeholder="Search in rows" value=${needle} spellcheck=${false}
                        onInput=${(event) => { feed.search.value = event.target.value }} />
                </div>
            </div>
            <div class=${selected.value ? "live-body with-details" : "live-body"}>
                <div class="live-list">
                    <${EventList} />
                    ${shown.length === 0 && html`<div class="live-empty"><${Nothing} kept=${kept} /></div>`}
                    ${!isFollowing.value && shown.length > 0 && html`
                        <${Button} class="button small newest" onClick=${() => { isFollowing.value = true }}>Go to the newest<//>`}
                </div>
                <${Details} onStart=${onStart} />
            </div>
            <footer class="live-foot">
                <span>${needle || hidden.size ? `${count(shown.length)} of ${count(kept)} shown` : `${count(kept)} kept`}, the last ${count(feed.MOST)} at most</span>
                ${paused && html`<${Badge} kind="warning">${waiting === 0 ? "Paused" : `Paused: ${count(waiting)} more came`}<//>`}
                <${Shortcuts} />
            </footer>
        <//>`
}

function Nothing({ kept }) {
    if (kept) return html`<${Empty} icon="search" title="Nothing matches">Change the search, or show more kinds.<//>`
    if (!feed.wanted.value) {
        return html`
            <${Empty} icon="live" title="Nothing is subscribed yet">
                <p>Enter a channel: <code>table:orders</code> for the changes of a table, <code>room:lobby</code> for broadcasts,${" "}
                <code>presence</code> for people.</p>
            <//>`
    }
    return html`<${Empty} icon="live" title="Nothing has come yet">What comes on the channel stands here at once.<//>`
}
