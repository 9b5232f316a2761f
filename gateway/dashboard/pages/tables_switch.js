// Tables and their switches: what is on, what is being switched, what was refused.
// A request goes on when one leaves the page, so all of it outlives the page.
import { batch, effect, signal } from "../vendor/preact.js"
import { post } from "../api.js"
import { keyOf, spelled } from "../channel_names.js"
import { endWithStop } from "../format.js"
import { session } from "../session.js"

export const EVENTS = ["INSERT", "UPDATE", "DELETE"]
const TIMEOUT_MS = 30_000 // the server waits for locks of the table

const switching = signal(new Map()) // by key: whether it shall be on
const answered = signal(new Map()) // by key: what the server said, {enabled, events, listed, at}, newer than a catalogue of before
const former = new Map() // by key: {events, listed} of a table that was switched off here: the same when it is switched on
export const refusal = signal(null) // {key, name, isOn, message, code}; the last one alone

// Nothing of one project is true of another.
effect(() => {
    session.value
    batch(() => {
        switching.value = answered.value = new Map()
        refusal.value = null
    })
    former.clear()
})

/** The tables of `GET /tables`, with the listed columns (null for all) of `GET /status`. */
export function catalogue(tables, enabled) {
    const listed = new Map(enabled.map((one) => [keyOf(one.schema, one.table_name), one]))
    const names = new Map()
    for (const { schema, table_name: table } of tables) {
        const name = `${schema}.${table}`
        names.set(name, (names.get(name) ?? 0) + 1)
    }
    return tables.map((one) => {
        const { schema, table_name: table } = one
        const key = keyOf(schema, table)
        const name = `${schema}.${table}`
        return {
            ...one, key, table, listed: listed.get(key)?.columns ?? null, access: listed.get(key)?.access ?? null,
            // Two tables may have the same name but for the place of a dot.
            name: names.get(name) === 1 ? name : spelled(schema, table),
        }
    })
}

/** A table of the catalogue as it is now: what was answered since the catalogue was asked for holds. */
export function current(entry, askedAt) {
    const newer = answered.value.get(entry.key)
    const { enabled, events, listed } = newer && newer.at >= askedAt ? newer : entry
    const wanted = switching.value.get(entry.key)
    return { ...entry, events, listed, enabled: wanted ?? enabled, isBusy: wanted !== undefined }
}

/** What the switch asks for: the path, and the body of the request. */
export function request(entry, isOn) {
    if (!isOn) return ["/disable", { schema: entry.schema, table_name: entry.table }]
    const { events = EVENTS, listed = null } = former.get(entry.key) ?? {}
    return enabling(entry, events, listed)
}

export function enabling({ schema, table, access }, events, columns) {
    return ["/enable", { schema, table_name: table, events, ...(columns && { columns }), ...(access && { access }) }]
}

/** What a table that is off will send when it is switched on; null for all of it. */
export const formerOf = (key) => former.get(key) ?? null

/** Switch a table, optimistically. Resolves to whether the server did it; a refusal stands in `refusal`. */
export async function flip(entry, isOn) {
    const { key, name } = entry
    if (switching.peek().has(key)) return false
    if (!isOn) former.set(key, { events: entry.events, listed: entry.listed })
    batch(() => {
        refusal.value = null
        switching.value = new Map(switching.peek()).set(key, isOn)
    })
    try {
        await send(key, request(entry, isOn))
        return true
    } catch (error) {
        refusal.value = { key, name, isOn, code: error.code, message: endWithStop(error.message) }
        return false
    } finally {
        const left = new Map(switching.peek())
        left.delete(key)
        switching.value = left
    }
}

/** Send what `request` or `enabling` returned; rejects with the refusal. */
export async function send(key, [path, body]) {
    const { enabled, events = [], columns: listed = null } = await post(path, body, { timeout: TIMEOUT_MS })
    answered.value = new Map(answered.peek()).set(key, { enabled, events, listed, at: performance.now() })
}

export const preview = ([path, body], signal) => post(`${path}/preview`, body, { signal })
