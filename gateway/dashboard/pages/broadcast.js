import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Broadcast() {
    return html`<${Page} title="Broadcast"><${Empty} icon="broadcast" title="This page is not built yet" /><//>`
}
