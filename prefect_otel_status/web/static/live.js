// Keeps the page up to date: the bridge says that something changed, and the content is asked for
// again. Without it the page works too; then it reloads by itself.
"use strict";

const state = document.getElementById("live");
let lostAt = null;
let waiting = false;
let again = false;

function local() {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of document.querySelectorAll("footer time, time.local")) {
    time.textContent = format.format(new Date(time.dateTime));
  }
}

function say(words, kind) {
  if (state.textContent !== words) state.textContent = words;
  state.className = "live " + kind;
}

function focused(main) {
  const at = document.activeElement;
  if (!at || !main.contains(at)) return null;
  const href = at.getAttribute("href");
  if (at.id) return "#" + CSS.escape(at.id);
  return href ? `[href="${CSS.escape(href)}"]` : null;
}

function isTyping(main) {
  const at = document.activeElement;
  return at && main.contains(at) && at.matches("input, select");
}

async function refresh() {
  if (waiting) { again = true; return; }
  waiting = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.getElementById("main");
    const next = page.getElementById("main");
    if (next && !isTyping(main)) {
      const selector = focused(main);
      main.replaceChildren(...next.childNodes);
      document.querySelector("footer").replaceChildren(...page.querySelector("footer").childNodes);
      document.title = page.title;
      if (selector) main.querySelector(selector)?.focus({ preventScroll: true });
      local();
    }
  } catch {
    // The stream says it when the bridge is away.
  } finally {
    waiting = false;
    if (again) { again = false; refresh(); }
  }
}

function listen() {
  const stream = new EventSource("/live");
  stream.onopen = () => {
    if (lostAt) refresh();
    lostAt = null;
    say("live", "on");
  };
  stream.onmessage = () => refresh();
  stream.onerror = () => {
    lostAt ??= new Date();
    say(`Not connected since ${lostAt.toLocaleTimeString()}: is the bridge running?`, "off");
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  };
}

for (const select of document.querySelectorAll(".filter select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}
local();
listen();
