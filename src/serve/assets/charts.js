// The charts: counts over time as rates, and how sizes and durations are spread.

import { bytes, duration, short } from "./words.js";

const HEIGHT = 180;
const DAY = 86400;
// Steps of an axis of bytes: 1, 2, 4, 8 ... of a unit, not of a thousand.
const BINARY = Array.from({ length: 62 }, (_, power) => 2 ** power);
const charts = new Map();

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axes(values) {
  const [stroke, grid] = [colour("--muted"), colour("--line")];
  const font = "12px system-ui, sans-serif";
  const one = { stroke, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 } };
  return [
    { ...one, space: 70, size: 30, values: (_, ticks) => ticks.map((at) => clock(at, ticks)) },
    { ...one, size: 78, values: (_, ticks) => ticks.map(values) },
  ];
}

// A time of the day, or the day if the axis is long.
function clock(at, ticks) {
  const span = ticks.at(-1) - ticks[0];
  const form = { hour: "2-digit", minute: "2-digit" };
  if (span > DAY) Object.assign(form, { month: "2-digit", day: "2-digit" });
  else if (span < 300) form.second = "2-digit";
  return new Date(at * 1000).toLocaleString("sv-SE", form);
}

function draw(id, make, data) {
  const place = document.getElementById(id);
  const width = place.clientWidth;
  const known = charts.get(id);
  if (known && known.width === width) {
    known.chart.setData(data);
    return;
  }
  known?.chart.destroy();
  const chart = new uPlot({ width, height: HEIGHT, ...make() }, data, place);
  charts.set(id, { chart, width });
}

// The colours of the other theme, and the width of another screen.
export function redraw() {
  for (const { chart } of charts.values()) chart.destroy();
  charts.clear();
}

// A rate for each point, from the one before.
function rates(history, read) {
  const of = history.map((point, at) => {
    if (at === 0) return null;
    const before = history[at - 1];
    const seconds = (point.at - before.at) / 1000;
    return seconds > 0 ? (read(point) - read(before)) / seconds : null;
  });
  of[0] = of[1] ?? 0;
  return of;
}

function lines(id, history, series, values, incrs) {
  const [across, up] = axes(values);
  const make = () => ({
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    scales: { y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] } },
    axes: [across, incrs ? { ...up, incrs } : up],
    series: [
      {},
      ...series.map(({ stroke, fill }) => ({
        stroke: colour(stroke),
        fill: fill ? colour(fill) : undefined,
        width: 2,
        points: { show: false },
      })),
    ],
  });
  const times = history.map((point) => point.at / 1000);
  draw(id, make, [times, ...series.map(({ read }) => rates(history, read))]);
}

function bars(id, classes, words) {
  const make = () => {
    const [across, up] = axes((value) => (Number.isInteger(value) ? short(value) : ""));
    const label = (value) => {
      const one = classes[value];
      if (!one) return "";
      return one.up_to === null ? `> ${words(classes[value - 1].up_to)}` : `≤ ${words(one.up_to)}`;
    };
    return {
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: [-0.6, classes.length - 0.4] },
        y: { range: (_, least, most) => [0, Math.max(most * 1.1, 1)] },
      },
      axes: [
        {
          ...across,
          size: 66,
          rotate: 45,
          gap: 2,
          grid: { show: false },
          splits: () => classes.map((_, at) => at),
          values: (_, ticks) => ticks.map(label),
        },
        { ...up, size: 56 },
      ],
      series: [
        {},
        {
          stroke: colour("--one"),
          fill: colour("--one-soft"),
          width: 1,
          paths: uPlot.paths.bars({ size: [0.7, 60] }),
          points: { show: false },
        },
      ],
    };
  };
  draw(id, make, [classes.map((_, at) => at), classes.map((one) => one.objects)]);
}

export function chart(fleet) {
  const history = fleet.history ?? [];
  if (history.length > 1) {
    const sent = { stroke: "--one", fill: "--one-soft", read: (point) => point.sent };
    const read = { stroke: "--two", read: (point) => point.read };
    lines("throughput", history, [sent, read], (value) => `${bytes(value)}/s`, BINARY);
    const copied = { stroke: "--one", fill: "--one-soft", read: (point) => point.copied };
    const failed = { stroke: "--bad", read: (point) => point.failed };
    lines("rate", history, [copied, failed], short);
  }
  bars("sizes", fleet.sizes, (value) => (value === 0 ? "0" : bytes(value)));
  bars("seconds", fleet.seconds, duration);
}
