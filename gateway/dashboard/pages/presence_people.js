// One person with the connections folded, the strip of how many there were, and the timeline.
import { html, useState } from "../vendor/preact.js"
import { clip, clockTime, count, moment } from "../format.js"
import { Button } from "../parts/controls.js"
import { Ago, Badge, Facts, Foreign } from "../parts/layout.js"
import { clock } from "../session.js"
import { nodeNow } from "../connection.js"
import { json, newest, strip } from "./presence_roster.js"

const PAGE_EVENTS = 30
const [WIDTH, HEIGHT] = [300, 44]

export function Person({ person, isYou }) {
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
            <details class="person-more" onToggle=${(event) => open(event.currentTarget.open)}>
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
            <pre tabindex="0" role="region" aria-label="State">${clip(json(entry.state, 2), 8_000)}</pre>
        </div>`
}

export function Strip({ steps }) {
    const tick = clock.value
    const { path, most } = strip(steps, Math.max(nodeNow(), steps.at(-1)?.[0] ?? tick), WIDTH, HEIGHT)
    if (steps.every(([, people]) => people === 0)) return null
    const now = steps.at(-1)[1]
    return html`
        <figure class="strip">
            <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img"
                aria-label=${`People in the last 5 minutes: ${count(now)} now, ${count(most)} at most`}><path d=${path} /></svg>
            <figcaption class="soft small"><span>5 min ago</span><span>at most ${count(most)}</span><span>now</span></figcaption>
        </figure>`
}

const KINDS = { join: ["good", "+"], update: ["info", "~"], leave: ["warning", "−"] }

function saying({ kind, count: left }) {
    if (kind === "update") return "changed the state"
    if (kind === "join") return left === 1 ? "joined" : `opened tab ${count(left)}`
    return left ? `closed a tab, ${count(left)} left` : "left"
}

export function Timeline({ events }) {
    const [most, setMost] = useState(PAGE_EVENTS)
    if (!events.length) return html`<p class="soft">Nobody came or went yet.</p>`
    return html`
        <ol class="timeline" aria-label="Timeline">
            ${events.slice(-most).reverse().map((event) => html`
                <li key=${event.id}>
                    <time class="soft" datetime=${event.at} title=${moment(event.at)}>${clockTime(event.at)}</time>
                    <span class=${`kind ${KINDS[event.kind][0]}`} aria-hidden="true">${KINDS[event.kind][1]}</span>
                    <span>${event.user === null ? html`<${Foreign} text=${event.connection} most=${24} mono />` : html`<strong><${Foreign} text=${event.user} most=${40} empty="empty user id" /></strong>`}
                        ${" "}${saying(event)}${event.kind === "update" && html` <${Foreign} text=${json(event.state)} most=${60} mono />`}</span>
                </li>`)}
        </ol>
        ${events.length > most && html`<${Button} small onClick=${() => setMost(most + 100)}>Show older<//>`}`
}
