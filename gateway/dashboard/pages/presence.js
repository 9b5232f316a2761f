import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Presence() {
    return html`<${Page} title="Presence"><${Empty} icon="presence" title="This page is not built yet" /><//>`
}
