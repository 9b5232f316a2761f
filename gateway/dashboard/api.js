// REST of the project that is signed in. Each failure is an ApiError with a stable code and a sentence.
import { endWithStop } from "./format.js"
import { end, setServerTime, session } from "./session.js"

const TIMEOUT_MS = 10_000
const LONGEST_RETRY_SECONDS = 300

export class ApiError extends Error {
    /** `code` is one of the contract, or `unreachable`, `timeout`, `bad_answer`. */
    constructor(code, message, status = 0, retrySeconds = 0) {
        super(message)
        this.name = "ApiError"
        Object.assign(this, { code, status, retrySeconds })
    }
}

export const get = (path, query, options) => call("GET", path, { ...options, query })
export const post = (path, body, options) => call("POST", path, { ...options, body })

/** Of the project that is signed in. Aborting `signal` rejects with its reason, like fetch. */
export async function call(method, path, options = {}) {
    const { project, token } = session.peek() ?? {}
    if (!token) throw new ApiError("unauthorized", "Nobody is signed in.", 401)
    try {
        return await request(method, project, token, path, options)
    } catch (error) {
        // The session may have changed meanwhile: an answer to an older token says nothing of it.
        if (error.status === 401 && session.peek()?.token === token) end(sentenceOfRefusal(error))
        throw error
    }
}

export const check = (project, token, signal) => request("GET", project, token, "/status", { signal })

async function request(method, project, token, path, { query, body, signal, timeout = TIMEOUT_MS } = {}) {
    const url = new URL(`projects/${encodeURIComponent(project)}/realtime${path}`, document.baseURI)
    for (const [name, value] of Object.entries(query ?? {})) {
        if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value)
    }
    const late = AbortSignal.timeout(timeout)
    let response, text
    try {
        response = await fetch(url, {
            method,
            headers: {
                Authorization: `Bearer ${token}`,
                ...(body === undefined ? {} : { "Content-Type": "application/json" }),
            },
            body: body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body),
            signal: signal ? AbortSignal.any([signal, late]) : late,
            cache: "no-store",
            credentials: "same-origin",
            redirect: "error",
        })
        text = await response.text()
    } catch (error) {
        if (signal?.aborted) throw signal.reason
        if (late.aborted) {
            throw new ApiError("timeout", `The node did not answer within ${timeout / 1000} seconds.`)
        }
        throw new ApiError("unreachable", "The node cannot be reached.")
    }
    setServerTime(response.headers.get("Date"))
    return read(response, text)
}

function read(response, text) {
    let answer
    try {
        answer = JSON.parse(text)
    } catch {
        answer = undefined
    }
    if (response.ok && answer !== undefined) return answer
    const { status } = response
    // A timer of over 24 days would end at once.
    const retry = Math.min(Number(response.headers.get("Retry-After")) || 0, LONGEST_RETRY_SECONDS)
    const { code, message } = answer?.error ?? {}
    if (typeof code === "string") throw new ApiError(code, String(message), status, retry)
    throw new ApiError("bad_answer", `The answer is not one of Realtime (HTTP ${status}): see to the proxy in between.`, status, retry)
}

/** A refusal of a token or a project, in words for who signs in. */
export function sentenceOfRefusal(error) {
    switch (error.code) {
        case "token_expired": return "Your token has expired. Sign in with a newer one."
        case "unauthorized": return `The token was refused: ${error.message}.`
        case "not_found": return "This node serves no project of that name."
        case "unreachable": return "The node cannot be reached. Is it running, and is the network there?"
        default: return endWithStop(error.message)
    }
}
