// Who is present: entries of connections, put together by user, and what has happened since one looks. Pure.

const MOST_EVENTS = 500 // of the timeline
const STEPS_MS = 5 * 60_000 // for which the number of people is kept
const LEAST_MS = 30_000
const MOST_STEPS = 1500

export class Roster {
    isSynced = false
    people = new Map() // by user: {key, user, connections: Map of entries by connection id, joinedAt once it is settled}
    connections = new Map() // the key of each connection's person
    timeline = [] // oldest first: {id, kind, at, user, connection, count, state}
    steps = [] // [ms, people] at each change, oldest first
    lastId = 0

    /** The whole list, at first or after a break: what differs from before has happened meanwhile. */
    sync(entries, now) {
        const isFirst = !this.isSynced
        const present = new Set(entries.map((entry) => entry.connection_id))
        for (const [id, key] of [...this.connections]) {
            if (!present.has(id)) this.#remove(id, this.people.get(key), now)
        }
        for (const entry of entries) this.#put(entry, isFirst)
        this.isSynced = true
        this.#settle(now)
    }

    join(entries, now) {
        for (const entry of entries) this.#put(entry)
        this.#settle(now)
    }

    leave(entries, now) {
        for (const { connection_id: id } of entries) {
            const key = this.connections.get(id)
            if (key !== undefined) this.#remove(id, this.people.get(key), now)
        }
        this.#settle(now)
    }

    /** Newest first. */
    sorted() {
        for (const [key, person] of this.people) {
            // A new object: a component draws again only if it gets another one.
            if (!person.isSettled) this.people.set(key, { ...person, joinedAt: earliest(person.connections), isSettled: true })
        }
        return [...this.people.values()].sort((one, two) => (one.joinedAt < two.joinedAt ? 1 : one.joinedAt > two.joinedAt ? -1 : one.key < two.key ? -1 : 1))
    }

    #put(entry, isQuiet = false) {
        const { connection_id: id, user_id: user } = entry
        const key = user === null ? `connection ${id}` : `user ${user}`
        let person = this.people.get(key)
        if (!person) this.people.set(key, person = { key, user, connections: new Map() })
        const { connections } = person
        const before = connections.get(id)
        connections.set(id, entry)
        this.connections.set(id, key)
        person.isSettled = false // one user may have thousands of connections: joinedAt is found once, in the end
        if (isQuiet || before?.updated_at === entry.updated_at) return
        if (before) this.#note("update", entry.updated_at, entry, connections.size)
        else this.#note("join", entry.joined_at, entry, connections.size)
    }

    #remove(id, person, now) {
        const { connections } = person
        const left = connections.size - 1
        this.#note("leave", new Date(now).toISOString(), connections.get(id), left)
        this.connections.delete(id)
        // Who is gone stays whole: a view may still show it.
        if (!left) return void this.people.delete(person.key)
        connections.delete(id)
        person.isSettled = false
    }

    #note(kind, at, { user_id: user, connection_id: connection, state }, count) {
        this.timeline.push({ id: this.lastId++, kind, at, user, connection, count, state })
        if (this.timeline.length > 2 * MOST_EVENTS) this.timeline = this.timeline.slice(-MOST_EVENTS)
    }

    #settle(now) {
        this.timeline = this.timeline.slice(-MOST_EVENTS)
        if (this.steps.at(-1)?.[1] !== this.people.size) this.steps.push([now, this.people.size])
        // One step from before the time shown: it holds until the next.
        const first = this.steps.findIndex(([at]) => at > now - STEPS_MS)
        this.steps = this.steps.slice(Math.max(first === -1 ? this.steps.length - 1 : first - 1, this.steps.length - MOST_STEPS, 0))
    }
}

const earliest = (connections) => [...connections.values()].reduce((least, { joined_at: at }) => (at < least ? at : least), "~")

/** The connection whose state is the newest. */
export const newest = ({ connections }) => [...connections.values()].reduce((one, two) => (two.updated_at > one.updated_at ? two : one))

/** The number of people as a path in a box of `width` by `height`; the most there were, and the seconds that it shows. */
export function strip(steps, now, width, height) {
    const time = Math.min(STEPS_MS, Math.max(LEAST_MS, now - steps[0][0]))
    const x = (at) => Math.max(0, width * (1 - (now - at) / time)).toFixed(1)
    const most = Math.max(...steps.map(([, people]) => people))
    const y = (people) => (height - (height - 2) * (people / most)).toFixed(1)
    const line = steps.map(([at, people], index) => (index ? `H${x(at)}V${y(people)}` : `M${x(at)} ${height}V${y(people)}`)).join("")
    return { path: `${line}H${width}V${height}Z`, most, seconds: time / 1000 }
}
