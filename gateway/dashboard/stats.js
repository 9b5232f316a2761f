// Five minutes of `GET /stats`, from counters to rates. Pure: times come from the answers.
//
// Counters begin at the start of a node or a notifier. A rate is a difference within one life of one process, over
// up to five seconds, since nodes report at different moments; a process that ended or began anew adds none.
export const KEPT_SECONDS = 300
const SMOOTH_SECONDS = 5
const GAP_SECONDS = 6 // without an answer: the line is interrupted

export const emptyHistory = () => ({ recent: [], points: [] })

/** The history with one more answer; unchanged by an answer that it has, or that is older. */
export function withAnswer(history, stats) {
    const at = Date.parse(stats.timestamp) / 1000
    const last = history.points.at(-1)?.at ?? -Infinity
    if (!(at > last)) return history
    const recent = [...history.recent.filter((one) => one.at >= at - SMOOTH_SECONDS), { at, stats }]
    const points = history.points.filter((point) => point.at > at - KEPT_SECONDS)
    if (at - last > GAP_SECONDS && points.length) points.push({ ...NOTHING, at: last + 0.001 })
    points.push(pointOf(at, stats, recent))
    return { recent, points }
}

const NOTHING = { connections: null, deliveries: null, changes: null, lag: null, pending: null, errors: null, nodes: {} }

function pointOf(at, stats, recent) {
    const nodes = Object.fromEntries(stats.nodes.map((node) => [node.id, {
        deliveries: rateOf(at, recent, nodeIn(node), (one) => one.messages_out),
        errors: rateOf(at, recent, nodeIn(node), (one) => one.errors),
    }]))
    const { notifier } = stats
    return {
        at,
        connections: sum(stats.nodes.map((node) => node.connections)),
        deliveries: sum(Object.values(nodes).map((node) => node.deliveries)),
        errors: sum(Object.values(nodes).map((node) => node.errors)),
        changes: rateOf(at, recent, notifierIn(notifier), (one) => one.changes),
        lag: notifier.lag_seconds ?? null,
        pending: notifier.pending ?? null,
        nodes,
    }
}

const nodeIn = (node) => (stats) => stats.nodes.find((one) => one.id === node.id && one.started_at === node.started_at)
const notifierIn = (notifier) => (stats) => (stats.notifier.node === notifier.node ? stats.notifier : undefined)

/** The difference between the newest and the oldest of the recent answers about one process, by the second. */
function rateOf(at, recent, find, counter) {
    const oldest = recent.find((one) => find(one.stats))
    if (!oldest || oldest.at >= at) return null
    const before = counter(find(oldest.stats))
    const now = counter(find(recent.at(-1).stats))
    if (typeof before !== "number" || typeof now !== "number" || now < before) return null
    return (now - before) / (at - oldest.at)
}

function sum(values) {
    const known = values.filter((value) => value !== null)
    return known.length ? known.reduce((total, value) => total + value, 0) : null
}

/** What a chart takes: times and values of one figure, with the newest, the least and the largest value. */
export function seriesOf(points, name) {
    const values = points.map((point) => point[name])
    const known = values.filter((value) => value !== null)
    return {
        times: points.map((point) => point.at),
        values,
        now: values.at(-1) ?? null,
        least: known.length ? known.reduce((one, other) => Math.min(one, other)) : null,
        most: known.length ? known.reduce((one, other) => Math.max(one, other)) : null,
    }
}
