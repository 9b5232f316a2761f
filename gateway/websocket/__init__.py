"""The WebSocket itself: frames as they come from a client, before anybody asks what they mean."""
