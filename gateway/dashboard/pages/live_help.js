// Around Live: its keys, and the same subscription as code.
import { html, signal, useEffect } from "../vendor/preact.js"
import { familyOf } from "../channel_names.js"
import { CopyButton } from "../parts/controls.js"
import { session } from "../session.js"
import * as feed from "./live_feed.js"
import { isFollowing, move, selected } from "./live_list.js"

const areOn = signal(true)

const KEYS = [["j", "next event"], ["k", "event before"], ["g", "newest"], ["p", "pause or go on"], ["x", "clear"], ["/ f", "search"], ["Esc", "close the details"]]

/** Keys of the page; none while somebody types, and none at all once they are switched off. */
export function useShortcuts({ find }) {
    useEffect(() => {
        const press = (event) => {
            if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return
            if (event.target.closest?.("input, textarea, select, dialog, [contenteditable]")) return
            if (event.key === "Escape") {
                selected.value = null
                document.querySelector(".keys").open = false
            }
            if (!areOn.peek()) return
            const act = {
                j: () => move(1),
                k: () => move(-1),
                g: () => { isFollowing.value = true },
                p: () => feed.pause(!feed.isPaused.peek()),
                x: () => { selected.value = null; feed.clear() },
                "/": find,
                f: find,
            }[event.key]
            if (!act) return
            event.preventDefault()
            act()
        }
        addEventListener("keydown", press)
        return () => removeEventListener("keydown", press)
    }, [])
}

export function Shortcuts() {
    return html`
        <details class="keys">
            <summary>Keys</summary>
            <div>
                <dl>${KEYS.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
                <label><input type="checkbox" checked=${areOn.value} onChange=${(event) => { areOn.value = event.target.checked }} /> Listen to single keys</label>
            </div>
        </details>`
}

const quoted = (text) => `'${text.replace(/'/g, `'\\''`)}'`

/** The subscription for a program or a terminal; the token is left to whoever pastes it. */
function samples({ channel, filter, since }) {
    const base = new URL(`projects/${session.value.project}`, document.baseURI).href
    const options = JSON.stringify({ ...(filter && { filter }), ...(since && { since }) })
    const family = familyOf(channel)
    const isTable = family === "table"
    const [, scope] = /^presence:(.*)$/s.exec(channel) ?? []
    const handle = isTable ? `rt.table(${JSON.stringify(channel.slice(6))}${options === "{}" ? "" : `, ${options}`})`
        : channel === "presence" ? "rt.presence" : `rt.channel(${JSON.stringify(scope ?? channel)})${scope === undefined ? "" : ".presence"}`
    const event = isTable ? "change" : family === "presence" ? "join" : "broadcast"
    const client = new URL("realtime.js", document.baseURI).href
    const asked = JSON.stringify({ type: "subscribe", channel, ...(filter && { filter }), ...(since && { since }) })
    const socket = `${base.replace(/^http/, "ws")}/realtime/ws`
    const root = new URL(".", document.baseURI).href.replace(/\/$/, "")
    const listen = !filter && !since
        && `realtime listen ${quoted(channel)} --project ${session.value.project} --url ${root} --token "$TOKEN"`
    const lines = [
        `import { connect } from ${JSON.stringify(client)}`, "",
        `const rt = connect(${JSON.stringify(base)}, { token })`,
        `${handle}.on("${event}", (news) => console.log(news))`,
    ]
    return [
        ["JavaScript", lines.join("\n")],
        listen && ["Terminal", listen],
        ["websocat", `echo ${quoted(asked)} |\n    websocat -n -H "Authorization: Bearer $TOKEN" ${socket}`],
    ].filter(Boolean)
}

export function Code({ wanted }) {
    if (!wanted) return null
    return html`
        <details class="as-code">
            <summary>This subscription as code</summary>
            ${samples(wanted).map(([name, text]) => html`
                <div class="sample" key=${name}>
                    <header><strong>${name}</strong><${CopyButton} text=${text} /></header>
                    <pre tabindex="0">${text}</pre>
                </div>`)}
        </details>`
}
