// The form "Sign in"; a fragment fills it and sends it by itself.
import { html, useEffect, useRef, useState } from "./vendor/preact.js"
import { check, sentenceOfRefusal } from "./api.js"
import { Button, Field } from "./parts/controls.js"
import { Notice } from "./parts/layout.js"
import { begin, offered, problemOf, reason } from "./session.js"

export function SignIn() {
    const [project, setProject] = useState(offered.peek()?.project ?? "")
    const [token, setToken] = useState(offered.peek()?.token ?? "")
    const [busy, setBusy] = useState(false)
    const attempt = useRef(null)

    const signIn = async (id, jwt) => {
        const wrong = problemOf(id, jwt)
        if (wrong) {
            reason.value = wrong
            return
        }
        attempt.current?.abort(new DOMException("signed in anew", "AbortError"))
        const mine = (attempt.current = new AbortController())
        setBusy(true)
        reason.value = null
        try {
            await check(id, jwt, mine.signal)
            begin(id, jwt)
        } catch (error) {
            if (mine.signal.aborted) return
            const wait = error.retrySeconds ? ` Try again in ${error.retrySeconds} s.` : ""
            reason.value = sentenceOfRefusal(error) + wait
            setBusy(false)
        }
    }

    // Runs for the fragment with which the page was opened, and for one that is pasted later.
    const fragment = offered.value
    useEffect(() => {
        if (!fragment) return
        offered.value = null
        setProject(fragment.project)
        setToken(fragment.token)
        if (fragment.token) signIn(fragment.project, fragment.token)
    }, [fragment])
    useEffect(() => {
        document.title = "Sign in · Realtime"
        return () => attempt.current?.abort(new DOMException("signed in", "AbortError"))
    }, [])

    const submit = (event) => {
        event.preventDefault()
        if (!busy) signIn(project.trim(), token.replace(/\s+/g, "").replace(/^Bearer/i, ""))
    }
    return html`
        <main class="sign-in">
            <form class="panel" aria-label="Sign in" onSubmit=${submit} novalidate>
                <div class="brand"><img src="dashboard/icon.svg" alt="" width="28" height="28" /><h1>Realtime</h1></div>
                ${reason.value && html`<${Notice} kind="error">${reason.value}<//>`}
                <${Field} label="Project" name="project" placeholder="demo" value=${project} required
                    onInput=${(event) => setProject(event.target.value)} />
                <${Field} label="Token" name="token" placeholder="eyJ…" class="secret" value=${token} required
                    onInput=${(event) => setToken(event.target.value)}
                    hint="A JWT of the project. With the role service_role it may see and change everything." />
                <${Button} kind="main" type="submit" busy=${busy}>Sign in<//>
                <details>
                    <summary>Where do I get a token?</summary>
                    <p><code>realtime token --project demo --role service_role</code> prints one. <code>realtime dev</code> prints the address of this page with one in it.</p>
                    <p>The token stays in this tab, and is gone when the tab is closed.</p>
                </details>
            </form>
        </main>`
}
