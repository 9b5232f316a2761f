// The list "Events": of thousands of events only those in sight are in the document. It follows the newest until somebody
// scrolls away from it.
import { Component, html, signal, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact.js"
import { bytes, clip, counted } from "../format.js"
import { fields, parts, seen } from "../json_text.js"
import { drawn, view } from "./live_feed.js"

const SPARE = 6 // rows on both sides of what is in sight
const MOST_PARTS = 16 // of a row in one line
const MOST_LINE = 220 // characters of it
const MOST_VALUE = 96
const BIG = 50_000 // characters of an event that is not read whole for its line

export const selected = signal(null) // an event
export const isFollowing = signal(true)

const two = (value) => String(value).padStart(2, "0")

/** The time of day with milliseconds. */
export function timeOf(at) {
    const date = new Date(at)
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`
}

/** A value as JSON text, short and with nothing unseen in it. */
export const value = (text, most = MOST_VALUE) => seen(clip(text, most))

/** The columns of a row as [name, text]. Who owns a table may record anything as a row: what is no object has no names. */
export const columns = (row, most) => (parts(row, most) ?? [["", row]]).map(([name, text]) => [String(name), text])

/** A string as it is; what should be one and is not, as its text. */
export const unquoted = (text) => (text?.startsWith('"') ? JSON.parse(text) : text === "null" ? null : text)

/** What an UPDATE changed: [name, old, new], the texts of values being compared. */
export function changes(data, old) {
    const before = new Map(columns(old))
    const now = columns(data)
    const changed = now.filter(([name, text]) => before.get(name) !== text).map(([name, text]) => [name, before.get(name), text])
    const names = new Set(now.map(([name]) => name))
    for (const [name, text] of before) if (!names.has(name)) changed.push([name, text, undefined])
    return changed
}

// The space stands inside of the elements: there are thousands of them, and text between them would be as many nodes more.
const pair = ([name, text]) => html`<b>${value(name, 40)} </b><bdi>${value(text)} </bdi>`

const change = ([name, old, text]) => html`<b>${value(name, 40)} </b><del>${value(old ?? "–", 48)}</del>${" → "}<ins>${value(text ?? "–", 48)} </ins>`

/** As many parts of a row as one line has room for. */
function pairs(row) {
    let room = MOST_LINE
    const fitting = row.filter(([name, text]) => (room > 0) && ((room -= name.length + Math.min(text.length, MOST_VALUE) + 3), true))
    return fitting.map(pair)
}

function line(event) {
    if (event.kind === "gap") return event.words
    if (event.text.length > BIG) {
        const from = event.text.search(/"(?:data|payload|presences)":/)
        const row = event.text.slice(event.text.indexOf(":", from) + 1)
        return [html`<i>${bytes(event.text.length)} </i>`, pairs(columns(row, MOST_PARTS))]
    }
    const message = fields(event.text)
    const data = message.get("data")
    const old = message.get("old")
    if (data !== undefined) {
        const note = message.has("truncated") ? html`<i>too big, its key alone </i>` : null
        const key = columns(data, MOST_PARTS)
        if (old === undefined || old === "null") return [pairs(key), note]
        const changed = changes(data, old)
        const more = changed.length - MOST_PARTS
        return [
            key.slice(0, 1).filter(([name]) => !changed.some((one) => one[0] === name)).map(pair),
            changed.slice(0, MOST_PARTS).map(change), more > 0 && html`<i>${counted(more, "more column")} changed</i>`,
            !changed.length && html`<i>nothing changed</i>`,
        ]
    }
    if (message.has("payload")) return html`<bdi>${value(message.get("payload"), 400)}</bdi>`
    const people = parts(message.get("presences") ?? "[]") ?? []
    const names = people.slice(0, MOST_PARTS).map(([, text]) => {
        const one = fields(text)
        return [unquoted(one.get("user_id")) ?? "nobody", one.get("state") ?? "null"]
    })
    return [html`<i>${counted(people.length, "person", "people")} </i>`, pairs(names)]
}

class Line extends Component {
    shouldComponentUpdate(next) {
        return next.event !== this.props.event
    }

    render({ event }) {
        return html`
            <time>${timeOf(event.at)}</time>
            <span class=${`kind ${event.kind}`}>${event.kind}</span>
            <span class="line">${line(event)}</span>`
    }
}

export function EventList() {
    const element = useRef()
    const place = useRef({ top: 0, cut: view.cut, upAt: 0, set: 0 }).current
    const [{ height, row }, measure] = useState({ height: 480, row: 34 })
    const [, redraw] = useState(0)
    drawn.value
    const { shown } = view
    const chosen = selected.value
    const isLast = isFollowing.value
    const cut = view.cut - place.cut
    place.cut = view.cut
    if (cut) place.top = Math.max(0, place.top - cut * row)
    const end = Math.max(0, shown.length * row - height)
    const top = isLast ? end : Math.min(place.top, end)
    const spare = isLast ? 1 : SPARE
    const first = Math.max(0, Math.floor(top / row) - spare)
    const last = Math.min(shown.length, Math.ceil((top + height) / row) + spare)
    const inSight = shown.slice(first, last)
    const hadFocus = element.current?.contains(document.activeElement)
    const stop = inSight.includes(chosen) ? chosen : inSight.at(-1)

    useLayoutEffect(() => {
        const list = element.current
        list.firstElementChild.style.paddingTop = `${first * row}px`
        list.firstElementChild.style.paddingBottom = `${(shown.length - last) * row}px`
        if (isLast) place.set = list.scrollTop = end
        else if (cut) list.scrollTop -= cut * row
        // Whoever was on an item that left the document stays in the list.
        if (hadFocus && !list.contains(document.activeElement)) list.focus({ preventScroll: true })
    })

    useEffect(() => {
        const list = element.current
        const observer = new ResizeObserver(() => {
            const next = parseFloat(getComputedStyle(list).getPropertyValue("--row")) || 34
            measure((now) => (now.height === list.clientHeight && now.row === next ? now : { height: list.clientHeight, row: next }))
        })
        observer.observe(list)
        return () => observer.disconnect()
    }, [])

    // The one that was chosen comes into sight, and takes the focus if the list had it.
    useEffect(() => {
        const index = chosen ? shown.indexOf(chosen) : -1
        const list = element.current
        if (index < 0 || !place.isMoving) return
        place.isMoving = false
        if (index * row < list.scrollTop) list.scrollTop = index * row
        else if ((index + 1) * row > list.scrollTop + height) list.scrollTop = (index + 1) * row - height
        place.top = list.scrollTop
        redraw((count) => count + 1)
        requestAnimationFrame(() => list.querySelector("[aria-current]")?.focus({ preventScroll: true }))
    }, [chosen])

    const onScroll = () => {
        const { scrollTop, scrollHeight, clientHeight } = element.current
        const isAtEnd = scrollHeight - scrollTop - clientHeight < 4
        if (isFollowing.peek()) {
            if (scrollTop < place.set - 2 && !isAtEnd) isFollowing.value = false
        } else if (isAtEnd && Date.now() - place.upAt > 300) isFollowing.value = true
        const moved = Math.floor(scrollTop / row) !== Math.floor(place.top / row)
        place.top = scrollTop
        if (moved && !isFollowing.peek()) redraw((count) => count + 1)
    }
    const leave = () => {
        place.upAt = Date.now()
        place.top = element.current.scrollTop
        if (place.top > 0) isFollowing.value = false
    }
    const onKeyDown = (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
        if (event.key === "Home" || event.key === "PageUp") leave()
        if (event.key === "Enter") onClick(event)
        if (!step || event.ctrlKey || event.metaKey || event.altKey) return
        event.preventDefault()
        move(step)
    }
    const onClick = ({ target }) => {
        const item = target.closest("li")
        const found = item && shown[item.getAttribute("aria-posinset") - 1]
        if (found) selected.value = found
    }
    place.move = (step) => {
        place.isMoving = true
        leave()
        const index = shown.indexOf(selected.peek())
        const lowest = Math.floor((place.top + height - 1) / row) // in sight
        const next = shown[Math.max(0, Math.min(shown.length - 1, index < 0 ? lowest : index + step))]
        if (next) selected.value = next
    }
    move = place.move
    return html`
        <div class="events" ref=${element} tabindex="-1"
            onScroll=${onScroll} onKeyDown=${onKeyDown} onClick=${onClick}
            onWheel=${(event) => { if (event.deltaY < 0) leave() }} onTouchMove=${leave}>
            <ul role="list" aria-label="Events">
                ${inSight.map((event, index) => html`
                    <li key=${event.number} role="listitem" class=${event.kind === "gap" ? "event gap" : "event"} tabindex=${event === stop ? 0 : -1}
                        aria-setsize=${shown.length} aria-posinset=${first + index + 1} aria-current=${event === chosen ? "true" : undefined}>
                        <${Line} event=${event} />
                    </li>`)}
            </ul>
        </div>`
}

/** Choose the event after or before the one that is chosen. */
export let move = () => {}
