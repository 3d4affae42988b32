// Failures, a page at a time: the server searches, this page never holds more than one page.

import { bytes, cell, count, element, show, time, visible } from "./words.js";

const byId = (id) => document.getElementById(id);
// Failures on a full page.
const PAGE = 25;
// Where each page began; the last one is shown.
let begins = [""];
let asked = { search: "", reason: "" };
let reasons = null;
let turn = 0;

async function page(after) {
  const query = new URLSearchParams({ ...asked, after });
  const answer = await fetch(`/api/failures?${query}`);
  if (answer.status === 401) location.reload();
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

// A search looks at a part of the failures at a time: goes on until the page is full.
async function load() {
  turn += 1;
  const mine = turn;
  let after = begins.at(-1);
  let looked = 0;
  const all = [];
  byId("failures-section").setAttribute("aria-busy", "true");
  try {
    for (;;) {
      const found = await page(after);
      if (mine !== turn) return;
      looked += found.looked;
      all.push(...found.failures);
      const whole = all.length >= PAGE || !found.next;
      draw(all, found.next, whole);
      if (whole) return;
      byId("found").textContent = `searching: ${count(looked)} looked at`;
      after = found.next;
    }
  } catch (error) {
    if (mine === turn) byId("found").textContent = `The failures cannot be read: ${error.message}`;
  } finally {
    if (mine === turn) byId("failures-section").setAttribute("aria-busy", "false");
  }
}

function line(failure) {
  const name = (text) => element("bdi", { className: "name" }, visible(text));
  const object = failure.object === null ? "a message that is not a job" : name(failure.object);
  const to = failure.destination === null ? "" : `to ${visible(failure.destination)}`;
  const about = element("div", { title: to }, object);
  if (failure.redriven) about.append(" ", element("span", { className: "mark" }, "sent again"));
  return element(
    "tr",
    {},
    cell("Object", about),
    cell("Reason", failure.reason),
    cell("Error", element("bdi", {}, visible(failure.error)), "error"),
    cell("Size", bytes(failure.size), "number"),
    cell("Tries", count(failure.tries), "number"),
    cell("When", failure.ended === null ? "unknown" : time(failure.ended)),
  );
}

function draw(all, next, whole) {
  byId("failures").hidden = all.length === 0;
  byId("failures").tBodies[0].replaceChildren(...all.map(line));
  const filtered = asked.search !== "" || asked.reason !== "";
  const number = begins.length;
  const nothing = filtered ? "No failure matches." : "Nothing has failed.";
  byId("found").textContent = whole && all.length === 0 && number === 1 ? nothing : "";
  byId("at").textContent = all.length > 0 || number > 1 ? `Page ${count(number)}` : "";
  byId("next").disabled = !next || !whole;
  byId("next").dataset.after = next ?? "";
  byId("before").disabled = byId("first").disabled = number === 1;
  document.querySelector("nav.pages").hidden = number === 1 && !next;
}

function ask(change) {
  asked = { ...asked, ...change };
  begins = [""];
  drawReasons();
  return load();
}

function drawReasons() {
  const all = reasons?.by_reason ?? [];
  const total = all.reduce((sum, one) => sum + one.objects, 0);
  const button = (reason, words, objects) => {
    const pressed = String(asked.reason === reason);
    const made = element("button", { type: "button", "aria-pressed": pressed }, words, " ");
    made.append(element("b", {}, count(objects)));
    made.dataset.reason = reason;
    return made;
  };
  const buttons = all.map((one) => button(one.reason, one.reason, one.objects));
  if (all.length > 0) buttons.unshift(button("", "all", total));
  show(byId("reasons"), ...buttons);
  const chosen = all.find((one) => one.reason === asked.reason);
  byId("cure").hidden = !chosen;
  byId("cure").textContent = chosen ? `What cures it: ${visible(chosen.cure)}` : "";
}

// What the server says of all failures.
export function note(state) {
  const before = JSON.stringify(reasons?.by_reason);
  reasons = state.reasons;
  drawReasons();
  // The first page follows what happens; a later one stays while somebody reads it.
  if (before !== JSON.stringify(reasons?.by_reason) && begins.length === 1) load();
}

export function start() {
  byId("reasons").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) ask({ reason: button.dataset.reason });
  });
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask({ search: byId("search").value.trim() });
  });
  let pause;
  byId("search").addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => ask({ search: byId("search").value.trim() }), 400);
  });
  byId("next").addEventListener("click", () => {
    begins.push(byId("next").dataset.after);
    load();
  });
  byId("before").addEventListener("click", () => {
    begins.pop();
    load();
  });
  byId("first").addEventListener("click", () => {
    begins = [""];
    load();
  });
  load();
}
