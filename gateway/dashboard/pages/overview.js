import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Overview() {
    return html`<${Page} title="Overview"><${Empty} icon="overview" title="This page is not built yet" /><//>`
}
