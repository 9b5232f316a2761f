// Follows a table in a page, or in a worker that the page starts; `events` of the page is all that was heard.
const facts = new URL(location.href).searchParams
const inPage = typeof document == "object"

if (inPage) {
  globalThis.events = []
  for (const type of ["freeze", "resume"]) document.addEventListener(type, () => events.push({ kind: type }))
  for (const type of ["offline", "online"]) addEventListener(type, () => events.push({ kind: type }))
  addEventListener("pageshow", ({ persisted }) => events.push({ kind: "pageshow", value: persisted }))
}

const tell = (kind, value) => (inPage ? events.push({ kind, value }) : postMessage({ kind, value }))

if (inPage && facts.has("worker")) {
  const worker = new Worker("tab.mjs" + location.search, { type: "module" })
  worker.onmessage = ({ data }) => events.push(data)
  worker.onerror = ({ message }) => events.push({ kind: "failed", value: message })
} else {
  const { connect } = await import(facts.get("client"))
  const rt = connect(facts.get("url"), { token: facts.get("token") })
  rt.on("status", (status) => tell("status", status))
  const orders = rt.table("orders", { event: "INSERT" })
  orders.on("state", ({ subscribed }) => tell("state", subscribed))
  orders.on("gap", ({ reason }) => tell("gap", reason))
  orders.on("change", ({ data }) => tell("change", data.id))
}
