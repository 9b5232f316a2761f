import { html } from "../vendor/preact.js"
import { Empty, Page } from "../parts/layout.js"

export default function Settings() {
    return html`<${Page} title="Settings"><${Empty} icon="settings" title="This page is not built yet" /><//>`
}
