// Line charts on uPlot, with marks: levels, ticks at the right edge, verticals. All charts share the time of the pointer.

import { number } from "./formats.js";
import { colours, onTheme } from "./themes.js";

const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
const LABEL_DISTANCE = 13; // pixels between the labels of levels
const SHARED = "attndyn";
const DASH = { solid: [], dashed: [6, 4], dotted: [2, 3] };

/**
 * A chart in a card.
 *
 * options: height; x, y: labels of axes; log: true for a logarithmic x axis; logY likewise; fromZero: false to let
 * the y axis begin where the curves do; right: pixels at the right edge for labels of levels; label: for readers who
 * do not see it; onPointer(x or null): the pointer is at this x, or has left.
 *
 * draw({x, lines, levels, ticks, verticals, top}) draws: x, increasing numbers; lines, [{label, values, color, dash, width}]
 * with dash "solid", "dashed" or "dotted" and null where a line has a gap; levels, [{y, label}]; ticks, [y];
 * verticals, [{x}]; dots, [{x, y, error, color}] with an error bar; top: where the y axis ends at most. Lines may
 * change their number between calls, which builds the chart anew: not while a
 * slider moves.
 */
export function lineChart(card, options) {
  const element = document.createElement("div");
  element.className = "chart";
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", options.label ?? "");
  card.append(element);
  let plot = null;
  let shape = "";
  let drawn = null;
  let axes = { log: Boolean(options.log), logY: Boolean(options.logY) };
  const height = () => (typeof options.height === "function" ? options.height() : options.height ?? 260);
  const size = () => ({ width: Math.max(200, element.clientWidth), height: height() });

  function draw(data) {
    drawn = data;
    const newShape = JSON.stringify([data.lines.map((line) => [line.label, line.color, line.dash, line.width]), axes]);
    const columns = [data.x, ...data.lines.map((line) => line.values)];
    if (plot === null || newShape !== shape) {
      plot?.destroy();
      shape = newShape;
      plot = new uPlot(configuration(data.lines), visible(columns), element);
    } else {
      plot.setData(visible(columns));
    }
  }

  // A logarithmic axis begins at the first positive x.
  function visible(columns) {
    if (!axes.log) return columns;
    const first = columns[0].findIndex((x) => x > 0);
    return columns.map((column) => column.slice(Math.max(first, 0)));
  }

  function configuration(lines) {
    const axis = (label, more) => ({
      label, labelSize: 20, labelFont: FONT, font: FONT, labelGap: 0, gap: 4,
      stroke: () => colours().muted,
      grid: { show: false },
      ticks: { stroke: () => colours().edge, width: 1, size: 5 },
      ...more,
    });
    const xValues = (_, splits) => splits.map((value) => (value === null ? null : number(value, 5)));
    return {
      ...size(),
      padding: [10, options.right ?? 14, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, sync: { key: options.alone ? null : SHARED, setSeries: false }, points: { size: 6 } },
      scales: {
        x: { time: false, distr: axes.log ? 3 : 1, range: (_, low, high) => (low < high ? [low, high] : [low, low + 1]) },
        y: { distr: axes.logY ? 3 : 1, range: (_, low, high) => yRange(low, high) },
      },
      axes: [
        axis(options.x ?? "", { size: 24, values: xValues, space: 64, ...(axes.log ? { filter: decades } : {}) }),
        axis(options.y ?? "", { size: 50, values: xValues, ...(options.y ? {} : { labelSize: 0 }), ...(axes.logY ? { filter: decades } : {}) }),
      ],
      series: [{}, ...lines.map((line) => ({
        label: line.label,
        stroke: () => paint(line.color),
        width: line.width ?? 2,
        dash: DASH[line.dash ?? "solid"],
        points: { show: false },
        spanGaps: false,
      }))],
      hooks: { drawAxes: [(u) => drawBehind(u, drawn)], draw: [(u) => drawLabels(u, drawn), (u) => drawDots(u, drawn)], setCursor: [pointed] },
    };
  }

  function yRange(low, high) {
    if (low === null || high === null) return [0, 1];
    const marks = (drawn?.levels ?? []).map((level) => level.y).filter(Number.isFinite);
    let least = Math.min(low, ...marks);
    let largest = Math.max(high, ...marks);
    if (axes.logY) return [least > 0 ? least / 1.3 : 1e-6, largest * 1.3];
    if (options.fromZero !== false) {
      least = Math.min(0, least);
      largest = Math.max(0, largest);
    }
    if (drawn.top) largest = Math.min(largest, drawn.top);
    const room = 0.05 * (largest - least || 1);
    return [least < 0 || options.fromZero === false ? least - room : 0, largest + room];
  }

  function pointed(u) {
    if (!options.onPointer) return;
    const inside = u.cursor.left !== null && u.cursor.left >= 0;
    options.onPointer(inside ? u.posToVal(u.cursor.left, "x") : null);
  }

  new ResizeObserver(() => plot?.setSize(size())).observe(element);
  onTheme(() => plot?.redraw(false));

  return {
    element,
    draw,
    /** Says in words what the chart shows. */
    describe(text) {
      element.setAttribute("aria-label", text);
    },
    /** Changes an axis between linear and logarithmic: {log} for x, {logY} for y. */
    setAxes(changes) {
      axes = { ...axes, ...changes };
      if (drawn) draw(drawn);
    },
    /** Puts the shared pointer to this x, or takes it away where x is null. */
    point(x) {
      if (plot) plot.setCursor({ left: x === null ? -10 : plot.valToPos(x, "x"), top: 10 });
    },
  };
}

/** A colour of the theme by its name ("run", "theory", "muted", …) or by the number of a direction, from 1. */
export function paint(color) {
  const theme = colours();
  if (typeof color === "number") return theme.directions[(color - 1) % theme.directions.length];
  return theme[color] ?? color;
}

function decades(_, splits) {
  const powers = splits.filter((value) => Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9);
  const many = powers.length > 8;
  return splits.map((value) => {
    const exponent = Math.log10(value);
    const isPower = Math.abs(exponent - Math.round(exponent)) < 1e-9;
    return isPower && (!many || Math.round(exponent) % 2 === 0) ? value : null;
  });
}

// uPlot leaves its own dash and alignment on the canvas: everything that is used is set here.
function prepared(u, draw) {
  const context = u.ctx;
  context.save();
  context.font = FONT.replace(/^\d+px/, `${12 * devicePixelRatio}px`);
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.lineWidth = devicePixelRatio;
  context.setLineDash([]);
  draw(context, u.bbox);
  context.restore();
}

function drawBehind(u, data) {
  prepared(u, (context, box) => {
    context.strokeStyle = colours().faint;
    for (const level of data?.levels ?? []) horizontal(context, box, u.valToPos(level.y, "y", true));
    context.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const vertical of data?.verticals ?? []) {
      const x = u.valToPos(vertical.x, "x", true);
      if (!Number.isFinite(x) || x < box.left || x > box.left + box.width) continue;
      context.beginPath();
      context.moveTo(x, box.top);
      context.lineTo(x, box.top + box.height);
      context.stroke();
    }
  });
}

function horizontal(context, box, y) {
  if (y < box.top - 1 || y > box.top + box.height + 1) return;
  context.beginPath();
  context.moveTo(box.left, y);
  context.lineTo(box.left + box.width, y);
  context.stroke();
}

function drawLabels(u, data) {
  prepared(u, (context, box) => {
    const right = box.left + box.width;
    const pixel = devicePixelRatio;
    context.strokeStyle = colours().muted;
    for (const tick of data?.ticks ?? []) {
      const y = u.valToPos(tick, "y", true);
      if (y < box.top || y > box.top + box.height) continue;
      context.beginPath();
      context.moveTo(right - 8 * pixel, y);
      context.lineTo(right, y);
      context.stroke();
    }
    const levels = (data?.levels ?? []).filter((level) => level.label);
    const places = apart(levels.map((level) => u.valToPos(level.y, "y", true)), LABEL_DISTANCE * pixel);
    context.fillStyle = colours().text;
    levels.forEach((level, index) => {
      const y = u.valToPos(level.y, "y", true);
      context.beginPath();
      context.moveTo(right, y);
      context.lineTo(right + 5 * pixel, places[index]);
      context.stroke();
      context.fillText(level.label, right + 8 * pixel, places[index]);
    });
  });
}

// Positions as near to the given ones as labels of this height allow: blocks of labels that touch are moved together.
function apart(positions, distance) {
  const order = positions.map((_, index) => index).sort((a, b) => positions[a] - positions[b]);
  const blocks = [];
  for (const index of order) {
    let block = { members: [index], centre: positions[index] };
    while (blocks.length) {
      const above = blocks[blocks.length - 1];
      const reach = (distance * (above.members.length + block.members.length)) / 2;
      if (block.centre - above.centre >= reach) break;
      blocks.pop();
      const members = [...above.members, ...block.members];
      const centre = members.reduce((sum, member) => sum + positions[member], 0) / members.length;
      block = { members, centre };
    }
    blocks.push(block);
  }
  const places = [];
  for (const block of blocks) {
    block.members.forEach((member, rank) => {
      places[member] = block.centre + (rank - (block.members.length - 1) / 2) * distance;
    });
  }
  return places;
}

// Measured values as dots with error bars, within the axes.
function drawDots(u, data) {
  prepared(u, (context, box) => {
    const pixel = devicePixelRatio;
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
    for (const point of data?.dots ?? []) {
      const place = (y) => u.valToPos(y, "y", true);
      const x = u.valToPos(point.x, "x", true);
      if (!Number.isFinite(place(point.y))) continue;
      context.fillStyle = context.strokeStyle = paint(point.color);
      context.lineWidth = 1.5 * pixel;
      context.beginPath();
      const low = place(point.y - (point.error ?? 0));
      context.moveTo(x, Number.isFinite(low) ? low : box.top + box.height);
      context.lineTo(x, place(point.y + (point.error ?? 0)));
      context.stroke();
      context.beginPath();
      context.arc(x, place(point.y), 3.5 * pixel, 0, 2 * Math.PI);
      context.fill();
    }
  });
}
