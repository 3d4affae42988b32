// The page: shows what the server tells, as it tells it.

import { chart, redraw } from "./charts.js";
import * as failures from "./failures.js";
import { bytes, cell, count, duration, element, left, show, visible } from "./words.js";

const byId = (id) => document.getElementById(id);
let last = null;
let chosen = null;

function bar(done, of, label) {
  const known = of !== null && of > 0;
  const made = element("progress", { max: known ? of : 1, "aria-label": label });
  if (known) made.value = Math.min(done, of);
  else made.value = done > 0 ? 1 : 0;
  return made;
}

function percent(done, of) {
  if (of === null || of === 0) return "";
  const share = (100 * done) / of;
  return `${share >= 99.95 && done < of ? "99.9" : share.toFixed(share < 100 ? 1 : 0)} %`;
}

function tile(name, value, more, className = "") {
  return element(
    "div",
    { className: `tile ${className}` },
    element("span", { className: "what" }, name),
    element("strong", {}, value),
    element("span", { className: "more" }, more),
  );
}

// Over the last points of the history: what happens now.
function now(history, read) {
  const late = (history ?? []).slice(-15);
  if (late.length < 2) return 0;
  const seconds = (late.at(-1).at - late[0].at) / 1000;
  return seconds > 0 ? (read(late.at(-1)) - read(late[0])) / seconds : 0;
}

function tiles(fleet) {
  const copying = fleet.phases.find((phase) => phase.phase === "copying");
  const active = fleet.phases.filter((phase) => phase.active);
  const { total } = fleet;
  const of = copying.of_objects;
  const objects = of === null ? "" : ` of ${count(of)}`;
  const leading = active.at(-1);
  const requests = total.source_requests + total.destination_requests;
  show(
    byId("tiles"),
    tile("Copied", count(total.copied), `objects${objects}, ${bytes(total.copied_bytes)}`),
    tile(
      "Now",
      `${bytes(now(fleet.history, (point) => point.sent))}/s`,
      `${now(fleet.history, (point) => point.copied).toFixed(1)} objects/s`,
    ),
    tile(
      "Left",
      leading ? left(leading.seconds_left) : active.length === 0 ? "nothing runs" : "unknown",
      leading ? `of ${leading.phase}` : "",
    ),
    tile("Failed", count(total.failed), "objects", total.failed > 0 ? "bad" : ""),
    tile("Spent", `${total.cost.toFixed(2)} ${total.currency}`, `${count(requests)} requests`),
  );
}

function phases(fleet) {
  const one = (phase) => {
    const { objects, of_objects: of, active } = phase;
    const done = of !== null && objects >= of;
    let state = "not begun";
    if (active) state = `left: ${left(phase.seconds_left)}`;
    else if (objects > 0) state = done || of === null ? "done" : "stands still";
    const rate = active
      ? `, ${phase.objects_per_second.toFixed(1)}/s, ${bytes(phase.bytes_per_second)}/s`
      : "";
    return element(
      "div",
      { className: active ? "phase active" : "phase" },
      element("b", {}, phase.phase),
      bar(objects, of, phase.phase),
      element("span", { className: "percent" }, percent(objects, of)),
      element(
        "span",
        { className: "more" },
        `${count(objects)}${of === null ? "" : ` of ${count(of)}`} objects, ${bytes(phase.bytes)}${rate} · ${state}`,
      ),
    );
  };
  show(byId("phases"), ...fleet.phases.map(one));
}

function rows(id, made, otherwise) {
  const table = byId(id);
  const columns = table.tHead.rows[0].cells.length;
  const none = element("td", { colSpan: columns, className: "none" }, otherwise);
  show(table.tBodies[0], ...(made.length > 0 ? made : [element("tr", {}, none)]));
}

function pairs(fleet) {
  const amount = (label, one, className = "") =>
    cell(label, `${count(one.objects)} · ${bytes(one.bytes)}`, `number ${className}`);
  const name = (text) => element("bdi", { className: "name" }, visible(text));
  const row = (pair) => {
    const { listed, to_copy: wanted, copied, failed } = pair;
    const done = copied.objects + failed.objects;
    const progress = element("div", { className: "progress" });
    progress.append(bar(done, wanted.objects || null, pair.source), percent(done, wanted.objects));
    return element(
      "tr",
      {},
      cell("Source", name(pair.source)),
      cell("Destination", name(pair.destination)),
      amount("Listed", listed),
      amount("To copy", wanted),
      amount("Copied", copied),
      amount("Failed", failed, failed.objects > 0 ? "bad" : ""),
      cell("Progress", progress),
    );
  };
  rows("pairs", fleet.pairs.map(row), "no object has been listed or copied yet");
}

function workers(fleet) {
  const row = (worker) => {
    const sign = worker.lives
      ? `${count(worker.silent_seconds)} s ago`
      : `silent for ${duration(worker.silent_seconds)}`;
    const [first] = worker.holds;
    const more = worker.held > 1 ? ` and ${count(worker.held - 1)} more` : "";
    const holds = first
      ? element("span", {}, element("bdi", { className: "name" }, visible(first.object)), ` (${bytes(first.bytes)})${more}`)
      : "-";
    const kind = element("span", { className: "mark" }, worker.kind);
    return element(
      "tr",
      { className: worker.lives ? "" : "gone" },
      cell("Process", element("span", {}, element("bdi", {}, visible(worker.name)), " ", kind)),
      cell("Last sign of life", sign, worker.lives ? "" : "bad"),
      cell("Doing", (worker.lives && worker.phase) || "-"),
      cell("Copied", `${count(worker.copied)} · ${bytes(worker.copied_bytes)}`, "number"),
      cell("Rate", `${bytes(worker.bytes_per_second)}/s`, "number"),
      cell("Failed", count(worker.failed), worker.failed > 0 ? "number bad" : "number"),
      cell("Holds", holds),
    );
  };
  rows("workers", fleet.workers.map(row), "no process is at work");
}

function notices(state, fleet) {
  const said = [];
  const say = (kind, words) => said.push(element("p", { className: `notice ${kind}` }, words));
  if (state.wrong) say("bad", `Not up to date: ${visible(state.wrong)}`);
  if (fleet?.paused) say("warn", `Paused: ${visible(fleet.paused)}. To go on: s3-migration resume`);
  for (const why of fleet?.waiting_for ?? []) say("warn", `Waiting: ${visible(why)}`);
  const limits = Object.entries(fleet?.limits ?? {}).filter(([, limit]) => limit !== null);
  const words = limits.map(([name, limit]) => {
    const [side, kind] = name.split("_");
    return `${side} ${kind === "bandwidth" ? `${bytes(limit)}/s` : `${count(limit)} requests/s`}`;
  });
  if (words.length > 0) say("", `Limits: ${words.join(", ")}`);
  show(byId("notices"), ...said);
}

function choose(state) {
  const names = state.fleets.map((fleet) => fleet.fleet);
  if (!names.includes(chosen)) chosen = names[0] ?? null;
  byId("fleet-choice").hidden = names.length < 2;
  const option = (name) => element("option", { value: name }, visible(name));
  show(byId("fleet"), ...names.map(option));
  byId("fleet").value = chosen;
  return state.fleets.find((fleet) => fleet.fleet === chosen);
}

function draw() {
  const state = last;
  const fleet = choose(state);
  byId("version").textContent = `s3-migration ${state.version}`;
  byId("nothing").hidden = fleet !== undefined || state.age_seconds === null;
  byId("all").hidden = fleet === undefined;
  notices(state, fleet);
  failures.note(state);
  if (!fleet) return;
  document.title = `${count(fleet.total.copied)} copied · s3-migration`;
  tiles(fleet);
  phases(fleet);
  pairs(fleet);
  workers(fleet);
  chart(fleet);
}

function live(kind, words) {
  byId("live").className = `live ${kind}`;
  byId("live").textContent = words;
}

function take(event) {
  last = JSON.parse(event.data);
  draw();
}

function connect() {
  const events = new EventSource("/api/events");
  events.addEventListener("state", (event) => {
    live("good", "live");
    take(event);
  });
  events.addEventListener("ended", (event) => {
    events.close();
    take(event);
    live("", "the process has ended");
    again();
  });
  events.addEventListener("error", () => {
    live("bad", "no connection");
    // The browser connects again by itself, unless it was refused.
    if (events.readyState === EventSource.CLOSED) again();
  });
}

// Until somebody serves here again.
function again() {
  setTimeout(async () => {
    try {
      const answer = await fetch("/api/state");
      if (answer.status === 401) location.reload();
      else connect();
    } catch {
      again();
    }
  }, 3000);
}

byId("fleet").addEventListener("change", (event) => {
  chosen = event.target.value;
  redraw();
  draw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  redraw();
  if (last) draw();
});
let resized;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => last && draw(), 100);
});
failures.start();
connect();
