import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Connections() {
    return html`<${Page} title="Connections"><${Empty} icon="connections" title="This page is not built yet" /><//>`
}
