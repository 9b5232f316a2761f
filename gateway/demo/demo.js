import { connect } from "/realtime.js";

const $ = (id) => document.getElementById(id);
const add = (parent, tag, text) =>
  Object.assign(parent.appendChild(document.createElement(tag)), { textContent: text });
const me = (sessionStorage.me ??= "guest-" + Math.random().toString(36).slice(2, 6));
$("me").textContent = me;

const rt = connect(location.origin + "/projects/demo", {
  token: async ({ signal }) => (await fetch("/demo/token?sub=" + me, { signal })).text(),
});
rt.on("status", ({ state }) => ($("status").textContent = state));

// Chat: broadcasts on a channel, and who is present on it.
const room = rt.channel("room:demo");
const say = (text) => add($("chat"), "li", text);
room.on("broadcast", ({ payload, sender }) => say(`${sender.user_id}: ${payload.text}`));
$("form").onsubmit = (event) => {
  event.preventDefault();
  room.broadcast({ text: $("text").value }).catch((error) => say(error.message));
  $("text").value = "";
};
const people = () => ($("people").textContent = room.presence.list.map((one) => one.user_id).join(", "));
for (const event of ["sync", "join", "leave"]) room.presence.on(event, people);
room.presence.set({});

// Cursors: at most twenty broadcasts a second to all others.
const cursors = rt.channel("cursors:demo"), arrows = new Map();
let sent = 0;
addEventListener("pointermove", ({ clientX, clientY, timeStamp: now }) => {
  if (now - sent < 50 || rt.status.state !== "open") return;
  sent = now;
  cursors.broadcast({ x: clientX / innerWidth, y: clientY / innerHeight }, { self: false }).catch(() => {});
});
cursors.on("broadcast", ({ payload, sender: { connection_id: id, user_id } }) => {
  if (!arrows.has(id)) arrows.set(id, add(document.body, "i", user_id));
  Object.assign(arrows.get(id).style, { left: payload.x * 100 + "%", top: payload.y * 100 + "%" });
});
room.presence.on("leave", (gone) => gone.forEach((one) => arrows.get(one.connection_id)?.remove()));

// Orders: every change of the table, as it happens.
rt.table("orders").on("change", ({ event, data }) => {
  const row = $("order" + data.id) ?? $("orders").insertRow(0);
  row.replaceChildren();
  Object.assign(row, { id: "order" + data.id, className: event });
  for (const value of [data.id, data.item, data.amount, data.status]) add(row, "td", value);
  $("orders").rows[50]?.remove();
});
