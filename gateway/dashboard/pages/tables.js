import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Tables() {
    return html`<${Page} title="Tables"><${Empty} icon="tables" title="This page is not built yet" /><//>`
}
