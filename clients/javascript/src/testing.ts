// For tests of applications: a server in memory, and a clock that the test moves. The client's own tests use them.
//
//     const clock = virtualClock()
//     const server = fakeServer({ clock })
//     const rt = connect("https://host/projects/demo", { token: "any", WebSocket: server.WebSocket, runtime: clock.runtime })

export { VirtualClock, virtualClock, type VirtualClockOptions } from "./testing/clock.js"
export { type FakeChange, FakeServer, fakeServer, type FakeServerOptions } from "./testing/server.js"
export type { FakeConnection, FakeWebSocketClass } from "./testing/socket.js"
