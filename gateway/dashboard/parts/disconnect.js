// Disconnects one client at once, or asks first: about one, or about all of a user.
import { html, useState } from "../vendor/preact.js"
import { post } from "../api.js"
import { agent, clip, count, endWithStop } from "../format.js"
import { seen } from "../json_text.js"
import { Ask } from "./controls.js"

/** Rejects with a sentence; resolves to one about what came of it. `body` as the contract has it. */
export async function disconnect(body) {
    try {
        const { disconnected, missing = [] } = await post("/disconnect", body)
        return outcomeOf(disconnected, missing, body.reconnect)
    } catch (error) {
        throw Object.assign(error, { message: endWithStop(error.message) })
    }
}

/** `of` is {client} as in `GET /clients`, or {user}; `onDone` gets a sentence about what came of it. */
export function Disconnect({ of: { client, user }, onDone, onClose }) {
    const [isBack, setBack] = useState(false)
    const name = seen(clip(client ? client.user_id ?? "this client" : user, 60))
    const confirm = async () => {
        const whom = client ? { connection_id: client.connection_id } : { user_id: user }
        onDone(await disconnect({ ...whom, reconnect: isBack }))
    }
    return html`
        <${Ask} danger title=${client ? `Disconnect ${name}?` : `Disconnect all of ${name}?`} action="Disconnect"
            onConfirm=${confirm} onClose=${onClose}>
            <p>${client
                ? html`Its connection from ${clip(client.ip, 60)} with ${agent(client.user_agent)} is closed.`
                : "All connections of this user are closed, on every node."}
                ${isBack ? " It is told to come back, and does so by itself." : " It gets the close code 4410, after which a client does not come back by itself."}
            </p>
            <label class="check">
                <input type="checkbox" checked=${isBack} onChange=${(event) => setBack(event.target.checked)} />
                Let it come back at once
            </label>
            <p class="small">This takes no right away: who has a valid token may connect again.</p>
        <//>`
}

function outcomeOf(disconnected, missing, isBack) {
    const silent = missing.length ? ` These nodes did not answer: ${missing.join(", ")}.` : ""
    if (disconnected === 0) return `Nobody was disconnected: the connection had ended already.${silent}`
    const many = disconnected === 1 ? "One connection was" : `${count(disconnected)} connections were`
    return `${many} closed${isBack ? ", and asked to come back" : ""}.${silent}`
}
