"""Serves WebSockets and REST; any node answers any request."""
