// The frame around the pages: navigation, who is signed in, and the end of a token, with a warning before it comes.
import { Component, html, useEffect, useRef, useState } from "./vendor/preact.js"
import { duration } from "./format.js"
import { Badge, ErrorNotice, Foreign, Notice, Skeleton } from "./parts/layout.js"
import { Button } from "./parts/controls.js"
import { Icon } from "./parts/icons.js"
import { href, route } from "./router.js"
import { clock, end, session } from "./session.js"

// A page is loaded when one first comes to it. Its module's default export is a component.
export const PAGES = [
    ["overview", "Overview", () => import("./pages/overview.js")],
    ["tables", "Tables", () => import("./pages/tables.js")],
    ["live", "Live", () => import("./pages/live.js")],
    ["presence", "Presence", () => import("./pages/presence.js")],
    ["broadcast", "Broadcast", () => import("./pages/broadcast.js")],
    ["connections", "Connections", () => import("./pages/connections.js")],
    ["settings", "Settings", () => import("./pages/settings.js")],
]

export function Shell() {
    const [isOpen, setOpen] = useState(false)
    const { page } = route.value
    const button = useRef()
    useEffect(() => setOpen(false), [route.value])
    const onKeyDown = (event) => {
        if (event.key === "Escape" && isOpen) {
            setOpen(false)
            button.current?.querySelector("button").focus()
        }
    }
    return html`
        <a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector("main h1")?.focus() }}>Skip to the page</a>
        <div class="shell" onKeyDown=${onKeyDown}>
            <aside class=${`side ${isOpen ? "open" : ""}`}>
                <div class="brand" ref=${button}>
                    <img src="dashboard/icon.svg" alt="" width="24" height="24" />
                    <span class="brand-name">Realtime</span>
                    <${Button} class="button menu-button" icon="menu" aria-expanded=${isOpen} aria-controls="navigation"
                        onClick=${() => setOpen(!isOpen)}>Menu<//>
                </div>
                <div class="side-body" id="navigation">
                    <nav aria-label="Pages">
                        ${PAGES.map(([name, title]) => html`
                            <a key=${name} href=${href(name)} aria-current=${page === name ? "page" : undefined}
                                onClick=${() => page === name && document.querySelector("main h1")?.focus()}><${Icon} name=${name} />${title}</a>`)}
                    </nav>
                    <${Who} />
                </div>
            </aside>
            <main id="main"><${Expiry} /><${Current} /></main>
        </div>`
}

function Who() {
    const { project, user, role } = session.value
    return html`
        <div class="who">
            <dl>
                <div><dt>Project</dt><dd><${Foreign} text=${project} most=${40} /></dd></div>
                <div><dt>User</dt><dd><${Foreign} text=${user} most=${40} empty="no name" /></dd></div>
                <div><dt>Role</dt><dd><${Badge} kind=${role === "service_role" ? "accent" : "plain"}><${Foreign} text=${role} most=${24} empty="no role" /><//></dd></div>
            </dl>
            <${Button} icon="out" onClick=${() => end()}>Sign out<//>
        </div>`
}

function Expiry() {
    const { endsAt, warnAt } = session.value
    const now = clock.value
    if (endsAt === null || now < warnAt) return null
    const left = Math.max(0, (endsAt - now) / 1000)
    return html`
        <${Notice} kind="warning" title=${`Your token ends in ${duration(left)}.`}
            actions=${html`<${Button} small onClick=${() => end("Sign in with a newer token.")}>Use a newer token<//>`}>
            Then you have to sign in again with a newer one.
        <//>`
}

function Current() {
    const { page } = route.value
    const [loaded, setLoaded] = useState({})
    const found = PAGES.find(([name]) => name === page)
    useEffect(() => {
        if (!found) return undefined
        let isWanted = true
        found[2]().then(
            (module) => isWanted && setLoaded({ page, component: module.default }),
            (error) => {
                reportError(error)
                if (isWanted) setLoaded({ page, error })
            },
        )
        return () => { isWanted = false }
    }, [page])
    if (!found) {
        return html`
            <${Notice} kind="warning" title="There is no such page.">
                Go on with one of the pages in the navigation.
            <//>`
    }
    if (loaded.page !== page) return html`<${Skeleton} lines=${4} />`
    if (loaded.error) {
        return html`<${ErrorNotice} title="This page cannot be loaded." error=${{ message: "The node did not send it. Reload to try again." }} />`
    }
    return html`<${Drawn} key=${page}><${loaded.component} /><//>`
}

/** A page; a notice where it cannot be drawn, since what others wrote may be what nobody has thought of. */
class Drawn extends Component {
    static getDerivedStateFromError(error) {
        return { error }
    }

    componentDidCatch(error) {
        reportError(error)
    }

    render({ children }, { error }) {
        if (!error) return children
        return html`
            <${Notice} kind="error" title="This page cannot be drawn."
                actions=${html`<${Button} small icon="refresh" onClick=${() => this.setState({ error: null })}>Draw it again<//>`}>
                Something on it is not as it should be; the console of the browser has the error.
            <//>`
    }
}
