// The dialogs of one table: which changes and columns it sends, and the SQL that a switch would run.
import { html, useEffect, useState } from "../vendor/preact.js"
import { endWithStop } from "../api.js"
import { count } from "../format.js"
import { Button, CopyButton, Dialog } from "../parts/controls.js"
import { Foreign } from "../parts/layout.js"
import { enabling, EVENTS, formerOf, preview, request, send } from "./tables_switch.js"

const PAUSE_MS = 200 // while one ticks boxes

/** The SQL of a request, before it runs. */
function Sql({ of }) {
    const [told, tell] = useState({})
    const body = JSON.stringify(of)
    useEffect(() => {
        const stop = new AbortController()
        const timer = setTimeout(async () => {
            try {
                tell({ sql: String((await preview(of, stop.signal)).sql) })
            } catch (error) {
                if (!stop.signal.aborted) tell({ error })
            }
        }, PAUSE_MS)
        return () => { clearTimeout(timer); stop.abort() }
    }, [body])
    if (told.error) return html`<p class="field-error" role="alert">${endWithStop(told.error.message)}</p>`
    return html`
        <div class="sql">
            <pre tabindex="0" role="region" aria-label="SQL" aria-busy=${told.sql === undefined}>${told.sql ?? "Reading…"}</pre>
            ${told.sql !== undefined && html`<${CopyButton} text=${told.sql} label="Copy SQL" />`}
        </div>`
}

export function SqlDialog({ entry, onTurn, onClose }) {
    const [wasOn] = useState(entry.enabled) // the question stays what it was
    const word = wasOn ? "off" : "on"
    const turn = () => {
        onTurn(entry, !wasOn)
        onClose()
    }
    return html`
        <${Dialog} title=${html`SQL that turns <${Foreign} text=${entry.name} /> ${word}`} onClose=${onClose}>
            <p class="soft">This is what the service runs in the database when you use the switch. Nothing has run yet.</p>
            <${Sql} of=${request(entry, !wasOn)} />
            <div class="dialog-actions">
                <${Button} onClick=${onClose}>Close<//>
                <${Button} kind="main" busy=${entry.enabled !== wasOn || entry.isBusy} onClick=${turn}>Turn ${word}<//>
            </div>
        <//>`
}

export function EditDialog({ entry, onDone, onClose }) {
    const setup = entry.enabled ? entry : formerOf(entry.key)
    const [events, setEvents] = useState(setup?.events ?? EVENTS)
    const [isAll, setAll] = useState(!setup?.listed)
    const [listed, setListed] = useState(new Set(setup?.listed ?? entry.columns.map((column) => column.name)))
    const [isSqlShown, showSql] = useState(false)
    const [busy, setBusy] = useState(false)
    const [error, setError] = useState(null)

    const known = entry.columns.map((column) => column.name).filter((name) => listed.has(name))
    const wanted = enabling(entry, EVENTS.filter((event) => events.includes(event)), isAll ? null : known)
    const lack = !events.length ? "Choose at least one kind of change." : !isAll && !known.length ? "Choose at least one column." : null
    const hidden = isAll ? [] : entry.primary_key.filter((name) => !listed.has(name))
    const save = async (event) => {
        event.preventDefault()
        if (busy || lack) return
        setBusy(true)
        setError(null)
        try {
            await send(entry.key, wanted)
            onDone()
            onClose()
        } catch (failure) {
            setError(failure)
            setBusy(false)
        }
    }
    const toggled = (name) => {
        const next = new Set(listed)
        if (!next.delete(name)) next.add(name)
        return next
    }
    return html`
        <${Dialog} title=${html`What <${Foreign} text=${entry.name} /> sends`} onClose=${onClose}>
            <form class="dialog-form" onSubmit=${save}>
                <fieldset>
                    <legend>Kinds of change</legend>
                    <div class="checks">
                        ${EVENTS.map((event) => html`
                            <label key=${event}><input type="checkbox" checked=${events.includes(event)}
                                onChange=${(change) => setEvents(change.currentTarget.checked ? [...events, event] : events.filter((one) => one !== event))} />${event}</label>`)}
                    </div>
                </fieldset>
                <fieldset>
                    <legend>Columns that leave the database</legend>
                    <div class="checks">
                        <label><input type="radio" name="columns" checked=${isAll} onChange=${() => setAll(true)} />All, those added later too</label>
                        <label><input type="radio" name="columns" checked=${!isAll} onChange=${() => setAll(false)} />Only some</label>
                    </div>
                    ${!isAll && html`
                        <div class="checks many" role="group" aria-label=${`Columns, ${count(known.length)} of ${count(entry.columns.length)} chosen`}>
                            ${entry.columns.map(({ name, type }) => html`
                                <label key=${name}><input type="checkbox" checked=${listed.has(name)} onChange=${() => setListed(toggled(name))} />
                                    <span><${Foreign} text=${name} most=${63} /> <span class="soft small">${type}${entry.primary_key.includes(name) && ", primary key"}</span></span></label>`)}
                        </div>`}
                    ${hidden.length > 0 && html`<p class="hint">Without the primary key nobody can tell which row has changed.</p>`}
                </fieldset>
                ${(lack || error) && html`<p class="field-error" role="alert">${lack ?? endWithStop(error.message)}</p>`}
                ${isSqlShown && !lack && html`<${Sql} of=${wanted} />`}
                <div class="dialog-actions">
                    <${Button} aria-expanded=${isSqlShown} onClick=${() => showSql(!isSqlShown)}>${isSqlShown ? "Hide SQL" : "Show SQL"}<//>
                    <span class="between"></span>
                    <${Button} onClick=${onClose}>Cancel<//>
                    <${Button} kind="main" type="submit" busy=${busy || lack !== null}>${entry.enabled ? "Save" : "Turn on"}<//>
                </div>
            </form>
        <//>`
}
