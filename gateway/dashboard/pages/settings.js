// Settings: limits and history in force, what differs from the defaults first. No secret is among them.
import { html, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { bytes, clip, count, duration } from "../format.js"
import { Field } from "../parts/controls.js"
import { Badge, Empty, ErrorNotice, NeedsService, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { isService } from "../session.js"

const GROUPS = { limits: "Limits", history: "History", project: "Project", fleet: "Every node" }
const NO_BOUND = /^max_|_max_|_per_second/ // where 0 means that there is none
const EVERY_MS = 15_000 // a reload may change them

export default function Settings() {
    return html`
        <${Page} title="Settings" lead="What is in force. The configuration file sets it, and nothing can be changed here.">
            ${isService.value
                ? html`<${All} />`
                : html`<${Panel}><${NeedsService}>Limits and settings of the project are for administrators alone.<//><//>`}
        <//>`
}

function All() {
    const { data, error } = usePolling(({ signal }) => get("/settings", {}, { signal }), EVERY_MS).value
    const [sought, seek] = useState("")
    if (!data) return error ? html`<${ErrorNotice} title="The settings cannot be read." error=${error} />` : html`<${Panel}><${Skeleton} lines=${6} /><//>`
    const wanted = sought.trim().toLowerCase()
    const found = listOf(data).filter((one) => one.name.includes(wanted))
    const differing = found.filter((one) => one.differs)
    const groups = [...new Set(found.map((one) => one.group))]
    return html`
        <${ErrorNotice} title="The settings cannot be read again." error=${error} />
        <div class="filters"><${Field} label="Name" type="search" placeholder="max_" value=${sought} onInput=${(event) => seek(event.target.value)} /></div>
        ${found.length === 0 && html`<${Panel}><${Empty} icon="search" title="No setting has that in its name" /><//>`}
        ${found.length > 0 && html`
            <${Panel} flush title="Differs from the default" note=${`${count(differing.length)} of ${count(found.length)}`}>
                ${differing.length
                    ? html`<${SettingsTable} title="Differs from the default" settings=${differing} isMarked=${false} />`
                    : html`<${Empty} icon="good" title="Everything is at its default"><p>Each setting is explained in <code>docs/operations.md</code>.</p><//>`}
            <//>`}
        ${groups.map((group) => html`
            <${Panel} key=${group} flush title=${group}>
                <${SettingsTable} title=${group} settings=${found.filter((one) => one.group === group)} />
            <//>`)}`
}

/** The groups of the answer as one list; each namespace of broadcast channels is a group of its own. */
function listOf({ namespaces = {}, ...groups }) {
    const all = [
        ...Object.entries(GROUPS).map(([name, title]) => [title, groups[name] ?? {}]),
        ...Object.entries(namespaces).map(([name, group]) => [`Namespace ${clip(name, 60)}`, group]),
    ]
    return all.flatMap(([group, settings]) => Object.entries(settings).map(([name, { value, default: usual }]) => ({
        group, name, value, usual, differs: JSON.stringify(value) !== JSON.stringify(usual),
    })))
}

function SettingsTable({ title, settings, isMarked = true }) {
    return html`
        <div class="scroll" tabindex="0" role="group" aria-label=${`Rows: ${title}`}>
            <table class="settings" aria-label=${title}>
                <thead><tr><th scope="col">Setting</th><th scope="col" class="number">In force</th><th scope="col" class="number">Default</th></tr></thead>
                <tbody>${settings.map((one) => html`
                    <tr key=${`${one.group} ${one.name}`}>
                        <th scope="row" class="setting">
                            <code>${one.name}</code>
                            ${one.differs && isMarked && html` <${Badge} kind="accent">set<//>`}
                            ${!isMarked && html`<br /><span class="soft small">${one.group}</span>`}
                        </th>
                        <td class="number" title=${one.value}><strong>${inWords(one.name, one.value)}</strong></td>
                        <td class="number soft" title=${one.usual}>${inWords(one.name, one.usual)}</td>
                    </tr>`)}
                </tbody>
            </table>
        </div>`
}

/** A value with its unit, which is the last word of the name. */
function inWords(name, value) {
    if (value === null || value === undefined) return "none"
    if (typeof value !== "number") return clip(typeof value === "string" ? value : JSON.stringify(value), 200)
    if (value === 0 && NO_BOUND.test(name)) return "no bound"
    if (value === 0 && name === "queue_budget_bytes") return "a share of the memory"
    if (/_bytes$/.test(name)) return bytes(value)
    if (/_ms$/.test(name)) return `${value} ms`
    if (/_seconds$/.test(name)) return value < 60 ? `${value} s` : duration(value)
    return count(value)
}
