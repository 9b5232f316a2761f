// Connections: who is connected now, who came and went, and one connection's page.
import { html, useEffect, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { closeInWords, isTrouble } from "../closes.js"
import { agent, bytes, clip, count, duration, short } from "../format.js"
import { seen } from "../json_text.js"
import { Disconnect, disconnect } from "../parts/disconnect.js"
import { Button, Field } from "../parts/controls.js"
import { Ago, Badge, Empty, ErrorNotice, Foreign, NeedsService, Notice, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { href, replaceQuery, route } from "../router.js"
import { isService } from "../session.js"
import { OneConnection } from "./connection.js"

const PAGE = 20
const LIVE_MS = 3000
const HISTORY_MS = 5000
const TYPING_MS = 350

export default function Connections() {
    const { parts: [id], query } = route.value
    if (!isService.value) {
        return html`
            <${Page} title="Connections">
                <${Panel}><${NeedsService}>Who is connected, from where and since when, is for administrators alone.<//><//>
            <//>`
    }
    return id ? html`<${OneConnection} key=${id} id=${id} user=${query.get("user")} node=${query.get("node")} />` : html`<${All} />`
}

function All() {
    const { query } = route.value
    const user = query.get("user") ?? ""
    const node = query.get("node") ?? ""
    const [asked, ask] = useState(null)
    const [done, setDone] = useState(null)
    const [changed, setChanged] = useState(0)
    const disconnected = (result) => {
        setDone(result)
        setChanged((times) => times + 1)
    }
    return html`
        <${Page} title="Connections" lead="Who is connected to any node, and who came and went.">
            <${Filters} user=${user} node=${node} />
            <div role="status" class="announce">${done && html`<${Notice} kind="good">${done}<//>`}</div>
            <${LiveOnes} key=${`live ${user} ${node}`} user=${user} node=${node} ask=${ask} onDone=${disconnected} changed=${changed} />
            <${History} key=${`history ${user}`} user=${user} changed=${changed} />
            ${asked && html`<${Disconnect} of=${asked} onDone=${disconnected} onClose=${() => ask(null)} />`}
        <//>`
}

/** Two fields, which wait until one has stopped typing. */
function Filters({ user, node }) {
    const [typed, setTyped] = useState({ user, node })
    useEffect(() => {
        if (typed.user === user && typed.node === node) return undefined
        const timer = setTimeout(() => replaceQuery("connections", typed), TYPING_MS)
        return () => clearTimeout(timer)
    }, [typed])
    const field = (name, label, hint) => html`
        <${Field} label=${label} value=${typed[name]} placeholder=${hint} type="search"
            onInput=${(event) => setTyped({ ...typed, [name]: event.target.value })} />`
    return html`
        <form class="filters" role="search" aria-label="Show only" onSubmit=${(event) => event.preventDefault()}>
            ${field("user", "User", "everybody")}
            ${field("node", "Node", "all nodes")}
        </form>`
}

function LiveOnes({ user, node, ask, onDone, changed }) {
    const [cursors, setCursors] = useState([]) // of the pages before this one, and of this one
    const after = cursors.at(-1)
    const state = usePolling(
        ({ signal }) => get("/clients", { limit: PAGE, after, user_id: user, node }, { signal }), LIVE_MS, [after], { keep: true },
    )
    const { data, error, isOld } = state.value
    useEffect(() => { if (changed) state.peek().again() }, [changed])
    const clients = data?.clients ?? []
    const ofUser = user && clients.length > 0
    return html`
        <${Panel} flush title="Connected now" note=${data && noteOf(clients, cursors.length, data.next)}
            actions=${ofUser && html`<${Button} small kind="danger" onClick=${() => ask({ user })}>Close all of ${seen(clip(user, 30))}<//>`}>
            ${error && html`<div class="in-panel"><${ErrorNotice} title="The list cannot be read." error=${error} /></div>`}
            ${data?.missing?.length > 0 && html`
                <div class="in-panel"><${Notice} kind="warning">These nodes did not answer, so their clients are missing here: ${data.missing.join(", ")}.<//></div>`}
            ${!data && !error && html`<div class="in-panel"><${Skeleton} lines=${5} /></div>`}
            ${data && clients.length === 0 && html`<${Nobody} isFiltered=${user || node} />`}
            ${clients.length > 0 && html`<${ClientsTable} clients=${clients} isOld=${isOld} onDone=${onDone} />`}
            <${Pager} cursors=${cursors} next=${data?.next} onChange=${setCursors} />
        <//>`
}

const noteOf = (clients, page, next) => (page === 0 && !next
    ? `${count(clients.length)} in all`
    : `page ${page + 1}, ${count(clients.length)} of them`)

function Nobody({ isFiltered }) {
    return isFiltered
        ? html`<${Empty} icon="search" title="Nobody like that is connected"><p>A user is compared whole. Below is who was there before.</p><//>`
        : html`
            <${Empty} icon="connections" title="Nobody is connected">
                <p>Try it: <code>realtime listen table:orders</code> connects, and shows what it hears.</p>
            <//>`
}

function ClientsTable({ clients, isOld, onDone }) {
    return html`
        <div class="scroll" tabindex="0" role="group" aria-label="Rows of clients">
            <table aria-label="Connections" aria-busy=${isOld}>
                <thead><tr>
                    <th scope="col">User</th><th scope="col">From</th><th scope="col">Node</th><th scope="col">Connected</th>
                    <th scope="col" class="number">Channels</th><th scope="col" class="number">Waiting</th>
                    <th scope="col" class="number">In</th><th scope="col" class="number">Out</th>
                    <th scope="col" class="stay"><span class="visually-hidden">What to do</span></th>
                </tr></thead>
                <tbody>${clients.map((client) => html`<${ClientRow} key=${client.connection_id} client=${client} onDone=${onDone} />`)}</tbody>
            </table>
        </div>`
}

function ClientRow({ client, onDone }) {
    const { connection_id: id, user_id: user, subscriptions, subscription_count: number = subscriptions.length } = client
    const [busy, setBusy] = useState(false)
    const [error, setError] = useState(null)
    const close = async () => {
        setBusy(true)
        setError(null)
        try {
            onDone(await disconnect({ connection_id: id }))
        } catch (failure) {
            setError(failure)
        }
        setBusy(false)
    }
    return html`
        <tr>
            <td class="wide"><${Foreign} text=${user} most=${40} empty="no name" /><br /><${IdLink} id=${id} user=${user} node=${client.node} /></td>
            <td class="keep"><${Foreign} text=${client.ip} /><br /><span class="soft small"><${Foreign} text=${agent(client.user_agent)} /></span></td>
            <td class="keep"><${Foreign} mono text=${client.node} most=${24} /></td>
            <td class="keep"><${Ago} at=${client.connected_at} /></td>
            <td class="number" title=${clip(subscriptions.join("\n"), 1000)}>${count(number)}</td>
            <td class="number">${bytes(client.queue_bytes)}</td>
            <td class="number">${short(client.messages_in)}</td>
            <td class="number">${short(client.messages_out)}</td>
            <td class="end stay">
                <${Button} small kind="danger" busy=${busy} onClick=${close}>Disconnect<//>
                ${error && html`<p class="field-error" role="alert">${error.message}</p>`}
            </td>
        </tr>`
}

function IdLink({ id, user, node }) {
    // A user may be as long as a token: a long one is not worth a long address.
    const known = user !== null && user.length <= 200 ? user : null
    return html`<a class="mono small" href=${href("connections", [id], { user: known, node })}>${clip(id, 40)}</a>`
}

function Pager({ cursors, next, onChange }) {
    if (cursors.length === 0 && !next) return null
    return html`
        <div class="pager">
            <${Button} small icon="back" busy=${cursors.length === 0} onClick=${() => onChange(cursors.slice(0, -1))}>Page before<//>
            <${Button} small busy=${!next} onClick=${() => onChange([...cursors, next])}>Page after<//>
        </div>`
}

const KINDS = [["", "Came and went"], ["connect", "Came"], ["disconnect", "Went"]]

function History({ user, changed }) {
    const [kind, setKind] = useState("")
    const [cursors, setCursors] = useState([])
    const before = cursors.at(-1)
    const state = usePolling(
        ({ signal }) => get("/connections", { limit: PAGE, before, user_id: user, event: kind }, { signal }),
        HISTORY_MS, [before, kind], { keep: true },
    )
    const { data, error, isOld } = state.value
    useEffect(() => { if (changed) state.peek().again() }, [changed])
    const choose = (event) => {
        setKind(event.target.value)
        setCursors([])
    }
    return html`
        <${Panel} flush title="History" note="newest first"
            actions=${html`
                <select aria-label="Kind of event" value=${kind} onChange=${choose}>
                    ${KINDS.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
                </select>`}>
            ${error && html`<div class="in-panel"><${ErrorNotice} title="The history cannot be read." error=${error} /></div>`}
            ${!data && !error && html`<div class="in-panel"><${Skeleton} lines=${5} /></div>`}
            ${data?.connections.length === 0 && html`<${Empty} title="Nothing is recorded">
                <p>${user ? "A user is compared whole." : "Each connection and its end will stand here."}</p><//>`}
            ${data?.connections.length > 0 && html`<${HistoryTable} events=${data.connections} isOld=${isOld} />`}
            <${Pager} cursors=${cursors} next=${data?.next} onChange=${setCursors} />
        <//>`
}

function HistoryTable({ events, isOld }) {
    return html`
        <div class="scroll" tabindex="0" role="group" aria-label="Rows of the history">
            <table aria-label="History" aria-busy=${isOld}>
                <thead><tr>
                    <th scope="col">When</th><th scope="col">User</th><th scope="col">What</th><th scope="col">From</th><th scope="col">Node</th>
                </tr></thead>
                <tbody>${events.map((one) => html`
                    <tr key=${one.id}>
                        <td class="keep"><${Ago} at=${one.timestamp} /></td>
                        <td class="wide"><${Foreign} text=${one.user_id} most=${40} empty="no name" /><br /><${IdLink} id=${one.connection_id} user=${one.user_id} node=${one.node} /></td>
                        <td><${What} of=${one} /></td>
                        <td class="keep"><${Foreign} text=${one.ip} /><br /><span class="soft small"><${Foreign} text=${agent(one.user_agent)} /></span></td>
                        <td class="keep"><${Foreign} mono text=${one.node} most=${24} /></td>
                    </tr>`)}
                </tbody>
            </table>
        </div>`
}

function What({ of: { event, code, reason, duration_seconds: seconds } }) {
    if (event === "connect") return html`<${Badge} kind="good">connect<//>`
    const { what, advice } = closeInWords(code, reason)
    return html`
        <${Badge} kind=${isTrouble(code) ? "warning" : "plain"}>disconnect ${code}<//>
        ${" "}after ${duration(seconds)}<br /><span class="soft small" title=${advice}>${what}</span>`
}
