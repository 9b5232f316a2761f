"""A client's WebSocket, from its handshake to its close."""
