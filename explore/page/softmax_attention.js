// The tab of softmax heads: the (ω, μ) plane, the loss over the logarithm of time, phases and best heads.

import { area, dot, drawAxes, line } from "./axes.js";
import { nearest, resampled, together } from "./series.js";

const CELL = 4; // pixels of a cell of colour
const STRONGEST = 0.5; // opacity at the least loss

export function build(place, tools) {
  const { card, lineChart, picture, table, number, paint } = tools;
  const phone = () => window.innerWidth < 900;
  let shown = null; // what was shown last
  let moment = null; // the time of the pointer

  const plane = card(place, "The exact loss over (ω, μ)");
  const canvas = picture(plane, {
    height: (width) => (phone() ? 236 : Math.min(430, 0.85 * width)),
    label: "The plane of ω and μ with contours of the loss and the heads on it",
    draw: drawPlane,
  });
  canvas.element.addEventListener("mousemove", readLoss);
  canvas.element.addEventListener("mouseleave", () => plane.note(""));
  const loss = card(place, "Loss over time");
  loss.legend([
    { label: "gradient descent, exact loss", color: "run" },
    { label: "loss of a step's prompts", color: "faint", key: "thin" },
    { label: "flow", color: "theory", key: "dashed" },
    { label: "flow of the approximate loss", color: 2, key: "dotted" },
  ]);
  const lossChart = lineChart(loss, {
    x: "flow time", log: true, fromZero: false, right: 92, onPointer: point,
    height: () => (phone() ? 230 : 372), label: "Loss over flow time on a logarithmic axis",
  });
  const sizes = card(place, "ω of the heads");
  const sizeChart = lineChart(sizes, {
    x: "flow time", log: true, fromZero: false, right: 26, onPointer: point, height: 200, label: "ω of the heads over flow time",
  });
  const phases = card(place, "Phases");
  const phaseTable = table(phases, ["phase", "law", "on the flow"]);
  const best = card(place, "Least losses", "wide");
  const bestTable = table(best, ["predictor", "loss", "ω", "μ"]);

  function point(time) {
    moment = time;
    canvas.redraw();
  }

  // The flow in full where it is there, else the quick one.
  function flow() {
    const { plane: quick, flow: full } = shown.answers;
    const isFull = Boolean(full?.exact_loss);
    return {
      time: quick.flow_time,
      loss: isFull ? full.exact_loss : quick.loss,
      omega: isFull ? full.exact_omega : quick.omega,
      mu: isFull ? full.exact_mu : quick.mu,
    };
  }

  const trained = () => (shown.answers.run?.run_time ? shown.answers.run : null);

  function lossAt(form, omega, mu) {
    const [square] = resampled(form.omega, form.square, [omega]);
    const [signal] = resampled(form.omega, form.signal, [omega]);
    return form.zero_loss - 2 * signal * mu + square * mu * mu;
  }

  function plotOf(width, height) {
    const form = shown.answers.plane.plane;
    const reach = form.omega[form.omega.length - 1];
    const ranges = [[-reach, reach], [-form.mu_bound, form.mu_bound]];
    return { form, ranges, plot: area(width, height, ...ranges) };
  }

  function readLoss(event) {
    if (!shown) return;
    const { form, plot, ranges } = plotOf(canvas.element.clientWidth, canvas.element.clientHeight);
    const [omega, mu] = [plot.atX(event.offsetX), plot.atY(event.offsetY)];
    const isInside = Math.abs(omega) <= ranges[0][1] && Math.abs(mu) <= ranges[1][1];
    plane.note(isInside ? `loss ${number(lossAt(form, omega, mu), 4)} at ${form.pair ? "±" : ""}(${number(omega, 2)}, ${number(mu, 2)})` : "");
  }

  function drawPlane(context, width, height, theme) {
    if (!shown) return;
    const { form, plot, ranges } = plotOf(width, height);
    context.save();
    context.beginPath();
    context.rect(plot.box.x, plot.box.y, plot.box.width, plot.box.height);
    context.clip();
    shade(context, form, plot, theme);
    context.lineWidth = 1;
    context.strokeStyle = theme.faint;
    for (const contour of form.contours) {
      context.setLineDash(contour.share === 1 ? [5, 3] : []);
      for (const points of contour.lines) line(context, plot, points.map((p) => p[0]), points.map((p) => p[1]));
    }
    context.setLineDash([2, 3]);
    context.lineWidth = 2;
    context.strokeStyle = theme.muted;
    line(context, plot, form.omega, form.valley);
    drawHeads(context, plot, theme);
    context.restore();
    drawAxes(context, plot, ["ω", "μ"], ranges, theme);
  }

  // The less the loss, the stronger the colour; none above that of no prediction.
  function shade(context, form, plot, theme) {
    const { box } = plot;
    context.fillStyle = theme.accent;
    for (let x = 0; x < box.width; x += CELL) {
      const [omega] = [plot.atX(box.x + x + CELL / 2)];
      const [signal] = resampled(form.omega, form.signal, [omega]);
      const [square] = resampled(form.omega, form.square, [omega]);
      if (signal === null) continue;
      for (let y = 0; y < box.height; y += CELL) {
        const mu = plot.atY(box.y + y + CELL / 2);
        const gained = (2 * signal * mu - square * mu * mu) / (form.zero_loss - form.least);
        if (gained <= 0) continue;
        context.globalAlpha = STRONGEST * gained;
        context.fillRect(box.x + x, box.y + y, CELL, CELL);
      }
    }
    context.globalAlpha = 1;
  }

  function drawHeads(context, plot, theme) {
    const { omega, mu, time } = flow();
    const run = trained();
    omega.forEach((values, head) => {
      context.strokeStyle = paint(head + 1);
      context.setLineDash([6, 4]);
      context.lineWidth = 2;
      line(context, plot, values, mu[head]);
      if (run) {
        context.setLineDash([]);
        context.lineWidth = 3;
        line(context, plot, run.run_omega[head], run.run_mu[head]);
      }
      // Powers of ten of the time.
      for (let power = 0; 10 ** power <= time[time.length - 1]; power += 1) {
        const at = nearest(time, 10 ** power);
        dot(context, plot, values[at], mu[head][at], 2.6, theme.card, paint(head + 1));
      }
      const now = moment === null ? time.length - 1 : nearest(time, moment);
      dot(context, plot, values[now], mu[head][now], 5.5, paint(head + 1), theme.card);
    });
    for (const group of sums()) {
      context.strokeStyle = theme.text;
      context.setLineDash([1, 3]);
      context.lineWidth = 1.5;
      line(context, plot, group.omega, group.mu);
      const now = moment === null ? time.length - 1 : nearest(time, moment);
      dot(context, plot, group.omega[now], group.mu[now], 3.5, theme.text, theme.card);
    }
    const { limits } = shown.answers;
    const optimum = shown.answers.plane.plane.pair ? limits?.two_heads : limits?.one_head;
    for (const [x, y] of starred(optimum, shown.answers.plane.plane)) star(context, plot.x(x), plot.y(y), theme.text);
  }

  // Heads of one sign as one, where there are several: the loss of the plane is that of their sums.
  function sums() {
    const { groups } = shown.answers.plane.plane;
    return groups.length < shown.settings.heads ? groups : [];
  }

  function starred(optimum, form) {
    if (!optimum?.omega) return [];
    const points = optimum.omega.map((x, head) => [x, optimum.mu[head]]);
    return points.filter(([x, y]) => Math.abs(x) <= form.omega[form.omega.length - 1] && Math.abs(y) <= form.mu_bound);
  }

  function star(context, x, y, color) {
    context.beginPath();
    for (let k = 0; k < 10; k += 1) {
      const radius = k % 2 ? 3 : 7;
      const angle = (k * Math.PI) / 5 - Math.PI / 2;
      context.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
    }
    context.closePath();
    context.fillStyle = color;
    context.fill();
  }

  function drawLegend() {
    const { heads } = shown.settings;
    const names = Array.from({ length: heads }, (_, head) => ({ label: `head ${head + 1}`, color: head + 1, key: "dashed" }));
    plane.legend([
      ...names,
      { label: "descent", color: "muted" },
      ...(sums().length ? [{ label: "heads of a sign, Σμ", color: "text", key: "dot" }] : []),
      { label: "valley: ω at rest", color: "muted", key: "dotted" },
      { label: "★ best", color: "text", key: "none" },
    ]);
    sizes.legend(names);
  }

  function drawLosses() {
    const { answers } = shown;
    const { time, loss: values, omega } = flow();
    const run = trained();
    const x = run ? together(time, run.run_time, run.weight_time) : time;
    const at = (times, series) => (x === times ? series : resampled(times, series, x));
    const none = x.map(() => null);
    const form = answers.plane.plane;
    const levels = [{ y: form.zero_loss, label: "no prediction" }];
    const { one_head: one, two_heads: two } = answers.limits ?? {};
    if (one?.loss) levels.push({ y: one.loss, label: "one head" });
    if (two?.loss) levels.push({ y: two.loss, label: "two heads" });
    const times = answers.flow?.phases ?? {};
    lossChart.draw({
      x,
      lines: [
        { label: "loss of prompts", values: run ? at(run.run_time, run.loss_of_prompts) : none, color: "faint", width: 1 },
        { label: "gradient descent", values: run ? at(run.weight_time, run.run_loss) : none, color: "run", width: 2.5 },
        { label: "approximate", values: answers.flow?.approximate_loss ? at(time, answers.flow.approximate_loss) : none, color: 2, dash: "dotted", width: 2 },
        { label: "flow", values: at(time, values), color: "theory", dash: "dashed", width: 2 },
      ],
      levels,
      verticals: [answers.plane.predicted_drop, times.valley_time, times.end_time].filter((each) => each > 0).map((each) => ({ x: each })),
    });
    const colour = (head, more) => ({ color: head + 1, ...more });
    sizeChart.draw({
      x,
      lines: omega.flatMap((series, head) => [
        colour(head, { label: `run ${head + 1}`, values: run ? at(run.weight_time, run.run_omega[head]) : none, width: 2.5 }),
        colour(head, { label: `flow ${head + 1}`, values: at(time, series), dash: "dashed", width: 1.5 }),
      ]),
    });
  }

  function drawTables() {
    const { answers, settings } = shown;
    const { phases: measured, rates } = answers.flow ?? {};
    const limits = answers.limits ?? {};
    const time = (value) => number(value, 4);
    const rows = [
      ["growth of Σμ = 0", time(rates?.zero_sum), time(measured?.growth?.zero_sum)],
      ["growth of Σμ", time(rates?.common), time(measured?.growth?.common)],
      ["drop at time", time(answers.plane.predicted_drop), time(measured?.drop_time)],
      ["overshoot of Dω²", "", measured?.overshoot ? `${number(measured.overshoot, 3)} at ${time(measured.overshoot_time)}` : "—"],
      ["valley from time", "", time(measured?.valley_time)],
      ["end of the tail", limits.tail?.time ? time(limits.tail.time) : "—", time(measured?.end_time)],
      ["trapped by one sign", "", measured ? (measured.trapped ? "yes" : "no") : "—"],
    ];
    phaseTable.rows(settings.heads > 1 ? rows : rows.slice(1));
    const words = (values) => values?.map((value) => number(value, 3)).join(", ") ?? "";
    const { loss: values, omega, mu } = flow();
    const last = values.length - 1;
    bestTable.rows([
      ["none", number(answers.plane.plane.zero_loss, 5), "", ""],
      ["one head at best", number(limits.one_head?.loss, 5), words(limits.one_head?.omega), words(limits.one_head?.mu)],
      ["two heads at best", number(limits.two_heads?.loss, 5), words(limits.two_heads?.omega), words(limits.two_heads?.mu)],
      ["a debiased gradient step", number(limits.debiased_step, 5), "", ""],
      ["a gradient step", number(limits.plain_step, 5), "", ""],
      ["Bayes: ridge regression", number(limits.bayes, 5), "", ""],
      ["these heads, at the end", number(values[last], 5), words(omega.map((series) => series[last])), words(mu.map((series) => series[last]))],
    ]);
  }

  return {
    show(arrived) {
      shown = arrived;
      drawLegend();
      canvas.redraw();
      drawLosses();
      drawTables();
      const form = arrived.answers.plane.plane;
      plane.retitle(form.pair ? "The exact loss of heads ±(ω, μ)" : "The exact loss of one head (ω, μ)");
      const { loss: values, time } = flow();
      canvas.describe(`The loss of ${form.pair ? "two heads" : "one head"} over ω and μ, from ${number(form.zero_loss)} without prediction to ${number(form.least)}; ${arrived.settings.heads} heads end at a loss of ${number(values[values.length - 1])} at flow time ${number(time[time.length - 1])}`);
    },
    status({ answers, settings, moving }) {
      const { run, flow: full, limits } = answers;
      const failed = [run, full, limits].find((answer) => answer?.error);
      if (failed) return { text: failed.error, wrong: true };
      if (run?.diverged) {
        return { text: `The run diverged at the learning rate ${number(settings.rate)}, which no flow does: take a smaller one, or more prompts a step.`, wrong: true };
      }
      const steps = run?.steps ? `${number(run.steps)} steps of ${settings.batch} prompts, to flow time ${number(run.run_time[run.run_time.length - 1], 3)}` : "";
      const theory = full?.phases ? `exact flow to time ${number(settings.until, 7)}${full.phases.trapped ? ": trapped" : ""}` : moving ? "quick flow, to three digits" : "the exact flow is being computed";
      return { text: [steps, theory].filter(Boolean).join(" · ") };
    },
  };
}
