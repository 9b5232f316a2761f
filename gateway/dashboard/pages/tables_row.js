// One table: its switch, what it sends, who subscribes, and a refusal where it happened.
import { html, useId, useState } from "../vendor/preact.js"
import { count } from "../format.js"
import { Button } from "../parts/controls.js"
import { Badge, Foreign, Notice } from "../parts/layout.js"
import { Icon } from "../parts/icons.js"
import { href } from "../router.js"
import { channelOf } from "./tables_channels.js"
import { EVENTS, formerOf, refusal } from "./tables_switch.js"

export function Row({ entry, subscribers, isLeast, refused, again, onTurn, onOpen }) {
    const { schema, table, name, enabled, isBusy } = entry
    const id = useId()
    const [isTold, tell] = useState(false) // what it means to have no primary key
    return html`
        <li class=${enabled ? "table-row on" : "table-row"}>
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
                    : html`<button type="button" class="no-key" aria-expanded=${isTold} aria-describedby=${id} onClick=${() => tell(!isTold)}>none<${Icon} name="warning" /></button>`}
            <//>
            <${Cell} name="Subscribers">${subscribers === null ? html`<span class="none">–</span>` : `${count(subscribers)}${isLeast ? " or more" : ""}`}<//>
            <div class="table-actions" role="group" aria-labelledby=${id}>
                <${Button} small onClick=${() => onOpen("edit")} aria-describedby=${id}>Edit<//>
                <${Button} small onClick=${() => onOpen("sql")} aria-describedby=${id}>Show SQL<//>
                <a class="button small" href=${href("live", [], { channel: channelOf(schema, table) })} aria-label="See this channel"
                    title="See this channel" aria-describedby=${id}><${Icon} name="live" /></a>
            </div>
            ${isTold && html`<${KeyMissing} />`}
        </li>`
}

function Cell({ name, children }) {
    return html`<div class=${`table-cell ${name.toLowerCase()}`}><span class="cell-name">${name}<span class="visually-hidden">: </span></span>${children}</div>`
}

function Changes({ entry }) {
    const setup = entry.enabled ? entry : formerOf(entry.key)
    if (!setup) return html`<span class="none">off</span>`
    return html`
        <span class="badges">
            ${!entry.enabled && html`<span class="none">off; then again</span>`}
            ${setup.events.length === EVENTS.length && !entry.enabled ? html`<${Badge}>all<//>`
                : setup.events.map((event) => html`<${Badge} key=${event} kind=${entry.enabled ? "accent" : "plain"}>${event}<//>`)}
        </span>`
}

function Columns({ entry }) {
    const all = entry.columns.length
    const listed = entry.enabled ? entry.listed : formerOf(entry.key)?.listed
    if (!listed) return `all ${count(all)}`
    const title = listed.slice(0, 30).join(", ") + (listed.length > 30 ? "…" : "")
    return html`<span title=${title}>${count(listed.length)} of ${count(all)}</span>`
}

function KeyMissing() {
    return html`
        <p class="key-missing">
            Without a primary key nothing says which row an UPDATE or a DELETE means: rows that are equal cannot be told apart. A change
            that is too big to send whole arrives as <code>{}</code>, with <code>"truncated": true</code>. Add a primary key, if you can.
        </p>`
}

const NEXT = {
    unavailable: "Nothing has changed. Try again in a moment.",
    forbidden: "The service's database role must own the table, or be a member of the role that owns it.",
    not_found: "It was dropped or renamed since the tables were read.",
    timeout: "It may have happened all the same: see whether the switch moves.",
    unreachable: "It may have happened all the same: see whether the switch moves.",
}

export function Refusal({ refused, again, isHere }) {
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
