// A page in React on the real service: strict mode, two components with one table, a channel that changes.
import { StrictMode, useState } from "react"
import { createRoot } from "react-dom/client"
import { connect } from "zmesh-realtime"
import { RealtimeProvider, useBroadcast, useStatus, useTable } from "zmesh-realtime/react"

const facts = new URL(location.href).searchParams
const rt = connect(facts.get("url"), { token: facts.get("token") })

function Orders({ name }) {
  const [items, setItems] = useState([])
  const { subscribed } = useTable("orders", { event: "INSERT", onChange: ({ data }) => setItems((items) => [...items, data.item]) })
  return <ul aria-label={name} data-subscribed={subscribed}>{items.map((item, index) => <li key={index}>{item}</li>)}</ul>
}

function Room({ name }) {
  const [heard, setHeard] = useState([])
  const send = useBroadcast(name, ({ payload }) => setHeard((heard) => [...heard, payload]))
  return (
    <section>
      <button onClick={() => send(`hello ${name}`)}>Send</button>
      <output>{heard.join(", ")}</output>
    </section>
  )
}

function Board() {
  const { state } = useStatus()
  const [room, setRoom] = useState("room:one")
  const [isShown, setShown] = useState(true)
  return (
    <>
      <p>{state}</p>
      {isShown && <Orders name="left" />}
      {isShown && <Orders name="right" />}
      {isShown && <Room name={room} />}
      <button onClick={() => setRoom("room:two")}>Go to the other room</button>
      <button onClick={() => setShown(false)}>Hide</button>
    </>
  )
}

createRoot(document.getElementById("root")).render(
  <StrictMode>
    <RealtimeProvider client={rt}>
      <Board />
    </RealtimeProvider>
  </StrictMode>,
)
