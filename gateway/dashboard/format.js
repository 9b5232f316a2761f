// Numbers, times, foreign text and the server's sentences as people read them.
import { seen } from "./json_text.js"

const whole = new Intl.NumberFormat("en")
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 })
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" })
const time = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" })

const isNumber = (value) => typeof value === "number" && Number.isFinite(value)

export const NONE = "–"

export const count = (value) => (isNumber(value) ? whole.format(value) : NONE)
/** A number with what is counted: counted(1, "table"), counted(2, "person", "people"). */
export const counted = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`
export const short = (value) => (!isNumber(value) ? NONE : Math.abs(value) < 10_000 ? whole.format(value) : compact.format(value))

export function rate(value) {
    if (!isNumber(value)) return NONE
    return value === 0 ? "0" : value < 10 ? value.toFixed(1) : short(Math.round(value))
}

export function bytes(value) {
    if (!isNumber(value)) return NONE
    const units = ["B", "KiB", "MiB", "GiB", "TiB"]
    let at = 0
    for (; value >= 1024 && at < units.length - 1; at++) value /= 1024
    return `${at === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[at]}`
}

/** Seconds of a delay, exact where it is short. */
export function delay(seconds) {
    if (!isNumber(seconds)) return NONE
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
    return seconds < 60 ? `${seconds.toFixed(1)} s` : duration(seconds)
}

/** Two units of a duration in seconds: 3 min 20 s. */
export function duration(seconds) {
    if (!isNumber(seconds)) return NONE
    let rest = Math.max(0, Math.round(seconds))
    if (rest === 0) return seconds > 0 ? "under 1 s" : "0 s"
    const units = []
    for (const [unit, size] of [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]]) {
        if (rest >= size || units.length) units.push(`${Math.floor(rest / size)} ${unit}`)
        rest %= size
    }
    return units.slice(0, 2).filter((one, index) => index === 0 || !one.startsWith("0 ")).join(" ")
}

export function ago(timestamp, now) {
    const seconds = (now - Date.parse(timestamp)) / 1000
    return !isNumber(seconds) ? NONE : seconds < 1 ? "now" : `${duration(seconds)} ago`
}

export function moment(timestamp) {
    const date = new Date(timestamp)
    return Number.isNaN(date.getTime()) ? NONE : `${day.format(date)}, ${time.format(date)}`
}

export function clockTime(timestamp) {
    const date = new Date(timestamp)
    return Number.isNaN(date.getTime()) ? NONE : time.format(date)
}

/** Foreign text may be huge: its beginning, and how much is left out. */
export function clip(text, most = 200) {
    const all = String(text)
    if (all.length <= most) return all
    // Cut no character in two.
    const end = /[\ud800-\udbff]/.test(all[most - 1]) ? most - 1 : most
    return `${all.slice(0, end)}… (${whole.format(all.length - end)} more)`
}

/** The name of a browser or program in a user agent, and its system. */
export function agent(text) {
    if (!text) return "unknown client"
    const system = /Windows|Android|iPhone|iPad|Mac OS X|CrOS|Linux/.exec(text)?.[0].replace("Mac OS X", "macOS")
    for (const [pattern, name] of [
        [/Edg\/(\d+)/, "Edge"], [/OPR\/(\d+)/, "Opera"], [/Firefox\/(\d+)/, "Firefox"],
        [/Chrome\/(\d+)/, "Chrome"], [/Version\/(\d+).*Safari/, "Safari"],
    ]) {
        const found = pattern.exec(text)
        if (found) return `${name} ${found[1]}${system ? `, ${system}` : ""}`
    }
    return clip(text.split(" ").slice(0, 2).join(" "), 40)
}

/** The server's sentences begin small and end without a full stop; names of others may stand in them. */
export function endWithStop(message) {
    const text = seen(String(message || "Something went wrong"))
    return text[0].toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? "" : ".")
}
