// What the script of a tab draws with: cards, legends, line charts, pictures, maps, tables.

import { lineChart, paint } from "./charts.js";
import { number, percent, short, subset, indexed } from "./formats.js";
import { colours, onTheme } from "./themes.js";

/**
 * A card with a title. `width`: "wide" (the whole row), "half", "third" or "two-thirds". The card has `note(text)`,
 * words beside the title, and `legend(items)`, [{label, color, key}] with key "solid", "dashed", "dotted", "thin",
 * "tick" or "dot".
 */
function card(place, title, width = "half") {
  const element = document.createElement("section");
  element.className = `card ${width}`;
  const header = document.createElement("header");
  const heading = document.createElement("h2");
  heading.textContent = title;
  header.append(heading);
  element.append(header);
  place.append(element);
  let words = null;
  let keys = null;
  return Object.assign(element, {
    retitle(text) {
      heading.textContent = text;
    },
    note(text) {
      words ??= header.appendChild(Object.assign(document.createElement("span"), { className: "note" }));
      words.textContent = text;
    },
    legend(items) {
      keys ??= header.appendChild(Object.assign(document.createElement("ul"), { className: "legend" }));
      const shown = JSON.stringify(items);
      if (keys.dataset.shown === shown) return;
      keys.dataset.shown = shown;
      keys.replaceChildren(...items.map(legendItem));
      recolour(keys, items);
      keys.items = items;
      if (!keys.follows) {
        keys.follows = true;
        onTheme(() => recolour(keys, keys.items));
      }
    },
  });
}

function legendItem(item) {
  const entry = document.createElement("li");
  const key = document.createElement("span");
  key.className = `key ${item.key ?? "solid"}`;
  entry.append(key, item.label);
  return entry;
}

function recolour(list, items) {
  items.forEach((item, index) => {
    list.children[index].firstChild.style.color = paint(item.color ?? "muted");
  });
}

/**
 * A canvas that a function draws: draw(context, width, height, colours) in CSS pixels. `height`: pixels, or a function
 * of the width. It is drawn again when its size or the theme changes, and by redraw().
 */
function picture(parent, { height, label, draw }) {
  const canvas = document.createElement("canvas");
  canvas.className = "picture";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", label ?? "");
  parent.append(canvas);
  function redraw() {
    const width = canvas.clientWidth || canvas.parentElement.clientWidth;
    if (!width) return;
    const tall = typeof height === "function" ? height(width) : height;
    canvas.style.height = `${tall}px`;
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(tall * devicePixelRatio);
    const context = canvas.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, tall);
    draw(context, width, tall, colours());
  }
  new ResizeObserver(redraw).observe(canvas);
  onTheme(redraw);
  return { element: canvas, redraw, describe: (text) => canvas.setAttribute("aria-label", text) };
}

/** Matrices side by side as squares of colour: draw([[name, matrix or null], …], largest) with one scale for all. */
function maps(parent, names) {
  const row = document.createElement("div");
  row.className = "maps";
  const scale = document.createElement("div");
  scale.className = "scale";
  const strip = document.createElement("canvas");
  const [low, high] = [document.createElement("span"), document.createElement("span")];
  scale.append(low, strip, high);
  const canvases = names.map((name) => {
    const figure = document.createElement("figure");
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    figure.append(canvas, Object.assign(document.createElement("figcaption"), { textContent: name }));
    row.append(figure);
    return canvas;
  });
  parent.append(row, scale);
  let last = null;
  function draw(matrices, largest) {
    last = [matrices, largest];
    matrices.forEach((matrix, index) => drawMap(canvases[index], matrix, largest, names[index]));
    drawMap(strip, [Array.from({ length: 41 }, (_, k) => ((k - 20) / 20) * largest)], largest, "scale of colours");
    low.textContent = `−${number(largest, 2)}`;
    high.textContent = `+${number(largest, 2)}`;
  }
  onTheme(() => last && draw(...last));
  return { draw };
}

function drawMap(canvas, matrix, largest, name) {
  const rows = matrix?.length ?? 1;
  const columns = matrix?.[0].length ?? 1;
  // One pixel an entry would be smoothed: so many pixels an entry.
  const cell = Math.max(1, Math.floor(240 / Math.max(rows, columns)));
  canvas.width = columns * cell;
  canvas.height = rows * cell;
  const context = canvas.getContext("2d");
  const theme = colours();
  context.fillStyle = theme.zero;
  context.fillRect(0, 0, canvas.width, canvas.height);
  canvas.setAttribute("aria-label", matrix ? `${name}: ${matrix.map((row) => row.map((x) => number(x, 2)).join(", ")).join("; ")}` : `${name}: none`);
  if (!matrix) return;
  matrix.forEach((row, i) => row.forEach((value, j) => {
    context.globalAlpha = Math.min(1, Math.abs(value) / (largest || 1));
    context.fillStyle = value < 0 ? theme.negative : theme.positive;
    context.fillRect(j * cell, i * cell, cell, cell);
  }));
  context.globalAlpha = 1;
}

/** A table with these column titles; rows([[cell, …], …]) fills it. */
function table(parent, titles) {
  const frame = document.createElement("div");
  frame.className = "table";
  frame.tabIndex = 0;
  const element = document.createElement("table");
  const head = element.createTHead().insertRow();
  const setTitles = (words) => head.replaceChildren(...words.map((title) => {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = title;
    return cell;
  }));
  setTitles(titles);
  const body = element.createTBody();
  frame.append(element);
  parent.append(frame);
  return {
    setTitles,
    rows(rows) {
      body.replaceChildren(...rows.map((cells) => {
        const row = document.createElement("tr");
        for (const text of cells) row.insertCell().textContent = text;
        return row;
      }));
    },
  };
}

/** A slider over time below a picture, which moves what is at the pointer's time: set(x, least, largest); onMove(x). */
function timeSlider(parent, label, onMove) {
  const element = document.createElement("label");
  element.className = "moment";
  const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1000, step: 1 });
  element.append(label, input);
  parent.append(element);
  let span = [0, 1];
  input.addEventListener("input", () => onMove(span[0] + (span[1] - span[0]) * (input.value / 1000)));
  return {
    set(x, least, largest) {
      span = [least, largest];
      input.value = Math.round((1000 * (x - least)) / (largest - least || 1));
      input.setAttribute("aria-valuetext", number(x));
    },
  };
}

/** A box to tick beside the title of a card: onChange(isTicked). */
function check(parent, label, onChange) {
  const element = document.createElement("label");
  element.className = "check";
  const input = Object.assign(document.createElement("input"), { type: "checkbox" });
  input.addEventListener("change", () => onChange(input.checked));
  element.append(input, label);
  parent.querySelector("header").append(element);
}

/** Everything of this module and of `charts.js` and `formats.js` that a tab needs. */
export const tools = { card, lineChart, picture, maps, table, timeSlider, check, paint, colours, number, percent, short, subset, indexed };
