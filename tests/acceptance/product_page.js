const ws = new WebSocket(
"wss://api.zmesh.in/projects/{project_id}/realtime/ws?token=YOUR_JWT"
);
ws.onopen = () => {
console.log("Connected to zMesh Realtime");
// Subscribe to table changes
ws.send(JSON.stringify({
type: "subscribe",
channel: "table:users"
}));
// Subscribe to specific events
ws.send(JSON.stringify({
type: "subscribe",
channel: "table:orders:INSERT"
}));
};
ws.onmessage = (event) => {
const msg = JSON.parse(event.data);
if (msg.type === "realtime") {
console.log(msg.table, msg.event, msg.data);
// "users", "INSERT", { id: "...", name: "Rahul", ... }
}
};
