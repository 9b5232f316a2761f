// Emits one message at a rate: `node emitter.mjs REDIS_URL ROOM MESSAGE`.
// A line on stdin, `RATE SECONDS`, is answered with `done` when all of its messages are in Redis.

import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { Emitter } from "@socket.io/redis-emitter"
import { createClient } from "redis"

const [url, room, message] = process.argv.slice(2)
const redis = createClient({ url })
await redis.connect()
const clients = new Emitter(redis).to(room)
const payload = JSON.parse(message)

console.log("ready")
for await (const line of createInterface({ input: process.stdin })) {
    const [rate, seconds] = line.split(" ").map(Number)
    const started = performance.now()
    for (let sent = 1; sent <= rate * seconds; sent++) {
        clients.emit("realtime", payload)
        const ahead = started + (sent / rate) * 1000 - performance.now()
        if (ahead > 0) await sleep(ahead)
    }
    await redis.ping() // answered after all that was published before
    console.log("done")
}
process.exit()
