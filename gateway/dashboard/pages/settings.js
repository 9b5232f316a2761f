// Settings: limits and history in force, what differs from the defaults first. No secret is among them.
import { html, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { bytes, clip, count, duration } from "../format.js"
import { Field } from "../parts/controls.js"
import { Badge, Empty, ErrorNotice, NeedsService, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { isService } from "../session.js"

const GROUPS = { limits: "Limits", history: "History", project: "Project", node: "Every node" }
const EVERY_MS = 15_000 // a reload may change them

export default function Settings() {
    return html`
        <${Page} title="Settings" lead="What is in force on this node. The configuration file sets them; nothing can be changed here.">
            ${isService.value
                ? html`<${All} />`
                : html`<${Panel}><${NeedsService}>Limits and settings of the project are for administrators alone.<//><//>`}
        <//>`
}

function All() {
    const { data, error } = usePolling(({ signal }) => get("/settings", {}, { signal }), EVERY_MS).value
    const [sought, seek] = useState("")
    if (!data) return error ? html`<${ErrorNotice} title="The settings cannot be read." error=${error} />` : html`<${Panel}><${Skeleton} lines=${6} /><//>`
    const found = data.settings.filter((one) => one.name.includes(sought.trim().toLowerCase()))
    const differing = found.filter((one) => one.differs)
    const groups = [...new Set(found.map((one) => one.group))]
    return html`
        <${ErrorNotice} title="The settings cannot be read again." error=${error} />
        <div class="filters"><${Field} label="Name" type="search" placeholder="max_" value=${sought} onInput=${(event) => seek(event.target.value)} /></div>
        ${found.length === 0 && html`<${Panel}><${Empty} icon="search" title="No setting has that in its name" /><//>`}
        ${found.length > 0 && html`
            <${Panel} flush title="Differs from the default" note=${`${count(differing.length)} of ${count(found.length)}`}>
                ${differing.length
                    ? html`<${SettingsTable} title="Differs from the default" settings=${differing} />`
                    : html`<${Empty} icon="good" title="Everything is at its default"><p>Each setting is explained in <code>docs/operations.md</code>.</p><//>`}
            <//>`}
        ${groups.map((group) => html`
            <${Panel} key=${group} flush title=${GROUPS[group] ?? group}>
                <${SettingsTable} title=${GROUPS[group] ?? group} settings=${found.filter((one) => one.group === group)} />
            <//>`)}`
}

function SettingsTable({ title, settings }) {
    return html`
        <div class="scroll" tabindex="0" role="group" aria-label=${`Rows: ${title}`}>
            <table aria-label=${title}>
                <thead><tr><th scope="col">Setting</th><th scope="col" class="number">In force</th><th scope="col" class="number">Default</th></tr></thead>
                <tbody>${settings.map((one) => html`
                    <tr key=${one.name}>
                        <th scope="row" class="setting">
                            <code>${one.name}</code>
                            ${one.differs && html` <${Badge} kind="accent">set<//>`}
                            ${one.meaning && html`<br /><span class="soft">${one.meaning}</span>`}
                        </th>
                        <td class="number"><strong>${said(one.name, one.value)}</strong></td>
                        <td class="number soft">${said(one.name, one.default)}</td>
                    </tr>`)}
                </tbody>
            </table>
        </div>`
}

/** A value with its unit, which is the last word of the name; 0 is no bound where the name says `max` or a rate. */
function said(name, value) {
    if (value === null || value === undefined) return "none"
    if (typeof value === "boolean") return value ? "on" : "off"
    if (Array.isArray(value)) return value.length ? clip(value.join(", "), 200) : "none"
    if (typeof value !== "number") return clip(typeof value === "string" ? value : JSON.stringify(value), 200)
    if (value === 0 && /^max_|_max_|_per_second/.test(name)) return "no limit"
    if (/_bytes$/.test(name)) return bytes(value)
    if (/_seconds$/.test(name)) return value < 1 ? `${value} s` : duration(value)
    return count(value)
}
