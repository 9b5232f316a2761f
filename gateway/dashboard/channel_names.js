// Channels as the protocol spells them: what one is of, and which table it means. Pure.

/** What a channel is of: table, presence or broadcast. */
export function familyOf(channel) {
    if (/^presence(:|$)/.test(channel)) return "presence"
    return channel.startsWith("table:") ? "table" : "broadcast"
}

/** Whether a channel has the form namespace:topic. */
export const hasNamespace = (channel) => /^[^:]+:./s.test(channel)

const NAME = '"((?:[^"]|"")+)"|([^".:][^.:]*)'
const CHANNEL = new RegExp(`^table:(?:(?:${NAME})\\.)?(?:${NAME})(?::(?:INSERT|UPDATE|DELETE))?$`, "s")

/** One string for a table, whatever its names contain. */
export const keyOf = (schema, table) => JSON.stringify([schema, table])

/** The table's name as channels and people spell it: quoted only where it must be. */
export const spelled = (schema, table) => `${quoted(schema)}.${quoted(table)}`

export const channelOf = (schema, table) => `table:${schema === "public" ? quoted(table) : spelled(schema, table)}`

/** The key of the table whose changes a channel carries; null for another channel. */
export function tableOf(channel) {
    const found = CHANNEL.exec(channel)
    if (!found) return null
    const [, quotedSchema, schema, quotedTable, table] = found
    return keyOf(unquoted(quotedSchema) ?? schema ?? "public", unquoted(quotedTable) ?? table)
}

/** How many subscribe to each table: a Map by key, all spellings of its channels and single events added up. */
export function subscribersOf(channels) {
    const sums = new Map()
    for (const { channel, subscribers } of channels) {
        const key = tableOf(channel)
        if (key !== null) sums.set(key, (sums.get(key) ?? 0) + subscribers)
    }
    return sums
}

function quoted(name) {
    const isOdd = /[.:]/.test(name) || name.startsWith('"') || name !== name.trim()
    return isOdd ? `"${name.replaceAll('"', '""')}"` : name
}

const unquoted = (name) => name?.replaceAll('""', '"')
