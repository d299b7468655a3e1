// Axes of a picture with two quantities: where they are on the canvas, and the numbers beside them.

import { number } from "./formats.js";

const MARGIN = { left: 46, right: 12, top: 8, bottom: 38 };
const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

/** The area of a plot on a canvas of this size, x and y from −bound to bound or between two numbers. */
export function area(width, height, [left, right], [bottom, top]) {
  const box = { x: MARGIN.left, y: MARGIN.top, width: width - MARGIN.left - MARGIN.right, height: height - MARGIN.top - MARGIN.bottom };
  return {
    box,
    x: (value) => box.x + (box.width * (value - left)) / (right - left),
    y: (value) => box.y + box.height - (box.height * (value - bottom)) / (top - bottom),
    atX: (pixel) => left + ((pixel - box.x) / box.width) * (right - left),
    atY: (pixel) => bottom + ((box.y + box.height - pixel) / box.height) * (top - bottom),
  };
}

/** Numbers beside the axes, and their names. */
export function drawAxes(context, plot, names, [xRange, yRange], theme) {
  const { box } = plot;
  context.save();
  context.font = FONT;
  context.fillStyle = theme.muted;
  context.strokeStyle = theme.edge;
  context.lineWidth = 1;
  context.setLineDash([]);
  context.strokeRect(box.x, box.y, box.width, box.height);
  context.textAlign = "center";
  context.textBaseline = "top";
  for (const value of round(xRange, box.width / 70)) context.fillText(number(value, 3), plot.x(value), box.y + box.height + 5);
  context.fillText(names[0], box.x + box.width / 2, box.y + box.height + 21);
  context.textAlign = "right";
  context.textBaseline = "middle";
  for (const value of round(yRange, box.height / 40)) context.fillText(number(value, 3), box.x - 5, plot.y(value));
  context.textAlign = "center";
  context.translate(10, box.y + box.height / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(names[1], 0, 0);
  context.restore();
}

// Round numbers between two others, about so many.
function round([low, high], many) {
  const rough = (high - low) / Math.max(2, many);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const values = [];
  for (let k = Math.ceil(low / step); k * step <= high * (1 + 1e-9); k += 1) values.push(k * step);
  return values;
}

/** A line through points (x, y) in the units of the axes, with gaps where one is null. */
export function line(context, plot, xs, ys) {
  context.beginPath();
  let isDrawn = false;
  xs.forEach((x, index) => {
    const y = ys[index];
    if (x === null || y === null) {
      isDrawn = false;
      return;
    }
    if (isDrawn) context.lineTo(plot.x(x), plot.y(y));
    else context.moveTo(plot.x(x), plot.y(y));
    isDrawn = true;
  });
  context.stroke();
}

/** A filled circle at a point in the units of the axes, with a rim. */
export function dot(context, plot, x, y, radius, color, rim) {
  context.beginPath();
  context.arc(plot.x(x), plot.y(y), radius, 0, 2 * Math.PI);
  context.fillStyle = color;
  context.fill();
  if (!rim) return;
  context.setLineDash([]);
  context.lineWidth = 1.5;
  context.strokeStyle = rim;
  context.stroke();
}
