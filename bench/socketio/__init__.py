"""Socket.IO with its Redis adapter, as npm has it, beside a gateway: `make bench ARGS="--only socketio"`."""
