// Why a connection ended, in words: what happened, and what to do about it. By close code, and by reason where a
// code has several.
const BY_REASON = {
    node_lost: ["Its node was lost", "The node ended without a farewell, or was cut off from Redis. See how its process ended."],
    token_expired: ["Its token ran out", "The client sent no newer one in time. Its application should send auth before expires_at."],
    unauthorized: ["Its token was refused", "See to the key that signed it, to its project and to its audience."],
    rate_limited: ["It sent too much, again and again", "The client ignored rate_limited ten times in a row. See messages_per_second."],
    too_many_connections: ["The limit of connections was reached", "See max_connections, and the limits of a user and of an address."],
    slow_consumer: ["It read too slowly", "More waited for it than max_queue_bytes, for longer than slow_consumer_seconds."],
    disconnected: ["An administrator disconnected it", "It does not come back by itself."],
    internal: ["Something went wrong on the node", "The log of the node has the error."],
}

const BY_CODE = {
    1000: ["The client closed it", "Nothing to do."],
    1001: ["Its node was told to stop", "It was told before, and had time to go elsewhere. Or the client left its page."],
    1002: ["It broke the WebSocket protocol", "See what stands between the client and the node."],
    1003: ["It sent a binary frame", "Messages are text frames of JSON."],
    1005: ["The client closed it", "Without a code, as a browser does. Nothing to do."],
    1006: ["The connection broke", "A network that changed, a laptop that sleeps, a tab that was killed. Always after the same time: the timeout of a proxy."],
    1007: ["It sent text that is not UTF-8", "See what stands between the client and the node."],
    1009: ["It sent a message that was too large", "See max_message_bytes."],
    1011: BY_REASON.internal,
    1012: ["An administrator asked it to reconnect", "It comes back by itself."],
    4401: ["Its token was refused or ran out", "Its application should fetch a newer one."],
    4403: ["It came from an origin that is not allowed", "Add the origin to allowed_origins, if it is yours."],
    4404: ["There is no such project", "The project was removed, or this node does not know it yet."],
    4408: ["Nothing was heard of it for two heartbeats", "A phone that sleeps or a network that broke. For all clients: something in between drops pings."],
    4410: BY_REASON.disconnected,
    4413: BY_REASON.slow_consumer,
    4429: ["It connected or sent too often", "See the limits of the project."],
    4503: ["The node could not serve the project", "See whether Redis and the database are there."],
}

export function closeInWords(code, reason) {
    const known = (reason !== null && Object.hasOwn(BY_REASON, reason) && BY_REASON[reason]) || BY_CODE[code]
    const [what, advice] = known ?? ["The client closed it", "With a code of its own, which only its application can explain."]
    return { what, advice }
}

/** Codes that say that something is not as it should be. */
export const isTrouble = (code) => code !== null && ![1000, 1001, 1005, 1012].includes(code)
