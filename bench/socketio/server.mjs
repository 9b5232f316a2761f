// Socket.IO with its Redis adapter: `node server.mjs PORT REDIS_URL ROOM`. Every client joins the room.

import { createServer } from "node:http"
import { createAdapter } from "@socket.io/redis-adapter"
import { createClient } from "redis"
import { Server } from "socket.io"

const [port, url, room] = process.argv.slice(2)
const publisher = createClient({ url })
const subscriber = publisher.duplicate()
await Promise.all([publisher.connect(), subscriber.connect()])

const http = createServer()
const io = new Server(http, {
    adapter: createAdapter(publisher, subscriber),
    transports: ["websocket"],
    pingInterval: 3_600_000, // the clients answer no ping
})
io.on("connection", (socket) => socket.join(room))
http.listen(Number(port), "127.0.0.1", () => console.log("ready"))
