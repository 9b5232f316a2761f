// Where one is: `#/page/part?name=value`. Nothing secret stands in it.
import { signal } from "./vendor/preact.js"

export const route = signal(parse())

function parse() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?", 2)
    const [page = "", ...parts] = path.split("/").map(decode)
    return { page: page || "overview", parts, query: new URLSearchParams(query) }
}

function decode(part) {
    try {
        return decodeURIComponent(part)
    } catch {
        return part
    }
}

/** The address of a page: href("connections", [id], {user: "alice"}). */
export function href(page, parts = [], query = {}) {
    const path = [page, ...parts].map(encodeURIComponent).join("/")
    const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null && value !== ""))
    return `#/${path}${search.size ? `?${search}` : ""}`
}

export function go(page, parts, query) {
    location.hash = href(page, parts, query)
}

/** Change the query of the page `owner` without a step in the history; nothing if one is at another page by now. */
export function replaceQuery(owner, query) {
    const { page, parts } = parse()
    const address = href(page, parts, query)
    if (page !== owner || address === location.hash) return
    history.replaceState(null, "", address)
    route.value = parse()
}

addEventListener("hashchange", () => { route.value = parse() })
