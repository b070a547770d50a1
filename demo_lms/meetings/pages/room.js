// Enters the session with the token in the address, then asks every second who is there.
"use strict";

const address = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);
let connection = "";

// The token lets people in: out of the address with it, and kept for when the page is loaded again.
const token = address.get("access_token") || sessionStorage.getItem("token") || "";
sessionStorage.setItem("token", token);
history.replaceState(null, "", "/");

function say(words) {
  element("notice").textContent = words;
  element("notice").hidden = false;
}

function closed(words) {
  connection = "";
  element("session").hidden = true;
  element("recording").hidden = true;
  say(words);
}

async function call(name, body) {
  const answer = await fetch(`/sandbox/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ connection, ...body }),
  });
  return { status: answer.status, ...(await answer.json()) };
}

function show(state) {
  element("title").textContent = state.title;
  document.title = `${state.title}: sandbox session`;
  element("welcome").textContent = state.welcome;
  element("welcome").hidden = !state.welcome;
  element("count").textContent = state.people.length;
  element("recording").hidden = !state.is_recording;
  element("record").hidden = !state.may_record;
  element("record").textContent = state.is_recording ? "Stop recording" : "Start recording";
  element("record").dataset.on = state.is_recording ? "" : "1";
  element("end").hidden = !state.is_admin;
  const rows = state.people.map((one) => {
    const row = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = one.name;
    const role = document.createElement("small");
    role.textContent = [one.is_admin ? "moderator" : "", one.is_you ? "you" : ""].filter(Boolean).join(", ");
    row.append(name, role);
    return row;
  });
  const list = element("people");
  if (list.textContent !== rows.map((row) => row.textContent).join("")) list.replaceChildren(...rows);
  element("session").hidden = false;
}

function design() {
  let asked = {};
  try {
    asked = JSON.parse(address.get("custom_design") || "{}");
  } catch {
    say("The custom design in the address is not JSON: the usual colours are shown.");
  }
  const colour = /^#(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i;
  if (colour.test(asked.primary_color)) document.documentElement.style.setProperty("--brand", asked.primary_color);
  if (colour.test(asked.background_color)) document.documentElement.style.setProperty("--page", asked.background_color);
}

async function look() {
  if (!connection) return;
  try {
    const state = await call("state");
    if (state.status === 200) show(state);
    else closed(state.error);
  } catch {
    say("The sandbox server does not answer. Trying again…");
  }
  setTimeout(look, 1000);
}

async function enter() {
  design();
  const state = await call("enter", { token });
  if (state.status !== 200) return closed(state.error);
  connection = state.connection;
  show(state);
  setTimeout(look, 1000);
}

element("record").addEventListener("click", () => call("record", { on: Boolean(element("record").dataset.on) }));
element("leave").addEventListener("click", async () => {
  await call("leave");
  closed("You left the session. You can close this window.");
});
element("end").addEventListener("click", async () => {
  if (!confirm("End the session for everybody?")) return;
  await call("end");
  closed("The session has ended. You can close this window.");
});
addEventListener("pagehide", () => {
  if (connection) navigator.sendBeacon("/sandbox/leave", JSON.stringify({ connection }));
});
enter();
