// What every page is made of: its frame, panels, notices, badges, and text that others wrote.
import { html, useEffect, useRef } from "../vendor/preact.js"
import { ago, clip, endWithStop, moment } from "../format.js"
import { clock } from "../session.js"
import { Icon } from "./icons.js"

/** A page: its heading takes the focus when one comes to it by the navigation. */
export function Page({ title, lead, actions, children }) {
    const heading = useRef()
    useEffect(() => {
        document.title = `${typeof title === "string" ? title : "Realtime"} · Realtime`
        if (document.activeElement === document.body || document.activeElement?.closest("nav")) {
            heading.current.focus({ preventScroll: true })
        }
        scrollTo(0, 0)
    }, [])
    return html`
        <header class="page-head">
            <div>
                <h1 ref=${heading} tabindex="-1">${title}</h1>
                ${lead && html`<p class="lead">${lead}</p>`}
            </div>
            ${actions && html`<div class="actions">${actions}</div>`}
        </header>
        ${children}`
}

export function Panel({ title, note, actions, children, flush = false, class: more = "" }) {
    return html`
        <section class=${`panel ${flush ? "flush" : ""} ${more}`} aria-label=${typeof title === "string" ? title : undefined}>
            ${(title || actions) && html`
                <header class="panel-head">
                    <h2>${title}</h2>
                    ${note && html`<span class="note">${note}</span>`}
                    ${actions && html`<div class="actions">${actions}</div>`}
                </header>`}
            ${children}
        </section>`
}

/** A message about the state of things. `kind`: good, info, warning or error; an error is announced. */
export function Notice({ kind = "info", title, children, actions }) {
    return html`
        <div class=${`notice ${kind}`} role=${kind === "error" ? "alert" : undefined}>
            <${Icon} name=${kind} />
            <div class="notice-text">
                ${title && html`<strong>${title}</strong>`}
                ${children && html`<div>${children}</div>`}
            </div>
            ${actions && html`<div class="actions">${actions}</div>`}
        </div>`
}

/** What went wrong, as the server said it; nothing without an error. */
export function ErrorNotice({ error, title }) {
    if (!error) return null
    return html`<${Notice} kind="error" title=${title}>${endWithStop(error.message)}<//>`
}

/** Where nothing is: why, and what to do next. */
export function Empty({ title, icon = "empty", children }) {
    return html`
        <div class="empty">
            <${Icon} name=${icon} />
            <p class="empty-title">${title}</p>
            ${children && html`<div class="empty-text">${children}</div>`}
        </div>`
}

/** What a page is for, and that this token may not see it. */
export function NeedsService({ children }) {
    return html`
        <${Empty} icon="key" title="This needs a token with the role service_role">
            <p>${children}</p>
            <p>Make one with <code>realtime token --project … --role service_role</code>, sign out, and sign in with it.</p>
        <//>`
}

/** Grey lines as high as what will stand there. */
export function Skeleton({ lines = 3, label = "Loading" }) {
    return html`
        <div class="skeleton" role="status" aria-label=${label}>
            ${Array.from({ length: lines }, (_, index) => html`<span key=${index}></span>`)}
        </div>`
}

export function Badge({ kind = "plain", children }) {
    return html`<span class=${`badge ${kind}`}>${children}</span>`
}

/**
 * Text that somebody else wrote: never markup, cut where it is long, kept apart from the direction of the text
 * around it.
 */
export function Foreign({ text, most = 120, mono = false, empty = "none" }) {
    if (text === null || text === undefined || text === "") return html`<span class="none">${empty}</span>`
    const all = String(text)
    return html`<bdi class=${mono ? "mono foreign" : "foreign"} title=${all.length > most ? clip(all, 1_000) : undefined}>${clip(all, most)}</bdi>`
}

/** How long ago, which goes on by itself; the moment is its title. */
export function Ago({ at }) {
    return html`<time datetime=${at} title=${moment(at)}>${ago(at, clock.value)}</time>`
}

/** Facts as pairs of a word and a value. */
export function Facts({ of }) {
    return html`
        <dl class="facts">
            ${of.filter(Boolean).map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
        </dl>`
}
