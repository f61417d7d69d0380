// Keeps the page up to date: the bridge says that something changed, and the content is asked for
// again. Without it the page works too; then it reloads by itself.
"use strict";

const SELDOM = 15_000; // ages go on, and a server that is away makes no changes
const REST = 4; // of the time, in times of what an update took: many rows must not keep a browser busy

const state = document.getElementById("live");
let lostAt = null;
let stream = null;
let isBusy = false;
let isDue = false;

function times(root) {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time")) {
    const local = format.format(new Date(time.dateTime));
    if (time.matches("footer time, .local")) time.textContent = local;
    else time.title = `${local} (${time.title})`;
  }
}

// One stop for the tab key at each row of bars; the arrow keys lead from bar to bar.
function rows(root) {
  for (const bars of root.querySelectorAll(".runs")) {
    const links = [...bars.querySelectorAll("a")];
    for (const link of links) link.tabIndex = link === links.at(-1) ? 0 : -1;
  }
}

function onKey(event) {
  const bars = event.target.closest?.(".runs");
  if (!bars || event.altKey || event.ctrlKey || event.metaKey) return;
  const links = [...bars.querySelectorAll("a")];
  const at = links.indexOf(event.target.closest("a"));
  const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: links.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  links[to]?.focus();
}

function say(words, kind) {
  if (state.textContent !== words) state.textContent = words;
  state.className = `live ${kind}`;
}

function lost() {
  lostAt ??= new Date();
  say(
    `Not connected since ${lostAt.toLocaleTimeString()}: is the bridge running? ` +
      "What is shown is as it was then; this page tries again by itself.",
    "off",
  );
}

function found(words) {
  lostAt = null;
  say(words, "on");
}

function focused(main) {
  const at = document.activeElement;
  if (!at || !main.contains(at)) return null;
  const href = at.getAttribute("href");
  return href ? `[href="${CSS.escape(href)}"]` : null;
}

// What somebody marks, or types into, stays as it is.
function isMarked(main) {
  const marked = document.getSelection();
  return marked && !marked.isCollapsed && main.contains(marked.anchorNode);
}

// What stays in its place: the form may be in use, and the summary is read aloud when it changes.
function replace(main, next) {
  const stay = new Map();
  for (const id of ["summary", "filter"]) {
    const [old, its] = [main, next].map((where) => where.querySelector(`#${id}`));
    if (!old || !its) {
      main.replaceChildren(...next.childNodes);
      return;
    }
    stay.set(its, old);
    if (id === "summary" && old.innerHTML !== its.innerHTML) old.innerHTML = its.innerHTML;
  }
  const staying = new Set(stay.values());
  for (const node of [...main.childNodes]) if (!staying.has(node)) node.remove();
  let before = main.firstChild;
  for (const node of [...next.childNodes]) {
    if (stay.has(node)) before = stay.get(node).nextSibling;
    else main.insertBefore(node, before);
  }
}

function show(page) {
  const main = document.getElementById("main");
  const next = page.getElementById("main");
  if (!next || isMarked(main)) return;
  const selector = focused(main);
  times(page);
  rows(next);
  replace(main, next);
  document.querySelector("footer").replaceChildren(...page.querySelector("footer").childNodes);
  document.title = page.title;
  if (selector) main.querySelector(selector)?.focus({ preventScroll: true });
}

async function load() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
  if (!answer.ok) throw new Error(`${answer.status}`);
  show(new DOMParser().parseFromString(await answer.text(), "text/html"));
}

async function refresh() {
  isDue = true;
  if (isBusy || document.hidden) return;
  isBusy = true;
  isDue = false;
  const began = performance.now();
  try {
    await load();
    if (stream.readyState === EventSource.OPEN) found("live");
    else if (stream.readyState === EventSource.CLOSED) found("updated every 15 seconds");
  } catch {
    lost();
  }
  setTimeout(() => {
    isBusy = false;
    if (isDue) refresh();
  }, REST * (performance.now() - began));
}

function listen() {
  stream = new EventSource("/live");
  stream.onopen = () => {
    if (lostAt) refresh();
    found("live");
  };
  stream.onmessage = refresh;
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) {
      lost(); // and it connects again by itself
      return;
    }
    refresh(); // too many listen, or the bridge is away: that shows then
    setTimeout(listen, SELDOM);
  };
}

document.addEventListener("change", ({ target }) => {
  if (target.matches(".filter select")) target.form.requestSubmit();
});
document.addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", () => isDue && refresh());
setInterval(refresh, SELDOM);
times(document);
rows(document);
listen();
