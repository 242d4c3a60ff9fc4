"use strict";
const LEVELS = 8, DIGITS = 4;
const MARGIN = { left: 40, right: 8, top: 18, bottom: 6, between: 24 };
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const scales = read("scales"), regimes = read("regimes"), CURVES = read("curves");
const style = getComputedStyle(document.documentElement);
const colours = () => ["--plain", "--ahead"].map((name) => style.getPropertyValue(name));
let current;

/** A number for the reader; what rounds to zero has no sign. */
function number(value) {
  return value.toFixed(DIGITS).replace(/^-(0\.0*)$/, "$1");
}

/** Class of a value's colour. */
function shade(scale, value) {
  if (scale.kind === "regime") return "r" + value;
  const from = { rising: value - scale.low, falling: scale.high - value, diverging: Math.abs(value - scale.centre) };
  const distance = from[scale.kind];
  const level = distance > 0 ? scale.breaks.filter((least) => least <= distance).length : 0;
  if (scale.kind !== "diverging") return "s" + level;
  return "d" + (LEVELS / 2 + (value < scale.centre ? -level : level));
}

class Panel {
  constructor(element) {
    this.numbers = JSON.parse(element.querySelector("script").textContent);
    this.tokens = [...element.querySelectorAll(".text i")];
    this.tokens.forEach((token, index) => { token.index = index; });
    this.cells = [...element.querySelectorAll("dd[data-key]")];
    this.token = element.querySelector(".token");
    this.place = element.querySelector(".place");
    this.marker = element.querySelector(".marker");
    this.canvas = element.querySelector("canvas");
    element.querySelector(".text").addEventListener("pointerover", (event) => {
      if (event.target.index !== undefined) this.show(event.target.index);
    });
    element.addEventListener("pointerover", () => { current = this; });
    this.canvas.addEventListener("pointermove", (event) => this.show(this.at(event.offsetX)));
    this.canvas.addEventListener("click", (event) => {
      this.tokens[this.at(event.offsetX)].scrollIntoView({ block: "center" });
    });
    new ResizeObserver(() => this.draw()).observe(this.canvas);
  }

  paint(key) {
    const scale = scales[key], values = this.numbers[key];
    this.tokens.forEach((token, index) => { token.className = shade(scale, values[index]); });
  }

  /** Show all numbers of a token. */
  show(index) {
    if (this.shown) delete this.shown.dataset.shown;
    this.shown = this.tokens[index];
    this.shown.dataset.shown = "";
    this.token.textContent = this.shown.textContent.replaceAll("\n", "↵").replaceAll(" ", "␣") || "rest of a character";
    this.place.textContent = `token ${index + 1} of ${this.tokens.length}`;
    for (const cell of this.cells) {
      const value = this.numbers[cell.dataset.key][index];
      cell.textContent = scales[cell.dataset.key]?.kind === "regime" ? regimes[value] : number(value);
    }
    this.marker.hidden = false;
    this.marker.style.transform = `translateX(${this.x(index)}px)`;
  }

  /** Go some tokens further, from the first one if none is shown. */
  move(by) {
    const index = this.shown ? this.shown.index + by : 0;
    if (index < 0 || index >= this.tokens.length) return;
    this.show(index);
    this.shown.scrollIntoView({ block: "nearest" });
  }

  /** Pixels of a token on the curve, and the token at a pixel. */
  x(index) {
    return MARGIN.left + (index + 0.5) * (this.width - MARGIN.left - MARGIN.right) / this.tokens.length;
  }

  at(pixel) {
    const share = (pixel - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right);
    return Math.min(this.tokens.length - 1, Math.max(0, Math.floor(share * this.tokens.length)));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas, density = devicePixelRatio;
    this.width = width;
    this.canvas.width = width * density;
    this.canvas.height = height * density;
    const context = this.canvas.getContext("2d");
    context.scale(density, density);
    context.font = "10px system-ui, 'Liberation Sans', sans-serif";
    const tall = (height - MARGIN.top - MARGIN.bottom - MARGIN.between) / CURVES.length;
    CURVES.forEach(({ title, names, scale }, row) => {
      const top = MARGIN.top + row * (tall + MARGIN.between);
      const { low, high } = scales[scale];
      const y = (value) => top + tall * (1 - (value - low) / (high - low || 1));
      this.axis(context, title, top, tall, low, high);
      names.forEach((name, i) => this.line(context, this.numbers[name], y, colours()[i]));
    });
    if (this.shown) this.show(this.shown.index);
  }

  axis(context, title, top, tall, low, high) {
    context.strokeStyle = style.getPropertyValue("--rule");
    context.fillStyle = style.getPropertyValue("--muted");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const [value, y] of [[high, top], [low, top + tall]]) {
      context.beginPath();
      context.moveTo(MARGIN.left, y);
      context.lineTo(this.width - MARGIN.right, y);
      context.stroke();
      context.fillText(value.toFixed(2), MARGIN.left - 6, y);
    }
    context.textAlign = "left";
    context.fillText(title, MARGIN.left, top - 9);
  }

  /** A line through the tokens; where several share a pixel, through their mean. */
  line(context, values, y, colour) {
    const per = Math.max(1, Math.ceil(values.length / (this.width - MARGIN.left - MARGIN.right)));
    context.strokeStyle = colour;
    context.lineWidth = 1.2;
    context.beginPath();
    for (let start = 0; start < values.length; start += per) {
      const part = values.slice(start, start + per);
      const mean = part.reduce((sum, value) => sum + value, 0) / part.length;
      context.lineTo(this.x(start + (part.length - 1) / 2), y(mean));
    }
    context.stroke();
  }
}

/** Colour all tokens by a quantity, and say what the colours mean. */
function paint(key) {
  for (const panel of panels) panel.paint(key);
  for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.key === key);
  for (const link of document.querySelectorAll(".around a")) link.hash = key;
  const scale = scales[key], legend = document.querySelector(".legend");
  document.querySelector(".words").textContent = scale.words;
  const swatch = (name, text) => Object.assign(document.createElement("span"), { className: name, textContent: text });
  if (scale.kind === "regime") {
    legend.replaceChildren(...regimes.map((name, value) => swatch(shade(scale, value), name)));
    return;
  }
  const letter = scale.kind === "diverging" ? "d" : "s", levels = [...Array(LEVELS + 1).keys()];
  const swatches = (scale.kind === "falling" ? levels.reverse() : levels).map((level) => swatch(letter + level, ""));
  legend.replaceChildren(scale.low.toFixed(2), ...swatches, scale.high.toFixed(2));
}

const panels = [...document.querySelectorAll(".panel")].map((element) => new Panel(element));
const buttons = [...document.querySelectorAll(".toolbar button")];
for (const button of buttons) button.addEventListener("click", () => paint(button.dataset.key));
const asked = location.hash.slice(1);
paint(buttons.some((button) => button.dataset.key === asked) ? asked : buttons[0].dataset.key);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => panels.forEach((panel) => panel.draw()));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (move) {
    (current ?? panels[0]).move(move);
    event.preventDefault();
  } else if (event.key === "n" || event.key === "p") {
    document.querySelector(`.around a[rel=${event.key === "n" ? "next" : "prev"}]`)?.click();
  } else if (event.key >= "1" && event.key <= "9") {
    buttons[event.key - 1]?.click();
  }
});
