"use strict";
/** Draws the panels again for a range of steps, and shows the numbers of the step that is pointed at.
 * The pictures that the page comes with are those of all steps (chart.py). */
const DATA = JSON.parse(document.getElementById("curves").textContent);
const { box, ticks: TICKS, grids } = DATA;
const LEFT = box.left, RIGHT = box.width - box.right, BOTTOM = box.height - box.bottom, TOP = box.top;
const SLACK = 1e-9, SHORTEST_DRAG = 6;
const FIRST = Math.min(...grids.map((steps) => steps[0])), LAST = Math.max(...grids.map((steps) => steps.at(-1)));
const area = document.querySelector(".curves"), tools = document.querySelector(".tools");
const [fromField, toField] = tools.querySelectorAll("input");
let from = FIRST, to = LAST, cursor = null;

const place = (axis, value) => axis.start + (value - axis.low) / (axis.high - axis.low) * (axis.end - axis.start);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const horizontal = () => ({ low: from - (from === to), high: to + (from === to), start: LEFT, end: RIGHT });

/** A number with four significant digits; null is a value that is not finite. */
function number(value) {
  if (value === null) return "not a number";
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString("en");
  const four = Number(value.toPrecision(4)) + 0;
  return four.toLocaleString("en", { maximumSignificantDigits: 4, useGrouping: false });
}

/** Multiples of 1, 2 or 5 times a power of ten. */
function ticks(axis, about, least = 0) {
  const rough = Math.max((axis.high - axis.low) / about, least), power = 10 ** Math.floor(Math.log10(rough));
  const distance = [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - SLACK)) * power, values = [];
  const last = Math.floor(axis.high / distance + SLACK);
  for (let n = Math.ceil(axis.low / distance - SLACK); n <= last; n += 1) values.push(n * distance);
  return values;
}

/** Index of the last step that is not beyond a step; -1 before the first. */
function indexAt(steps, step) {
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

class Curve {
  constructor({ grid, values }, entry) {
    this.steps = grids[grid];
    this.values = values;
    this.entry = entry;
    this.output = entry.querySelector("output");
    this.look = entry.className;
    this.shown = true;
  }

  /** Means over bins of steps within the range; a bin without a finite value is a gap. */
  points() {
    const width = Math.ceil((to - from + 1) / DATA.points), bins = [];
    let bin = null;
    for (let i = indexAt(this.steps, from - 1) + 1; i < this.steps.length && this.steps[i] <= to; i += 1) {
      const group = Math.floor((this.steps[i] - from) / width), value = this.values[i];
      if (bin?.group !== group) {
        bin = { group, steps: 0, members: 0, sum: 0, finite: 0, low: Infinity, high: -Infinity };
        bins.push(bin);
      }
      bin.steps += this.steps[i];
      bin.members += 1;
      if (value === null) continue;
      bin.sum += value;
      bin.finite += 1;
      bin.low = Math.min(bin.low, value);
      bin.high = Math.max(bin.high, value);
    }
    return bins.map((one) => ({ ...one, step: one.steps / one.members, mean: one.sum / one.finite }));
  }

  paths(points, x, y) {
    const there = points.filter((point) => point.finite);
    const at = (point, value) => `${place(x, point.step).toFixed(1)} ${place(y, value).toFixed(1)}`;
    const line = points.map((point, i) => point.finite && (points[i - 1]?.finite ? "L" : "M") + at(point, point.mean));
    const made = [element("path", { class: `line ${this.look}`, d: line.filter(Boolean).join("") })];
    if (there.length <= DATA.few) {
      const dots = there.map((point) => `M${at(point, point.mean)}h0`).join("");
      made.push(element("path", { class: `dots ${this.look}`, d: dots }));
    }
    if (there.some((point) => point.high > point.low)) {
      const upper = there.map((point) => at(point, point.high));
      const lower = there.map((point) => at(point, point.low)).reverse();
      made.unshift(element("path", { class: `band ${this.look}`, d: `M${[...upper, ...lower].join("L")}Z` }));
    }
    return made;
  }

  /** Show the number at a step; between two of them the earlier one, with its step. */
  tell(step) {
    const index = indexAt(this.steps, step ?? to);
    const known = index >= 0 && this.steps[index] >= from;
    const late = known && step !== null && this.steps[index] !== step;
    this.output.textContent = known ? number(this.values[index]) + (late ? ` (${this.steps[index]})` : "") : "";
  }
}

class Panel {
  constructor(figure, curves) {
    this.svg = figure.querySelector("svg.panel");
    const entries = figure.querySelectorAll(".names button");
    this.curves = curves.map((curve, index) => new Curve(curve, entries[index]));
    this.curves.forEach((curve) => curve.entry.addEventListener("click", () => this.toggle(curve)));
    this.mark = element("path", { class: "mark", d: "" });
    this.chosen = element("rect", { class: "chosen", y: TOP, height: BOTTOM - TOP, width: 0 });
    this.svg.append(this.mark, this.chosen);
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointercancel", () => this.choose(null));
    this.svg.addEventListener("pointerleave", () => { if (!this.start) point(null); });
    this.svg.addEventListener("dblclick", () => zoom(FIRST, LAST));
  }

  toggle(curve) {
    curve.shown = !curve.shown;
    curve.entry.setAttribute("aria-pressed", curve.shown);
    this.draw();
  }

  draw() {
    const shown = this.curves.filter((curve) => curve.shown).map((curve) => [curve, curve.points()]);
    const x = horizontal(), y = vertical(shown.flatMap(([, points]) => points));
    const lines = ticks(y, TICKS.y).flatMap((value) => {
      const at = place(y, value).toFixed(1);
      return [
        element("path", { class: "rule", d: `M${LEFT} ${at}H${RIGHT}` }),
        element("text", { x: LEFT - 6, y: at, class: "y" }, number(value)),
      ];
    });
    const labels = ticks(x, TICKS.x, 1).map((value) =>
      element("text", { x: place(x, value).toFixed(1), y: box.height - 5, class: "x" }, number(value)));
    const breaks = DATA.breaks.filter((step) => from <= step && step < to).map((step) =>
      element("path", { class: "break", d: `M${place(x, step + 0.5).toFixed(1)} ${TOP}V${BOTTOM}` }));
    const paths = shown.flatMap(([curve, points]) => curve.paths(points, x, y));
    this.svg.replaceChildren(...lines, ...labels, ...breaks, ...paths, this.mark, this.chosen);
    this.tell();
  }

  tell() {
    const at = cursor === null ? 0 : place(horizontal(), cursor).toFixed(1);
    this.mark.setAttribute("d", cursor === null ? "" : `M${at} ${TOP}V${BOTTOM}`);
    for (const curve of this.curves) curve.tell(cursor);
  }

  /** Place of the pointer in units of the picture, and the step there. */
  at(event) {
    const frame = this.svg.getBoundingClientRect(), x = horizontal();
    const unit = clamp((event.clientX - frame.left) * box.width / frame.width, LEFT, RIGHT);
    return { unit, step: clamp(Math.round(x.low + (unit - LEFT) / (RIGHT - LEFT) * (x.high - x.low)), from, to) };
  }

  press(event) {
    if (event.button !== 0) return;
    this.start = this.at(event);
    this.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    const here = this.at(event);
    point(here.step);
    if (this.start) this.choose([this.start.unit, here.unit].sort((a, b) => a - b));
  }

  release(event) {
    const here = this.at(event), start = this.start;
    this.choose(null);
    if (start && Math.abs(here.unit - start.unit) >= SHORTEST_DRAG && here.step !== start.step) {
      zoom(Math.min(start.step, here.step), Math.max(start.step, here.step));
    }
  }

  /** Mark a part of the axis; null ends a drag. */
  choose(units) {
    if (units === null) this.start = null;
    const [low, high] = units ?? [0, 0];
    this.chosen.setAttribute("x", low);
    this.chosen.setAttribute("width", high - low);
  }
}

/** The y axis: all values with a margin, and nothing below 0 if none is negative. */
function vertical(points) {
  const there = points.filter((one) => one.finite);
  const low = there.length ? Math.min(...there.map((one) => one.low)) : 0;
  const high = there.length ? Math.max(...there.map((one) => one.high)) : 1;
  const margin = DATA.margin * (high - low || Math.abs(high) || 1);
  return { low: low >= 0 ? Math.max(low - margin, 0) : low - margin, high: high + margin, start: BOTTOM, end: TOP };
}

/** Point at a step in all panels; null points at none. */
function point(step) {
  cursor = step;
  tools.querySelector(".step").textContent = step === null ? "" : `step ${number(step)}`;
  for (const panel of panels) panel.tell();
}

/** Show a range of steps in all panels. The address keeps it, so that it outlives a reload. */
function zoom(first, last) {
  [from, to] = [first, last].map((step) => clamp(Math.round(step), FIRST, LAST)).sort((a, b) => a - b);
  if (cursor !== null) cursor = clamp(cursor, from, to);
  [fromField.value, toField.value] = [from, to];
  const whole = from === FIRST && to === LAST, width = Math.ceil((to - from + 1) / DATA.points);
  tools.querySelector("button").disabled = whole;
  area.querySelector(".means").hidden = width === 1;
  area.querySelector(".width").textContent = width;
  if (!whole || location.hash.startsWith("#steps=")) location.replace(whole ? "#steps=all" : `#steps=${from}-${to}`);
  for (const panel of panels) panel.draw();
}

/** The range of steps that the address names; else all. */
function asked() {
  const named = location.hash.match(/^#steps=(\d+)-(\d+)$/);
  return named ? [+named[1], +named[2]] : [FIRST, LAST];
}

/** Show a share of the range, around the step that is pointed at. */
function scale(share) {
  const length = clamp(Math.round((to - from) * share), Math.min(2, LAST - FIRST), LAST - FIRST);
  const first = clamp(Math.round((cursor ?? (from + to) / 2) - length / 2), FIRST, LAST - length);
  zoom(first, first + length);
}

function pressed(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const far = event.shiftKey ? Math.max(1, Math.round((to - from) / 10)) : 1;
  const go = (by) => point(clamp((cursor ?? from) + by, from, to));
  const keys = {
    ArrowRight: () => go(far), ArrowLeft: () => go(-far), Home: () => point(from), End: () => point(to),
    "+": () => scale(0.5), "=": () => scale(0.5), "-": () => scale(2), Escape: () => zoom(FIRST, LAST),
  };
  if (!keys[event.key]) return;
  keys[event.key]();
  event.preventDefault();
}

const panels = [...area.querySelectorAll("figure")].map((figure, index) => new Panel(figure, DATA.panels[index]));
if (panels.length) {
  for (const part of area.querySelectorAll(".tools, .help")) part.hidden = false;
  const typed = (field, old) => (field.value === "" ? old : +field.value);
  for (const field of [fromField, toField]) [field.min, field.max] = [FIRST, LAST];
  tools.addEventListener("change", () => zoom(typed(fromField, from), typed(toField, to)));
  addEventListener("hashchange", () => zoom(...asked()));
  tools.querySelector("button").addEventListener("click", () => zoom(FIRST, LAST));
  area.querySelector(".grid").addEventListener("keydown", pressed);
  zoom(...asked());
}
