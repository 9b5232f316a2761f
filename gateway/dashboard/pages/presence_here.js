// The dashboard's own presence: a form to be there with a state, until one leaves or closes the tab.
import { effect, html, signal, useState } from "../vendor/preact.js"
import { endWithStop } from "../api.js"
import { client } from "../connection.js"
import { Button, Field } from "../parts/controls.js"
import { Foreign, Panel } from "../parts/layout.js"

const here = signal(new Map()) // by channel: the handle that holds the presence, which ends with the client
effect(() => { client.value; here.value = new Map() })

function problemOf(text) {
    let state
    try {
        state = JSON.parse(text)
    } catch (error) {
        return endWithStop(`This is no JSON: ${error.message}`)
    }
    return state === null || typeof state !== "object" || Array.isArray(state) ? "A state is an object: { … }." : null
}

export function Here({ channel }) {
    const [text, type] = useState('{"name": "dashboard"}')
    const [busy, setBusy] = useState(false)
    const [refused, refuse] = useState(null)
    const handle = here.value.get(channel)
    const others = [...here.value.keys()].filter((one) => one !== channel)
    const problem = problemOf(text)

    const act = async (event, work) => {
        event?.preventDefault()
        if (busy || !client.peek()) return
        setBusy(true)
        refuse(null)
        try {
            await work(client.peek())
        } catch (error) {
            refuse(endWithStop(error.message))
        }
        setBusy(false)
    }
    const enter = (event) => problem ? event.preventDefault() : act(event, async (rt) => {
        const presence = handle ?? (channel ? rt.channel(channel).presence : rt.presence)
        await presence.set(JSON.parse(text))
        here.value = new Map(here.peek()).set(channel, presence)
    })
    const leave = () => act(null, async () => {
        await handle.leave()
        const left = new Map(here.peek())
        left.delete(channel)
        here.value = left
    })
    return html`
        <${Panel} title="Be present yourself">
            <form class="here" onSubmit=${enter}>
                <${Field} label="State" as="textarea" rows="3" value=${text} onInput=${(event) => { type(event.currentTarget.value); refuse(null) }}
                    error=${problem ?? refused} hint="JSON that everybody there sees, until you leave or close this tab" />
                <div class="actions">
                    <${Button} kind="main" type="submit" busy=${busy || problem !== null}>${handle ? "Change the state" : "Be present"}<//>
                    ${handle && html`<${Button} busy=${busy} onClick=${leave}>Leave<//>`}
                </div>
                ${others.length > 0 && html`
                    <p class="hint">You are also present in ${others.slice(0, 5).map((one, index) => html`${index > 0 && ", "}${one ? html`<${Foreign} text=${one} most=${40} />` : "the project"}`)}${others.length > 5 && " and more"}.</p>`}
            </form>
        <//>`
}
