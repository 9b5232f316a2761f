// Tables: which of them send their changes, which changes and columns, and who subscribes. A switch acts at once.
import { html, useEffect, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { count } from "../format.js"
import { Button, Field } from "../parts/controls.js"
import { Empty, ErrorNotice, NeedsService, Notice, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { replaceQuery, route } from "../router.js"
import { isService } from "../session.js"
import { subscribersOf } from "./tables_channels.js"
import { EditDialog, SqlDialog } from "./tables_dialogs.js"
import { Refusal, Row } from "./tables_row.js"
import { catalogue, current, flip, refusal } from "./tables_switch.js"

const PAGE_ROWS = 100 // in the document at first, and more at each wish
const SUBSCRIBERS_MS = 10_000
const PART = 1000 // channels of one answer
const MOST_PARTS = 10

export default function Tables() {
    return html`
        <${Page} title="Tables" lead="A table that is on sends its changes to everybody who subscribes to its channel and may see them.">
            ${isService.value ? html`<${Catalogue} />` : html`<${Panel}><${NeedsService}>The tables of a project are its operators' concern.<//><//>`}
        <//>`
}

async function readTables({ signal }) {
    const askedAt = performance.now()
    const [{ tables }, { tables: enabled = [] }] = await Promise.all([
        get("/tables", {}, { signal, timeout: 30_000 }),
        get("/status", {}, { signal, timeout: 30_000 }),
    ])
    return { askedAt, entries: catalogue(tables, enabled) }
}

async function readSubscribers({ signal }) {
    const channels = []
    let after
    for (let part = 0; part < MOST_PARTS; part++) {
        const answer = await get("/channels", { prefix: "table:", limit: PART, after }, { signal })
        channels.push(...answer.channels)
        after = answer.next
        if (!after) break
    }
    return { sums: subscribersOf(channels), isWhole: !after }
}

function Catalogue() {
    const tables = usePolling(readTables, Infinity)
    const subscribers = usePolling(readSubscribers, SUBSCRIBERS_MS)
    const { data, error, again } = tables.value
    if (!data) return error ? html`<${ErrorNotice} error=${error} title="The tables cannot be read." />` : html`<${Panel}><${Skeleton} lines=${6} /><//>`
    return html`
        ${error && html`
            <${Notice} kind="warning" title="The tables cannot be read again." actions=${html`<${Button} small onClick=${again}>Try again<//>`}>
                What follows was read before. ${error.message}
            <//>`}
        <${List} data=${data} again=${again} subscribers=${subscribers.value} />`
}

function List({ data, again, subscribers }) {
    const [search, setSearch] = useState(route.peek().query.get("search") ?? "")
    const [shown, setShown] = useState("all")
    const [rows, setRows] = useState(PAGE_ROWS)
    const [dialog, open] = useState(null) // {kind, key}
    useEffect(() => { replaceQuery(search ? { search } : {}) }, [search])

    const entries = data.entries.map((entry) => current(entry, data.askedAt))
    const words = search.toLowerCase().split(/\s+/).filter(Boolean)
    const found = entries.filter(({ name, enabled, key }) =>
        (shown === "all" || enabled === (shown === "on") || refusal.value?.key === key)
        && words.every((word) => name.toLowerCase().includes(word)))
    const on = entries.filter((one) => one.enabled).length
    const opened = dialog && entries.find((one) => one.key === dialog.key)
    const refused = refusal.value
    const isElsewhere = refused && !found.slice(0, rows).some((one) => one.key === refused.key)

    const narrow = (set) => (event) => { set(event.currentTarget.value); setRows(PAGE_ROWS) }
    const turn = async (entry, isOn) => {
        const isDone = await flip(entry, isOn)
        // The row of a table that is gone stays until its refusal was read.
        if (isDone || refusal.peek()?.code !== "not_found") again()
        return isDone
    }
    return html`
        <div class="filters">
            <${Field} label="Search" type="search" class="wide" placeholder="schema or name" value=${search} onInput=${narrow(setSearch)} />
            <${Field} label="Show" as="select" value=${shown} onChange=${narrow(setShown)}>
                <option value="all">All tables</option>
                <option value="on">Those that are on</option>
                <option value="off">Those that are off</option>
            <//>
            <${Button} icon="refresh" onClick=${again}>Read again<//>
            <p class="found soft" role="status">
                ${found.length === entries.length ? `${count(entries.length)} tables` : `${count(found.length)} of ${count(entries.length)} tables`}, ${count(on)} on
            </p>
        </div>
        ${isElsewhere && html`<${Refusal} refused=${refused} again=${again} />`}
        ${subscribers.error && html`<${Notice} kind="warning">Subscribers cannot be counted now: ${subscribers.error.message}<//>`}
        <${Panel} flush class="tables">
            ${found.length ? html`
                <div class="table-head" aria-hidden="true">
                    <span>Table</span><span>Changes</span><span>Columns</span><span>Primary key</span><span>Subscribers</span>
                </div>
                <ul aria-label="Tables of the database">
                    ${found.slice(0, rows).map((entry) => html`
                        <${Row} key=${entry.key} entry=${entry} refused=${refused?.key === entry.key ? refused : null} again=${again}
                            subscribers=${subscribers.data && (subscribers.data.sums.get(entry.key) ?? 0)} isLeast=${subscribers.data && !subscribers.data.isWhole}
                            onTurn=${turn} onOpen=${(kind) => { refusal.value = null; open({ kind, key: entry.key }) }} />`)}
                </ul>` : html`<${Nothing} isEmpty=${!entries.length} />`}
        <//>
        ${found.length > rows && html`
            <${Button} onClick=${() => setRows(rows + PAGE_ROWS)}>
                Show ${count(Math.min(PAGE_ROWS, found.length - rows))} more of ${count(found.length)}
            <//>`}
        ${opened && dialog.kind === "edit" && html`<${EditDialog} entry=${opened} onDone=${again} onClose=${() => open(null)} />`}
        ${opened && dialog.kind === "sql" && html`<${SqlDialog} entry=${opened} onTurn=${turn} onClose=${() => open(null)} />`}`
}

function Nothing({ isEmpty }) {
    return isEmpty
        ? html`<${Empty} icon="tables" title="The database has no table that the service may use">
            <p>Create one, or grant the service's role a right on it and USAGE on its schema; then read again.</p>
        <//>`
        : html`<${Empty} icon="search" title="No table fits"><p>Search for less, or show all tables.</p><//>`
}
