// Overview: what is wrong and what to do, the charts of five minutes, a card for each node and for the notifier.
import { effect, html, useState } from "../vendor/preact.js"
import { get } from "../api.js"
import { bytes, count, delay, duration, endWithStop, rate, short } from "../format.js"
import { Chart, Sparkline } from "../parts/chart.js"
import { Button } from "../parts/controls.js"
import { Icon } from "../parts/icons.js"
import { Badge, ErrorNotice, Facts, Foreign, NeedsService, Notice, Page, Panel, Skeleton } from "../parts/layout.js"
import { usePolling } from "../polling.js"
import { clock, isService, serverNow, session } from "../session.js"
import { emptyHistory, seriesOf, withAnswer } from "../stats.js"

const EVERY_MS = 1000
const STATUS_MS = 5000
const CARDS = 12 // more nodes are shown on demand
const SPARK_POINTS = 60

// Kept while one looks at another page; the next session begins anew.
let history = emptyHistory()
effect(() => {
    session.value
    history = emptyHistory()
})

export default function Overview() {
    return isService.value ? html`<${Fleet} />` : html`<${Small} />`
}

const shortDelay = (seconds) => (seconds < 60 ? delay(seconds) : `${Number((seconds / 60).toFixed(1))} min`)

const CHARTS = [
    ["Connections", "connections", short, { floor: 4 }],
    ["Deliveries per second", "deliveries", rate, {}],
    ["Changes per second", "changes", rate, {}],
    ["Lag", "lag", delay, { floor: 0.1, axis: shortDelay }],
    ["Pending changes", "pending", short, { floor: 4 }],
    ["Errors per second", "errors", rate, { tone: "error" }],
]

function Fleet() {
    const state = usePolling(async ({ signal }) => {
        const stats = await get("/stats", {}, { signal })
        history = withAnswer(history, stats)
        return { stats, points: history.points }
    }, EVERY_MS)
    const { data, error } = state.value
    return html`
        <${Page} title="Overview" lead="The last five minutes of all nodes.">
            <${Health} state=${state.value} />
            ${data
                ? html`
                    <div class="charts">
                        ${CHARTS.map(([title, name, format, more]) => html`
                            <${Chart} key=${name} title=${title} series=${seriesOf(data.points, name)} format=${format} ...${more} />`)}
                    </div>
                    <${Nodes} stats=${data.stats} points=${data.points} />`
                : !error && html`<div class="charts">${CHARTS.map(([title]) => html`<div class="panel chart-panel" key=${title}><${Skeleton} lines=${3} /></div>`)}</div>`}
        <//>`
}

/** The line above all: what is wrong, and what to do. */
function Health({ state: { data, error, failingSince } }) {
    if (error) {
        const isAway = ["unreachable", "timeout", "bad_answer"].includes(error.code)
        const since = duration((Date.now() - failingSince) / 1000)
        return html`
            <${Notice} kind="error" title=${isAway ? "This node cannot be reached." : "The figures cannot be read."}>
                ${endWithStop(error.message)} ${isAway && "See whether its process runs, and to the network and the proxies in between. "}
                <span aria-hidden="true">Tried again for ${since}.${data ? " Below is what was known before." : ""}</span>
            <//>`
    }
    if (!data) return html`<div class="panel"><${Skeleton} lines=${1} label="Reading the figures" /></div>`
    const { nodes, notifier, problems = [], missing = [] } = data.stats
    const shown = [...problems].sort((one, other) => (one.severity === "error" ? 0 : 1) - (other.severity === "error" ? 0 : 1))
    if (missing.length) shown.push(silent(missing))
    if (!shown.length) {
        return html`
            <${Notice} kind="good" title="Everything works.">
                ${nodes.length === 1 ? "One node delivers" : `${count(nodes.length)} nodes deliver`}, and
                the notifier is ${delay(notifier.lag_seconds)} behind the database.
            <//>`
    }
    return html`<div class="problems">${shown.map((one, index) => html`<${Problem} key=${keyOf(shown, index)} of=${one} />`)}</div>`
}

/** The same problem keeps its element while its words change, so that it is announced once. */
const keyOf = (all, index) => `${all[index].code} ${all.slice(0, index).filter((one) => one.code === all[index].code).length}`

const silent = (missing) => ({
    severity: "warning",
    code: "missing",
    message: `${missing.length === 1 ? "A node" : `${count(missing.length)} nodes`} did not answer in time: ${missing.slice(0, 5).join(", ")}`,
    action: "The figures are without it. See to its process and to Redis, if this lasts",
})

function Problem({ of: { severity, message, action, docs } }) {
    return html`
        <${Notice} kind=${severity === "error" ? "error" : "warning"} title=${endWithStop(message)}>
            ${action && endWithStop(action)} ${docs && html`<${Docs} place=${docs} />`}
        <//>`
}

function Docs({ place }) {
    return /^https?:\/\//.test(place)
        ? html`<a href=${place} target="_blank" rel="noreferrer">Read more</a>`
        : html`<span class="soft">See <code>${place}</code></span>`
}

function Nodes({ stats, points }) {
    const [isAll, setAll] = useState(false)
    const { nodes, notifier } = stats
    // The ones to look at come first; the rest keep their order.
    const sorted = [...nodes].sort((one, other) => other.draining - one.draining || (one.id < other.id ? -1 : 1))
    const shown = isAll ? sorted : sorted.slice(0, CARDS)
    const versions = new Set(nodes.map((node) => node.version))
    return html`
        <h2 class="visually-hidden">Processes</h2>
        <ul class="cards">
            <${Notifier} notifier=${notifier} point=${points.at(-1)} />
            ${shown.map((node) => html`<${Node} key=${node.id} node=${node} points=${points} isMixed=${versions.size > 1} />`)}
        </ul>
        ${sorted.length > shown.length && html`<div><${Button} onClick=${() => setAll(true)}>Show all ${count(sorted.length)} nodes<//></div>`}`
}

function Notifier({ notifier: { status, node, pending, lag_seconds, changes }, point }) {
    const isLive = status === "live"
    return html`
        <li class="panel card">
            <header>
                <${Icon} name="bell" /><h3>Notifier</h3>
                <${Badge} kind=${isLive ? "good" : "error"}>${isLive ? "live" : "down"}<//>
            </header>
            <p class="card-id"><${Foreign} mono text=${node} empty="No notifier leads this project" /></p>
            <${Facts} of=${[
                ["Changes per second", rate(point?.changes)],
                ["Changes since its start", short(changes)],
                ["Pending", count(pending)],
                ["Lag", delay(lag_seconds)],
            ]} />
        </li>`
}

function Node({ node, points, isMixed }) {
    const recent = points.slice(-SPARK_POINTS).map((point) => point.nodes[node.id]?.deliveries ?? null)
    const uptime = (clock.value - Date.parse(node.started_at)) / 1000
    return html`
        <li class="panel card">
            <header>
                <${Icon} name="node" /><h3>Node</h3>
                ${node.draining ? html`<${Badge} kind="warning">draining<//>` : html`<${Badge} kind="good">up ${duration(uptime)}<//>`}
            </header>
            <p class="card-id"><${Foreign} mono text=${node.id} /> <${Badge} kind=${isMixed ? "info" : "plain"}>${node.version}<//></p>
            <div class="card-line">
                <span><strong>${rate(recent.at(-1))}</strong> deliveries/s</span>
                <${Sparkline} values=${recent} />
            </div>
            <${Facts} of=${[
                ["Connections", count(node.connections)],
                ["Subscriptions", count(node.subscriptions)],
                ["Channels", count(node.channels)],
                ["Waiting for clients", bytes(node.queue_bytes)],
                ["Slow clients closed", count(node.slow_consumers)],
                ["Errors", count(node.errors)],
            ]} />
        </li>`
}

/** What a token without the role service_role may see. */
function Small() {
    const { data, error } = usePolling(({ signal }) => get("/status", {}, { signal }), STATUS_MS).value
    const endsAt = session.value.endsAt
    return html`
        <${Page} title="Overview" lead="What your token may see of this project.">
            <${ErrorNotice} title="The state of the project cannot be read." error=${error} />
            ${data?.status === "ok" && !error && html`<${Notice} kind="good" title="Changes are delivered." />`}
            ${data && data.status !== "ok" && html`
                <${Notice} kind="warning" title="Changes are late, or stand still.">Tell those who run this service.<//>`}
            <${Panel} title="Project">
                ${data
                    ? html`<${Facts} of=${[
                        ["Project", html`<${Foreign} text=${data.project_id} />`],
                        ["State", data.status === "ok" ? "works" : "degraded"],
                        ["Clients connected", count(data.connections)],
                        endsAt !== null && ["Your token ends", html`in ${duration((endsAt - Math.max(clock.value, serverNow())) / 1000)}`],
                    ]} />`
                    : !error && html`<${Skeleton} lines=${2} />`}
            <//>
            <${Panel} title="Charts, nodes and the notifier">
                <${NeedsService}>Who is there, what is said on a channel, and sending to channels are open to your token, as far as its rights reach.<//>
            <//>
        <//>`
}
