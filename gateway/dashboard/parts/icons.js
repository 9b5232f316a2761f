// A few icons of our own: strokes on a grid of 20, in the colour of the text around them.
import { html } from "../vendor/preact.js"

const PATHS = {
    overview: "M3 11h3l2-6 4 11 2-5h3",
    tables: "M3 4h14v12H3zM3 8h14M9 8v8",
    live: "M10 10h.01M6.8 13.2a4.5 4.5 0 0 1 0-6.4M13.2 6.8a4.5 4.5 0 0 1 0 6.4M4.3 15.7a8 8 0 0 1 0-11.4M15.7 4.3a8 8 0 0 1 0 11.4",
    presence: "M7.5 9.5a2.7 2.7 0 1 0 0-5.4 2.7 2.7 0 0 0 0 5.4zM2.5 16c.4-2.8 2.4-4.2 5-4.2s4.600 1.400 5 4.200M13 4.300a2.600 2.600 0 0 1 0 5M14.500 12c1.700.500 2.800 1.900 3 4",
    broadcast: "M3 8.500v3h3l6 4v-11l-6 4zM15 7.500a3.500 3.500 0 0 1 0 5",
    connections: "M4 6h12M4 14h12M7 4v4M13 12v4",
    settings: "M4 5h6M14 5h2M4 10h2M10 10h6M4 15h8M16 15h0M12 3.500v3M8 8.500v3M14 13.500v3",
    node: "M4 4h12v5H4zM4 11h12v5H4zM7 6.500h.01M7 13.500h.01",
    bell: "M5 14h10l-1.200-2V8.500a3.800 3.800 0 0 0-7.600 0V12zM8.500 16.500h3",
    good: "M4.500 10.500l3.500 3.500 7.500-8",
    warning: "M10 3.500l7.500 13h-15zM10 8.500v3.500M10 14.500h.01",
    error: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM7.500 7.500l5 5M12.500 7.500l-5 5",
    info: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 9.500v4M10 6.500h.01",
    menu: "M3 5.500h14M3 10h14M3 14.500h14",
    close: "M5 5l10 10M15 5L5 15",
    out: "M8 4H4v12h4M12 6.500l3.500 3.500-3.500 3.500M15 10H8",
    copy: "M7 7h9v9H7zM4 13V4h9",
    search: "M9 3.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11zM13 13l4 4",
    back: "M12 4.500L6.500 10l5.500 5.500",
    next: "M8 4.500l5.500 5.500L8 15.500",
    key: "M6.500 16a3.500 3.500 0 1 0 0-7 3.500 3.500 0 0 0 0 7zM9 10l7-7M13 6l2.500 2.500",
    empty: "M3 11l2.500-7h9l2.500 7v5H3zM3 11h4l1 2h4l1-2h4",
    refresh: "M15.500 8A6 6 0 1 0 16 11.500M16 4v4h-4",
    pause: "M7 5v10M13 5v10",
    play: "M6.500 4.500v11l9-5.500z",
    download: "M10 3.500v9M6.500 9l3.500 3.500L13.500 9M4 16.500h12",
}

export function Icon({ name }) {
    return html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`
}
