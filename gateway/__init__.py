"""The gateway serves WebSockets and REST; any node answers any request."""
