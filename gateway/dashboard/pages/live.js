import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Live() {
    return html`<${Page} title="Live"><${Empty} icon="live" title="This page is not built yet" /><//>`
}
