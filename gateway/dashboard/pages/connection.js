// One connection: its life in words, from what is known now and from the history.
import { html, useEffect, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { closeInWords, isTrouble } from "../closes.js"
import { agent, bytes, clip, count, counted, duration, moment, short } from "../format.js"
import { Button, CopyButton } from "../parts/controls.js"
import { Disconnect } from "../parts/disconnect.js"
import { Icon } from "../parts/icons.js"
import { Ago, Badge, Empty, ErrorNotice, Facts, Foreign, Notice, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { href } from "../router.js"
import { clock } from "../session.js"

const EVERY_MS = 5000
const PAGE = 500
const MOST_PAGES = 4 // of either list, until it is given up
const OTHERS = 8

export function OneConnection({ id, user, node }) {
    const [isAsked, setAsked] = useState(false)
    const [done, setDone] = useState(null)
    const state = usePolling(({ signal }) => {
        const known = state.peek().data
        return known?.went ? known : lifeOf(id, user, node, signal) // what has ended changes no more
    }, EVERY_MS, [id])
    useEffect(() => { if (done) state.peek().again() }, [done])
    const { data, error } = state.value
    const { client, came, went } = data ?? {}
    const name = client?.user_id ?? came?.user_id ?? went?.user_id ?? user
    return html`
        <${Page} title="One connection" lead=${html`<span class="mono">${clip(id, 80)}</span>`}
            actions=${html`
                <a class="button" href=${href("connections")}><${Icon} name="back" />Back to the list</a>
                ${client && !went && html`<${Button} kind="danger" onClick=${() => setAsked(true)}>Disconnect<//>`}`}>
            <div role="status" class="announce">${done && html`<${Notice} kind="good">${done}<//>`}</div>
            <${ErrorNotice} title="This connection cannot be read." error=${error} />
            ${!data && !error && html`<${Panel}><${Skeleton} lines=${4} /><//>`}
            ${data && !client && !came && !went && html`
                <${Panel}><${Empty} icon="search" title="Nothing is known of this connection">
                    <p>It is not open, and the history does not reach back to it, or it was of another project.</p>
                <//><//>`}
            ${(client || came || went) && html`<${Life} client=${went ? null : client} came=${came} went=${went} name=${name} />`}
            ${client && !went && html`<${Now} client=${client} />`}
            ${data?.others.length > 0 && html`<${Others} events=${data.others} name=${name} />`}
            ${isAsked && html`<${Disconnect} of=${{ client }} onDone=${setDone} onClose=${() => setAsked(false)} />`}
        <//>`
}

async function lifeOf(id, user, node, signal) {
    const [client, history] = await Promise.all([liveOne(id, user, node, signal), recorded(id, user, signal)])
    return { client, ...history }
}

async function liveOne(id, user, node, signal) {
    let after
    for (let page = 0; page < MOST_PAGES; page++) {
        const { clients, next } = await get("/clients", { limit: PAGE, after, user_id: user, node: user ? undefined : node }, { signal })
        const found = clients.find((client) => client.connection_id === id)
        if (found || !next) return found ?? null
        after = next
    }
    return null
}

async function recorded(id, user, signal) {
    const events = []
    let before
    for (let page = 0; page < MOST_PAGES; page++) {
        const { connections, next } = await get("/connections", { limit: PAGE, before, user_id: user }, { signal })
        events.push(...connections)
        if (!next || connections.some((one) => one.connection_id === id && one.event === "connect")) break
        before = next
    }
    const mine = events.filter((one) => one.connection_id === id)
    return {
        came: mine.find((one) => one.event === "connect") ?? null,
        went: mine.find((one) => one.event === "disconnect") ?? null,
        others: user ? events.filter((one) => one.connection_id !== id && one.event === "disconnect").slice(0, OTHERS) : [],
    }
}

/** What happened, in the order in which it did. */
function Life({ client, came, went, name }) {
    const { ip, user_agent: program, node } = client ?? came ?? went
    const since = came?.timestamp ?? client?.connected_at
        ?? new Date(Date.parse(went.timestamp) - (went.duration_seconds ?? 0) * 1000).toISOString()
    const who = html`<strong><${Foreign} text=${name} most=${80} empty="A client without a name" /></strong>`
    return html`
        <${Panel} title="What happened">
            <ol class="life-line">
                <li class="good">
                    <p>${who} connected from <${Foreign} text=${ip} /> with ${agent(program)}, to the node <${Foreign} mono text=${node} />.</p>
                    <p class="soft small">${moment(since)}</p>
                </li>
                ${client && html`
                    <li class="info">
                        <p>${client.messages_in === 0 && client.messages_out === 0 ? "It has sent and received nothing so far."
                            : html`It sent ${counted(client.messages_in, "message")} and received ${count(client.messages_out)}.`}
                            ${" "}${subscribedTo(client)}</p>
                        <p class="soft small">until now</p>
                    </li>
                    <li class="good">
                        <p>It is still connected, for ${duration((clock.value - Date.parse(since)) / 1000)} now.
                            ${client.expires_at && html` Its token ends on ${moment(client.expires_at)}.`}</p>
                    </li>`}
                ${went ? html`<${End} went=${went} />` : !client && html`
                    <li class="warning">
                        <p>It is not open any more, and its end is not recorded yet.</p>
                        <p class="soft small">Where a node is lost, the others find out within presence_ttl_seconds.</p>
                    </li>`}
            </ol>
        <//>`
}

function End({ went: { code, reason, timestamp, duration_seconds: seconds } }) {
    const { what, advice } = closeInWords(code, reason)
    return html`
        <li class=${isTrouble(code) ? "warning" : "plain"}>
            <p><strong>${what}</strong>, after ${duration(seconds)}. <${Badge}>close ${code}${reason && `, ${clip(reason, 60)}`}<//></p>
            <p class="soft">${advice}</p>
            <p class="soft small">${moment(timestamp)}</p>
        </li>`
}

function subscribedTo({ subscriptions, subscription_count: number = subscriptions.length }) {
    if (number === 0) return "It follows no channel."
    return number === 1 ? "It follows one channel." : `It follows ${count(number)} channels.`
}

function Now({ client }) {
    const { subscriptions, subscription_count: number = subscriptions.length } = client
    return html`
        <${Panel} title="Now" actions=${html`<${CopyButton} text=${client.connection_id} label="Copy its id" />`}>
            <${Facts} of=${[
                ["Role", html`<${Foreign} text=${client.role} />`],
                ["Waiting for it", bytes(client.queue_bytes)],
                ["Messages from it", short(client.messages_in)],
                ["Messages to it", short(client.messages_out)],
            ]} />
            ${subscriptions.length > 0 && html`
                <h3 class="above">Channels</h3>
                <ul class="chips">
                    ${subscriptions.map((channel) => html`<li key=${channel}><code><${Foreign} text=${channel} most=${80} /></code></li>`)}
                    ${number > subscriptions.length && html`<li class="soft">and ${count(number - subscriptions.length)} more</li>`}
                </ul>`}
            ${client.user_agent && html`<h3 class="above">User agent</h3><p class="soft"><${Foreign} text=${client.user_agent} most=${400} /></p>`}
        <//>`
}

function Others({ events, name }) {
    return html`
        <${Panel} title="How others of this user ended" note=${clip(name ?? "", 60)}>
            <ul class="ends">
                ${events.map((one) => html`
                    <li key=${one.id}>
                        <${Badge} kind=${isTrouble(one.code) ? "warning" : "plain"}>${one.code}<//>
                        <span>${closeInWords(one.code, one.reason).what}, after ${duration(one.duration_seconds)}</span>
                        <span class="soft"><${Ago} at=${one.timestamp} /></span>
                    </li>`)}
            </ul>
        <//>`
}
