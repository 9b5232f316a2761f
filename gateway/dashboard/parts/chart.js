// A line over five minutes, with words beside it: the newest value, the least and the largest.
//
// Drawn as SVG, which takes colours and sizes from CSS. All charts share one cursor, so that one moment can be
// compared.
import { html, signal } from "../vendor/preact.js"
import { clockTime } from "../format.js"
import { KEPT_SECONDS } from "../stats.js"

const WIDTH = 1000
const HEIGHT = 100
const NEAR_SECONDS = 3 // a cursor further from every answer points at nothing
const MINUTES = ["5 min ago", "4", "3", "2", "1", "now"]

const cursor = signal(null) // a time in seconds

/** `series` is one of stats.js, `format` says a value with its unit, `axis` the same shorter; `tone` is accent or error. */
export function Chart({ title, series, format, axis = format, tone = "accent", floor = 1 }) {
    const { times, values, least, most } = series
    const begin = (times.at(-1) ?? 0) - KEPT_SECONDS
    const top = roundedUp(Math.max(floor, (most ?? 0) * 1.05))
    const index = cursor.value === null ? -1 : nearest(times, cursor.value)
    const point = (event) => {
        const { left, width } = event.currentTarget.getBoundingClientRect()
        cursor.value = begin + ((event.clientX - left) / width) * KEPT_SECONDS
    }
    return html`
        <figure class="panel chart-panel">
            <figcaption>
                <span class="chart-title">${title}</span>
                <span class="chart-now">${format(index < 0 ? series.now : values[index])}</span>
                <span class="chart-range">${index < 0
                    ? html`min ${format(least)} · max ${format(most)}`
                    : html`at ${clockTime(times[index] * 1000)}`}</span>
            </figcaption>
            <div class=${`chart ${tone}`} aria-hidden="true">
                <ol class="chart-y">${[top, top / 2, 0].map((value) => html`<li key=${value}>${axis(value)}</li>`)}</ol>
                <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" onPointerMove=${point} onPointerLeave=${() => { cursor.value = null }}>
                    <path class="chart-grid" d=${`M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT}H${WIDTH}`} />
                    <${Line} times=${times} values=${values} begin=${begin} top=${top} />
                    ${index >= 0 && html`<path class="chart-cursor" d=${`M${xOf(times[index], begin)} 0V${HEIGHT}`} />`}
                </svg>
                <ol class="chart-x">${MINUTES.map((text) => html`<li key=${text}>${text}</li>`)}</ol>
            </div>
        </figure>`
}

/** The line and what lies below it, in pieces between the moments without a value. */
function Line({ times, values, begin, top }) {
    let line = ""
    let area = ""
    let start = null
    values.forEach((value, index) => {
        if (value === null) return
        const x = xOf(times[index], begin)
        const y = (HEIGHT * (1 - value / top)).toFixed(1)
        const isFirst = (values[index - 1] ?? null) === null
        const isLast = (values[index + 1] ?? null) === null
        if (isFirst) start = x
        line += `${isFirst ? "M" : "L"}${x} ${y}`
        area += `${isFirst ? `M${x} ${HEIGHT}L` : "L"}${x} ${y}${isLast ? `L${x} ${HEIGHT}L${start} ${HEIGHT}Z` : ""}`
    })
    return html`<path class="chart-area" d=${area} /><path class="chart-line" d=${line} />`
}

const xOf = (time, begin) => Math.max(0, ((time - begin) / KEPT_SECONDS) * WIDTH).toFixed(1)

/** The next number that can be halved without many digits. */
function roundedUp(value) {
    const unit = 10 ** Math.floor(Math.log10(value))
    return [1, 2, 4, 5, 8, 10].find((step) => step * unit >= value) * unit
}

function nearest(times, wanted) {
    let found = -1
    times.forEach((time, index) => {
        if (found < 0 || Math.abs(time - wanted) < Math.abs(times[found] - wanted)) found = index
    })
    return found >= 0 && Math.abs(times[found] - wanted) <= NEAR_SECONDS ? found : -1
}

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
