// Numbers and names for people.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

export function bytes(number) {
  let unit = 0;
  let value = number;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit === 0 || value >= 100 || Number.isInteger(value) ? 0 : 1;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

export function count(number) {
  return Math.round(number).toLocaleString("en-US");
}

export function short(number) {
  return number.toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 1 });
}

export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const parts = [
    ["d", Math.floor(seconds / 86400)],
    ["h", Math.floor(seconds / 3600) % 24],
    ["min", Math.floor(seconds / 60) % 60],
    ["s", Math.floor(seconds) % 60],
  ];
  const first = parts.findIndex(([, value]) => value > 0);
  return parts
    .slice(first, first + 2)
    .filter(([, value]) => value > 0)
    .map(([unit, value]) => `${value} ${unit}`)
    .join(" ");
}

export function left(range) {
  if (!range) return "unknown";
  const [least, most] = range;
  if (most === 0) return "nothing";
  return least === most ? `about ${duration(least)}` : `${duration(least)} to ${duration(most)}`;
}

export function time(seconds) {
  return new Date(seconds * 1000).toLocaleString("sv-SE");
}

// Names come from outside: what cannot be seen, or changes the order of what follows, is spelled out.
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;

export function visible(name) {
  return name.replace(UNSEEN, (one) => `\\u{${one.codePointAt(0).toString(16)}}`);
}

// Elements are made of text alone, never of markup.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A cell of a table; `label` names it where the table is shown as cards.
export function cell(label, content, className = "") {
  const made = element("td", { className }, content);
  made.dataset.label = label;
  return made;
}

// Replaces what is shown only if it changes, so that a selection and the focus stay.
export function show(place, ...children) {
  const now = element("div", {}, ...children);
  if (now.isEqualNode(place.shown ?? null)) return;
  place.shown = now.cloneNode(true);
  place.replaceChildren(...now.childNodes);
}
