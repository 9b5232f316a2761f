// The dashboard: the sign-in form, or the shell with its pages.
import { html, render } from "./vendor/preact.js"
import { session } from "./session.js"
import { Shell } from "./shell.js"
import { SignIn } from "./signin.js"

function App() {
    return session.value ? html`<${Shell} key=${session.value.token} />` : html`<${SignIn} />`
}

render(html`<${App} />`, document.getElementById("app"))
