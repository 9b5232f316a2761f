// A line over five minutes (uPlot), told in words beside it: the newest value, the least and the largest.
import { html, useEffect, useRef, useState } from "../vendor/preact.js"
import UPlot from "../vendor/uplot.js"
import { clockTime } from "../format.js"
import { KEPT_SECONDS } from "../stats.js"

const HEIGHT = 104
const SYNC = "overview" // the cursors of all charts move together
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" })

/** `series` is one of stats.js, `format` says a value with its unit, `axis` the same shorter; `tone` is accent or error. */
export function Chart({ title, series, format, axis = format, tone = "accent", floor = 1 }) {
    const root = useRef()
    const chart = useRef()
    const [pointed, setPointed] = useState(null)
    useEffect(() => {
        const element = root.current
        const plot = new UPlot(options(element, floor, axis, setPointed), dataOf(series), element)
        chart.current = plot
        const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }))
        resized.observe(element)
        const scheme = matchMedia("(prefers-color-scheme: dark)")
        const redraw = () => plot.redraw(false)
        scheme.addEventListener("change", redraw)
        return () => {
            resized.disconnect()
            scheme.removeEventListener("change", redraw)
            plot.destroy()
        }
    }, [])
    useEffect(() => chart.current.setData(dataOf(series)), [series.times.at(-1), series.times.length])
    const at = pointed === null ? null : series.values[pointed]
    return html`
        <figure class="panel chart-panel">
            <figcaption>
                <span class="chart-title">${title}</span>
                <span class="chart-now">${format(at ?? series.now)}</span>
                <span class="chart-range">${at === null || at === undefined
                    ? html`min ${format(series.least)} · max ${format(series.most)}`
                    : html`at ${clockTime(series.times[pointed] * 1000)}`}</span>
            </figcaption>
            <div class=${`chart ${tone}`} ref=${root} aria-hidden="true"></div>
        </figure>`
}

const dataOf = ({ times, values }) => [times, values]

/** Colours of the theme, which a canvas cannot read: `pages.css` puts them into properties that are computed. */
function colours(element) {
    const { color, caretColor, columnRuleColor } = getComputedStyle(element)
    return { line: color, text: caretColor, grid: columnRuleColor }
}

function options(element, floor, said, setPointed) {
    const of = (name) => () => colours(element)[name]
    const axis = { stroke: of("text"), font: '11px system-ui, sans-serif', ticks: { show: false } }
    return {
        width: element.clientWidth,
        height: HEIGHT,
        padding: [8, 14, 0, 0],
        legend: { show: false },
        cursor: {
            sync: { key: SYNC, setSeries: false },
            y: false,
            drag: { x: false, y: false },
            points: { size: 7, fill: of("line"), stroke: of("line") },
        },
        scales: {
            x: { time: false, range: (_, __, newest) => [(newest ?? 0) - KEPT_SECONDS, newest ?? 0] },
            y: { range: (_, __, most) => [0, Math.max(floor, (most ?? 0) * 1.12)] },
        },
        axes: [
            {
                ...axis, size: 22, gap: 4, grid: { show: false }, incrs: [60], space: 1,
                values: (_, splits) => splits.map((second) => minute.format(second * 1000)),
            },
            {
                ...axis, size: 52, gap: 6, space: 34, grid: { stroke: of("grid"), width: 1 },
                values: (_, splits) => splits.map(said),
            },
        ],
        series: [
            {},
            { stroke: of("line"), width: 1.6, fill: () => faded(colours(element).line), points: { show: false }, spanGaps: false },
        ],
        hooks: { setCursor: [({ cursor }) => setPointed(cursor.idx ?? null)] },
    }
}

const faded = (colour) => colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.1)")

/** A small line without axes; what it shows stands beside it in words. */
export function Sparkline({ values }) {
    const first = values.findIndex((value) => value !== null)
    const known = first < 0 ? [] : values.slice(first).map((value) => value ?? 0)
    const most = Math.max(1, ...known)
    const points = known.map((value, index) => `${((index / Math.max(1, known.length - 1)) * 100).toFixed(1)},${(23 - (value / most) * 21).toFixed(1)}`)
    return html`
        <svg class="sparkline" viewBox="0 0 100 24" preserveAspectRatio="none" aria-hidden="true">
            ${known.length > 1 && html`<polyline points=${points.join(" ")} vector-effect="non-scaling-stroke" />`}
        </svg>`
}
