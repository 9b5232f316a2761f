// Who is signed in: project and token, kept in this tab alone. The token never goes into a URL or a log.
//
// `/dashboard#project=demo&token=…` signs in. The fragment leaves the address when this module is loaded, before
// anything is sent or drawn.
import { computed, effect, signal } from "./vendor/preact.js"

const KEY = "realtime-dashboard"
const PROJECT = /^[a-z0-9][a-z0-9_-]{0,62}$/
const WARN_SECONDS = 300 // before a token ends; a fifth of its life for one that lives shorter
const LONGEST_TIMER_MS = 2 ** 31 - 1

export const session = signal(null) // {project, token, user, role, isService, endsAt, warnAt}; times in ms
export const offered = signal(null) // {project, token} of a fragment, until they are checked
export const reason = signal(null) // why the sign-in form is shown
export const isService = computed(() => session.value?.isService ?? false)

// The time as the server has it, and a signal that ticks each second while the tab is seen.
let ahead = 0
export const serverNow = () => Date.now() + ahead
export const clock = signal(serverNow())

export function setServerTime(date) {
    const time = Date.parse(date ?? "")
    // The header has whole seconds: a smaller difference says nothing.
    if (!Number.isNaN(time)) ahead = Math.abs(time - Date.now()) < 2000 ? 0 : time - Date.now()
}

setInterval(() => { if (!document.hidden) clock.value = serverNow() }, 1000)
document.addEventListener("visibilitychange", () => { if (!document.hidden) clock.value = serverNow() })

/** The claims of a token, as far as they can be read; the server is the one that checks them. */
export function claimsOf(token) {
    try {
        const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))
        const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0))
        const claims = JSON.parse(new TextDecoder().decode(bytes))
        return claims !== null && typeof claims === "object" ? claims : {}
    } catch {
        return {}
    }
}

/** What is wrong with what somebody typed; null if it can be sent. */
export function problemOf(project, token) {
    if (!project) return "Enter the id of a project."
    if (!PROJECT.test(project)) return "A project id has lower-case letters, digits, - and _ only."
    if (!token) return "Enter a token for the project."
    if (!/^[\w.~+/=-]+$/.test(token)) return "This is not a token: it has characters that no token has."
    return null
}

export function begin(project, token) {
    const claims = claimsOf(token)
    const endsAt = typeof claims.exp === "number" ? claims.exp * 1000 : null
    const life = endsAt === null ? 0 : Math.max(0, endsAt - serverNow())
    session.value = {
        project,
        token,
        user: typeof claims.sub === "string" ? claims.sub : null,
        role: typeof claims.role === "string" ? claims.role : null,
        isService: claims.role === "service_role",
        endsAt,
        warnAt: endsAt === null ? null : endsAt - Math.min(WARN_SECONDS * 1000, life / 5),
    }
    reason.value = null
    keep({ project, token })
}

export function end(why = null) {
    reason.value = why
    session.value = null
    keep(null)
}

function keep(value) {
    try {
        if (value) sessionStorage.setItem(KEY, JSON.stringify(value))
        else sessionStorage.removeItem(KEY)
    } catch {
        // A browser may refuse storage: the session then ends with the page.
    }
}

function takeFragment() {
    const given = new URLSearchParams(location.hash.slice(1))
    if (!given.has("token") && !given.has("project")) return
    history.replaceState(null, "", `${location.pathname}${location.search}#/overview`)
    end()
    offered.value = { project: given.get("project") ?? "", token: given.get("token") ?? "" }
}

function restore() {
    try {
        const { project, token } = JSON.parse(sessionStorage.getItem(KEY))
        if (problemOf(project, token) === null) begin(project, token)
    } catch {
        // Nothing was kept, or something else was: the form asks.
    }
}

takeFragment()
if (!offered.value) restore()
// Before the router, which also listens: it must not see a token.
addEventListener("hashchange", takeFragment, { capture: true })

effect(() => {
    const endsAt = session.value?.endsAt
    if (endsAt == null) return undefined
    const expire = () => {
        const left = endsAt - serverNow()
        if (left <= 0) end("Your token has expired. Sign in with a newer one.")
        else timer = setTimeout(expire, Math.min(left, LONGEST_TIMER_MS))
    }
    let timer = setTimeout(expire, 0)
    return () => clearTimeout(timer)
})
