// Fields, buttons and dialogs.
import { html, useEffect, useId, useRef, useState } from "../vendor/preact.js"
import { Icon } from "./icons.js"

/** A field with its label; every other property goes to the input. `hint` and `error` are read out with it. */
export function Field({ label, hint, error, as = "input", class: more = "", children, ...rest }) {
    const id = useId()
    const description = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined
    return html`
        <div class=${`field ${more}`}>
            <label for=${id}>${label}</label>
            <${as} id=${id} aria-describedby=${description} aria-invalid=${error ? "true" : undefined}
                autocomplete="off" autocapitalize="off" spellcheck=${false} ...${rest}>${children}<//>
            ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
            ${error && html`<p class="field-error" role="alert" id=${`${id}-error`}>${error}</p>`}
        </div>`
}

/** `kind`: main, danger or plain. While `busy` a click does nothing, and the focus stays. */
export function Button({ kind = "plain", icon, busy = false, small = false, children, onClick, type = "button", ...rest }) {
    return html`
        <button type=${type} class=${`button ${kind} ${small ? "small" : ""}`} aria-disabled=${busy ? "true" : undefined}
            onClick=${(event) => (busy ? event.preventDefault() : onClick?.(event))} ...${rest}>
            ${icon && html`<${Icon} name=${icon} />`}${children}
        </button>`
}

export function CopyButton({ text, label = "Copy" }) {
    const [result, setResult] = useState("")
    useEffect(() => {
        if (!result) return undefined
        const timer = setTimeout(() => setResult(""), 1500)
        return () => clearTimeout(timer)
    }, [result])
    const copy = async () => {
        try {
            // A page without https may not use the clipboard.
            await navigator.clipboard.writeText(typeof text === "function" ? text() : text)
            setResult("Copied")
        } catch {
            setResult("The browser refused")
        }
    }
    return html`<${Button} small icon="copy" onClick=${copy}><span aria-live="polite">${result || label}</span><//>`
}

/** A dialog that stands over the page until it is closed, by Escape as well. What has `data-first` gets the focus. */
export function Dialog({ title, children, onClose }) {
    const dialog = useRef()
    const id = useId()
    useEffect(() => {
        const element = dialog.current
        const before = document.activeElement
        element.showModal()
        element.querySelector("[data-first]")?.focus()
        return () => {
            element.close()
            if (before?.isConnected) before.focus()
        }
    }, [])
    return html`
        <dialog ref=${dialog} aria-labelledby=${id} onCancel=${(event) => { event.preventDefault(); onClose() }}
            onClick=${(event) => { if (event.target === dialog.current) onClose() }}>
            <div class="dialog-body">
                <h2 id=${id}>${title}</h2>
                ${children}
            </div>
        </dialog>`
}

/** Ask before something is done. `onConfirm` may be a promise: what it rejects with is shown, and the dialog stays. */
export function Ask({ title, action, danger = false, onConfirm, onClose, children }) {
    const [busy, setBusy] = useState(false)
    const [error, setError] = useState(null)
    const confirm = async () => {
        setBusy(true)
        setError(null)
        try {
            await onConfirm()
            onClose()
        } catch (failure) {
            setError(failure)
            setBusy(false)
        }
    }
    return html`
        <${Dialog} title=${title} onClose=${onClose}>
            <div class="dialog-text">${children}</div>
            ${error && html`<p class="field-error" role="alert">${error.message}</p>`}
            <div class="dialog-actions">
                <${Button} onClick=${onClose} data-first=${danger ? "" : undefined}>Cancel<//>
                <${Button} kind=${danger ? "danger" : "main"} busy=${busy} onClick=${confirm} data-first=${danger ? undefined : ""}>${action}<//>
            </div>
        <//>`
}
