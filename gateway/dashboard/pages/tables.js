// Tables: which of them send their changes, which changes and columns, and who subscribes. A switch acts at once.
import { html, useEffect, useId, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { channelOf, subscribersOf } from "../channel_names.js"
import { count, counted, endWithStop } from "../format.js"
import { seenLines } from "../json_text.js"
import { Button, CopyButton, Dialog, Field } from "../parts/controls.js"
import { Badge, Empty, ErrorNotice, Foreign, NeedsService, Notice, Page, Panel, Skeleton } from "../parts/layout.js"
import { Icon } from "../parts/icons.js"
import { usePolling } from "../polling.js"
import { href, replaceQuery, route } from "../router.js"
import { isService } from "../session.js"
import { catalogue, current, enabling, EVENTS, flip, formerOf, preview, refusal, request, send } from "./tables_switch.js"

const PAGE_ROWS = 100 // in the document at first, and more at each wish
const SUBSCRIBERS_MS = 10_000
const PART = 1000 // channels of one answer
const MOST_PARTS = 10
const PAUSE_MS = 200 // while one types or ticks boxes

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
    useEffect(() => {
        const timer = setTimeout(() => replaceQuery("tables", search ? { search } : {}), PAUSE_MS)
        return () => clearTimeout(timer)
    }, [search])

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
                ${found.length === entries.length ? counted(entries.length, "table") : `${count(found.length)} of ${counted(entries.length, "table")}`}, ${count(on)} on
            </p>
        </div>
        ${isElsewhere && html`<${Refusal} refused=${refused} again=${again} />`}
        ${subscribers.error && html`<${Notice} kind="warning">Subscribers cannot be counted now: ${subscribers.error.message}<//>`}
        <${Panel} flush>
            ${found.length ? html`
                <div class="table-head" aria-hidden="true">
                    <span>Table</span><span>Changes</span><span>Columns</span><span>Primary key</span><span>Subscribers</span>
                </div>
                <ul aria-label="Tables of the database">
                    ${found.slice(0, rows).map((entry) => html`
                        <${Row} key=${entry.key} entry=${entry} refused=${refused?.key === entry.key ? refused : null} again=${again}
                            subscribers=${subscribers.data && (subscribers.data.sums.get(entry.key) ?? 0)} isLeast=${subscribers.data && !subscribers.data.isWhole}
                            onTurn=${turn} onOpen=${(kind) => { refusal.value = null; open({ kind, key: entry.key }) }} />`)}
                </ul>` : html`<${Empty} icon="search" title=${entries.length ? "No table fits" : "The service may use no table of the database"} />`}
        <//>
        ${found.length > rows && html`
            <${Button} onClick=${() => setRows(rows + PAGE_ROWS)}>
                Show ${count(Math.min(PAGE_ROWS, found.length - rows))} more of ${count(found.length)}
            <//>`}
        ${opened && dialog.kind === "edit" && html`<${EditDialog} entry=${opened} onDone=${again} onClose=${() => open(null)} />`}
        ${opened && dialog.kind === "sql" && html`<${SqlDialog} entry=${opened} onTurn=${turn} onClose=${() => open(null)} />`}`
}

function Row({ entry, subscribers, isLeast, refused, again, onTurn, onOpen }) {
    const { schema, table, name, enabled, isBusy } = entry
    const id = useId()
    const [isExplained, explain] = useState(false) // what it means to have no primary key
    return html`
        <li class="table-row">
            <div class="table-name">
                <button type="button" class="switch" role="switch" aria-checked=${enabled} aria-busy=${isBusy} aria-label=${name}
                    onClick=${() => isBusy || onTurn(entry, !enabled)}><span></span></button>
                <span id=${id}><span class="soft"><${Foreign} text=${schema} most=${63} />.</span><wbr /><strong><${Foreign} text=${table} most=${63} /></strong></span>
            </div>
            ${refused && html`<${Refusal} refused=${refused} again=${again} isHere />`}
            <${Cell} name="Changes"><${Changes} entry=${entry} /><//>
            <${Cell} name="Columns"><${Columns} entry=${entry} /><//>
            <${Cell} name="Primary key">
                ${entry.primary_key.length
                    ? html`<${Foreign} text=${entry.primary_key.join(", ")} most=${60} />`
                    : html`<button type="button" class="no-key" aria-expanded=${isExplained} aria-describedby=${id} onClick=${() => explain(!isExplained)}>none<${Icon} name="warning" /></button>`}
            <//>
            <${Cell} name="Subscribers">${subscribers === null ? html`<span class="none">–</span>` : `${count(subscribers)}${isLeast ? " or more" : ""}`}<//>
            <div class="table-actions" role="group" aria-labelledby=${id}>
                <${Button} small onClick=${() => onOpen("edit")} aria-describedby=${id}>Edit<//>
                <${Button} small onClick=${() => onOpen("sql")} aria-describedby=${id}>Show SQL<//>
                <a class="button small" href=${href("live", [], { channel: channelOf(schema, table) })} aria-label="See this channel"
                    title="See this channel" aria-describedby=${id}><${Icon} name="live" /></a>
            </div>
            ${isExplained && html`
                <p class="key-missing">
                    Without a primary key nothing says which row an UPDATE or a DELETE means: rows that are equal cannot be told apart.
                    A change that is too big to send whole arrives as <code>{}</code>, with <code>"truncated": true</code>.
                </p>`}
        </li>`
}

function Cell({ name, children }) {
    return html`<div class=${`table-cell ${name.toLowerCase()}`}><span class="cell-name">${name}<span class="visually-hidden">: </span></span>${children}</div>`
}

function Changes({ entry }) {
    return html`
        <span class="badges">
            ${!entry.enabled && html`<span class="none">off</span>`}
            ${(entry.enabled ? entry : formerOf(entry.key))?.events.map((event) => html`<${Badge} key=${event} kind=${entry.enabled ? "accent" : "plain"}>${event}<//>`)}
        </span>`
}

function Columns({ entry }) {
    const all = entry.columns.length
    const listed = entry.enabled ? entry.listed : formerOf(entry.key)?.listed
    if (!listed) return `all ${count(all)}`
    return html`<span title=${listed.slice(0, 50).join(", ")}>${count(listed.length)} of ${count(all)}</span>`
}

const NEXT = {
    unavailable: "Nothing has changed. Try again in a moment.",
    forbidden: "The service's database role must own the table, or be a member of the role that owns it.",
    not_found: "It was dropped or renamed since the tables were read.",
    timeout: "It may have happened all the same.",
    unreachable: "It may have happened all the same.",
}

function Refusal({ refused, again, isHere }) {
    const { name, isOn, code, message } = refused
    const leave = () => {
        refusal.value = null
        if (code === "not_found") again()
    }
    return html`
        <${Notice} kind="error" title=${html`${isHere ? "This table" : html`<${Foreign} text=${name} />`} was not turned ${isOn ? "on" : "off"}.`}
            actions=${html`<${Button} small onClick=${leave}>${code === "not_found" ? "Read the catalogue again" : "Dismiss"}<//>`}>
            <${Foreign} text=${message} most=${600} /> ${NEXT[code]}
        <//>`
}

/** The SQL of a request, before it runs. */
function Sql({ of }) {
    const [answer, setAnswer] = useState({})
    const body = JSON.stringify(of)
    useEffect(() => {
        const stop = new AbortController()
        const timer = setTimeout(async () => {
            try {
                setAnswer({ sql: String((await preview(of, stop.signal)).sql) })
            } catch (error) {
                if (!stop.signal.aborted) setAnswer({ error })
            }
        }, PAUSE_MS)
        return () => { clearTimeout(timer); stop.abort() }
    }, [body])
    if (answer.error) return html`<p class="field-error" role="alert">${endWithStop(answer.error.message)}</p>`
    return html`
        <div class="sql">
            <pre tabindex="0" role="region" aria-label="SQL" aria-busy=${answer.sql === undefined}>${seenLines(answer.sql ?? "Reading…")}</pre>
            ${answer.sql !== undefined && html`<${CopyButton} text=${answer.sql} label="Copy SQL" />`}
        </div>`
}

function SqlDialog({ entry, onTurn, onClose }) {
    const [wasOn] = useState(entry.enabled) // the question stays what it was
    const word = wasOn ? "off" : "on"
    return html`
        <${Dialog} title=${html`SQL that turns <${Foreign} text=${entry.name} /> ${word}`} onClose=${onClose}>
            <p class="soft">This is what the service runs in the database when you use the switch. Nothing has run yet.</p>
            <${Sql} of=${request(entry, !wasOn)} />
            <div class="dialog-actions">
                <${Button} onClick=${onClose}>Close<//>
                <${Button} kind="main" busy=${entry.enabled !== wasOn || entry.isBusy} onClick=${() => { onClose(); onTurn(entry, !wasOn) }}>Turn ${word}<//>
            </div>
        <//>`
}

const toggled = (names, name) => (names.includes(name) ? names.filter((one) => one !== name) : [...names, name])

function EditDialog({ entry, onDone, onClose }) {
    const setup = entry.enabled ? entry : formerOf(entry.key)
    const [events, setEvents] = useState(setup?.events ?? EVENTS)
    const [isAll, setAll] = useState(!setup?.listed)
    const [listed, setListed] = useState(setup?.listed ?? entry.columns.map((column) => column.name))
    const [isSqlShown, showSql] = useState(false)
    const [busy, setBusy] = useState(false)
    const [error, setError] = useState(null)

    const known = entry.columns.map((column) => column.name).filter((name) => listed.includes(name))
    const wanted = enabling(entry, EVENTS.filter((event) => events.includes(event)), isAll ? null : known)
    const lack = !events.length ? "Choose at least one kind of change." : !isAll && !known.length ? "Choose at least one column." : null
    const hidden = isAll ? [] : entry.primary_key.filter((name) => !listed.includes(name))
    const save = async (event) => {
        event.preventDefault()
        if (busy || lack) return
        setBusy(true)
        setError(null)
        try {
            await send(entry.key, wanted)
            onDone()
            onClose()
        } catch (failure) {
            setError(failure)
            setBusy(false)
        }
    }
    return html`
        <${Dialog} title=${html`What <${Foreign} text=${entry.name} /> sends`} onClose=${onClose}>
            <form class="dialog-form" onSubmit=${save}>
                <fieldset>
                    <legend>Kinds of change</legend>
                    <div class="checks">
                        ${EVENTS.map((event) => html`
                            <label key=${event}><input type="checkbox" checked=${events.includes(event)} onChange=${() => setEvents(toggled(events, event))} />${event}</label>`)}
                    </div>
                </fieldset>
                <fieldset>
                    <legend>Columns that leave the database</legend>
                    <div class="checks">
                        <label><input type="radio" name="columns" checked=${isAll} onChange=${() => setAll(true)} />All, those added later too</label>
                        <label><input type="radio" name="columns" checked=${!isAll} onChange=${() => setAll(false)} />Only some</label>
                    </div>
                    ${!isAll && html`
                        <div class="checks many" role="group" aria-label=${`Columns, ${count(known.length)} of ${count(entry.columns.length)} chosen`}>
                            ${entry.columns.map(({ name, type }) => html`
                                <label key=${name}><input type="checkbox" checked=${listed.includes(name)} onChange=${() => setListed(toggled(listed, name))} />
                                    <span><${Foreign} text=${name} most=${63} /> <span class="soft small">${type}${entry.primary_key.includes(name) && ", primary key"}</span></span></label>`)}
                        </div>`}
                    ${hidden.length > 0 && html`<p class="hint">Without the primary key nobody can tell which row has changed.</p>`}
                </fieldset>
                ${(lack || error) && html`<p class="field-error" role="alert">${lack ?? endWithStop(error.message)}</p>`}
                ${isSqlShown && !lack && html`<${Sql} of=${wanted} />`}
                <div class="dialog-actions">
                    <${Button} aria-expanded=${isSqlShown} onClick=${() => showSql(!isSqlShown)}>${isSqlShown ? "Hide SQL" : "Show SQL"}<//>
                    <span class="between"></span>
                    <${Button} onClick=${onClose}>Cancel<//>
                    <${Button} kind="main" type="submit" busy=${busy || lack !== null}>${entry.enabled ? "Save" : "Turn on"}<//>
                </div>
            </form>
        <//>`
}
