// One event of Live with all that it says: what changed first, then the rest.
import { html, useEffect, useRef, useState } from "../vendor/preact.js"
import { delay, moment } from "../format.js"
import { fields, parts } from "../json_text.js"
import { Button, CopyButton } from "../parts/controls.js"
import { Facts, Foreign, Notice } from "../parts/layout.js"
import { changes, columns, selected, timeOf, unquoted, value } from "./live_list.js"

const STEP = 100 // rows of a table at a time
const MOST_VALUE = 500 // characters, until somebody asks for more

export function Details({ onStart }) {
    const event = selected.value
    if (!event) return null
    return html`<${Event} key=${event.number} event=${event} onStart=${onStart} />`
}

function Event({ event, onStart }) {
    const element = useRef()
    useEffect(() => element.current.scrollIntoView({ block: "nearest" }), [])
    const message = fields(event.text)
    const id = unquoted(message.get("id"))
    const at = unquoted(message.get("commit_timestamp") ?? message.get("timestamp"))
    const table = message.has("table") && `${unquoted(message.get("schema"))}.${unquoted(message.get("table"))}`
    const sender = message.has("sender") && fields(message.get("sender"))
    return html`
        <section class="details" aria-label="Details" ref=${element}>
            <header class="panel-head">
                <h2><span class=${`kind ${event.kind}`}>${event.kind}</span></h2>
                <div class="actions">
                    <${CopyButton} text=${event.text} label="Copy as JSON" />
                    <${Button} class="button quiet small" icon="close" aria-label="Close details" onClick=${() => { selected.value = null }} />
                </div>
            </header>
            ${event.kind === "gap" && html`<p>${event.words}</p>`}
            <${Facts} of=${[
                table && ["Table", html`<${Foreign} text=${table} />`],
                sender && ["Sender", html`<${Foreign} text=${unquoted(sender.get("user_id"))} empty="no name" />`],
                sender && ["Connection", html`<${Foreign} text=${unquoted(sender.get("connection_id"))} mono />`],
                at && [table ? "Committed" : "Sent", html`<time datetime=${at} title=${at}>${moment(at)}</time>`],
                ["Here at", timeOf(event.at)],
                event.lag !== null && ["Lag", lagOf(event.lag)],
            ]} />
            ${message.get("truncated") === "true" && html`
                <${Notice} kind="warning" title="This change was too big to be sent whole.">Its primary key is here; read the row from the table.<//>`}
            <${Content} message=${message} />
            ${id && html`
                <footer class="start">
                    <span class="soft">Id</span> <${Foreign} text=${id} mono most=${60} />
                    <${Button} small onClick=${() => onStart(id)}>Start after this one<//>
                </footer>`}
        </section>`
}

/** A lag below zero says that the clocks differ. */
export const lagOf = (ms) => (ms === null ? "–" : ms < -2 ? "clocks differ" : delay(Math.max(0, ms) / 1000))

function Content({ message }) {
    const data = message.get("data")
    const old = message.get("old")
    if (data === undefined) {
        if (message.has("payload")) {
            const within = parts(message.get("payload"))
            return html`<${Table} head=${["Name", "Value"]} rows=${within ?? [["payload", message.get("payload")]]} />`
        }
        const people = (parts(message.get("presences") ?? "[]") ?? []).map(([, text]) => fields(text))
        if (!people.length) return null
        return html`<${Table} head=${["User", "State"]} rows=${people.map((one) => [unquoted(one.get("user_id")) ?? "no name", one.get("state")])} />`
    }
    if (old === undefined || old === "null") return html`<${Table} head=${["Column", "Value"]} rows=${columns(data)} />`
    const changed = changes(data, old)
    const names = new Set(changed.map(([name]) => name))
    const same = columns(data).filter(([name]) => !names.has(name))
    return html`
        <${Table} head=${["Column", "Old", "New"]} rows=${changed} caption=${`Changed: ${changed.length} of ${changed.length + same.length} columns`} />
        ${same.length > 0 && html`<${Table} head=${["Column", "Value"]} rows=${same} caption="Unchanged" />`}`
}

function Table({ head, rows, caption }) {
    const [most, more] = useState(STEP)
    return html`
        <div class="scroll" tabindex="0" role="group" aria-label=${caption ?? head.join(" and ")}>
            <table class="row-table">
                ${caption && html`<caption>${caption}</caption>`}
                <thead><tr>${head.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
                <tbody>${rows.slice(0, most).map(([name, ...values], index) => html`
                    <tr key=${index}>
                        <th scope="row"><bdi>${value(String(name), 200)}</bdi></th>
                        ${values.map((text, at) => html`<td key=${at} class=${values.length > 1 ? (at ? "new" : "old") : ""}><${Value} text=${text} /></td>`)}
                    </tr>`)}
                </tbody>
            </table>
        </div>
        ${rows.length > most && html`<${Button} small onClick=${() => more(most + STEP)}>Show ${Math.min(STEP, rows.length - most)} of ${rows.length - most} more<//>`}`
}

function Value({ text }) {
    const [isWhole, show] = useState(false)
    if (text === undefined) return html`<span class="none">not there</span>`
    return html`
        <bdi class=${text === "null" ? "mono none" : "mono foreign"}>${value(text, isWhole ? 200_000 : MOST_VALUE)}</bdi>
        ${text.length > MOST_VALUE && !isWhole && html` <${Button} small onClick=${() => show(true)}>Show more<//>`}`
}
