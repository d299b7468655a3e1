// The tab of modes: the loss over its fixed points, what each mode has learned, the soft threshold.

import { area, dot, drawAxes, line } from "./axes.js";
import { resampled, together } from "./series.js";

export function build(place, tools) {
  const { card, lineChart, picture, table, number, percent, paint, subset } = tools;
  const phone = () => window.innerWidth < 900;
  let shown = null;

  const loss = card(place, "Loss", "wide");
  const lossChart = lineChart(loss, {
    x: "flow time", right: 76, height: () => (phone() ? 210 : 300), label: "Loss over flow time",
  });
  const modes = card(place, "What each mode has learned, a = p q");
  const modeChart = lineChart(modes, { x: "flow time", right: 16, height: () => (phone() ? 220 : 300), label: "a of each mode over flow time" });
  const threshold = card(place, "The soft threshold: s·a of a mode with variance s");
  threshold.legend([
    { label: "at the minimum", color: "theory" },
    { label: "decoupled", color: "muted", key: "dotted" },
    { label: "the run's end", color: "run", key: "dot" },
  ]);
  const canvas = picture(threshold, {
    height: () => (phone() ? 220 : 300), label: "What the minimum learns of a mode, over its variance", draw: drawThreshold,
  });
  const times = card(place, "Half-times and what is learned", "two-thirds");
  const timeTable = table(times, ["mode", "law", "theory", "run", "", "a at the minimum", "run"]);
  const points = card(place, "Fixed points", "third");
  const pointTable = table(points, ["modes learned", "loss", "ways down"]);

  // The modes that a run learns one after another, each with those before it.
  function visited(points, learned) {
    const subsets = [[]];
    learned.forEach((isLearned, mode) => isLearned && subsets.push([...subsets[subsets.length - 1], mode + 1]));
    const names = subsets.map((each) => each.join());
    return points.filter((point) => names.includes(point.subset.join()));
  }

  // The times of both: a run that diverged ends early.
  function axis(run, theory) {
    const ends = theory?.theory_time ?? run.run_time;
    const last = run.run_time[run.run_time.length - 1];
    const x = together(run.run_time, ends.filter((time) => time > last));
    const none = x.map(() => null);
    return {
      x,
      ofRun: (values) => x.map((_, index) => values[index] ?? null),
      at: (values) => (values ? resampled(theory.theory_time, values, x) : none),
    };
  }

  function drawLoss() {
    const { run, theory, floor } = shown.answers;
    const there = visited(run.points, run.learned);
    const levels = there.map((point) => ({ y: point.loss, label: subset(point.subset) }));
    const ticks = run.points.filter((point) => !there.includes(point)).map((point) => point.loss);
    if (floor?.excess) levels.push({ y: run.minimum + floor.excess, label: "SGD floor" });
    const { x, ofRun, at } = axis(run, theory);
    loss.legend([
      { label: shown.settings.training === "sgd" ? "online SGD, exact loss" : "gradient descent", color: "run" },
      { label: "flow on the exact loss", color: "theory", key: "dashed" },
      { label: "decoupled modes", color: "muted", key: "dotted" },
      { label: "fixed points on the way (ticks: the others)", color: "faint", key: "thin" },
    ]);
    lossChart.draw({
      x,
      lines: [
        { label: "run", values: ofRun(run.run_loss), color: "run", width: 2.5 },
        { label: "decoupled", values: at(theory?.decoupled_loss), color: "muted", dash: "dotted", width: 1.5 },
        { label: "theory", values: at(theory?.theory_loss), color: "theory", dash: "dashed", width: 1.5 },
      ],
      levels,
      ticks,
      verticals: (theory?.theory_half ?? []).filter((time) => time !== null).map((time) => ({ x: time })),
    });
  }

  function drawModes() {
    const { run, theory } = shown.answers;
    const { x, ofRun, at } = axis(run, theory);
    modes.legend(run.variances.map((variance, mode) => ({ label: `s = ${number(variance, 3)}`, color: mode + 1 })));
    modeChart.draw({
      x,
      lines: run.variances.flatMap((_, mode) => [
        { label: `run ${mode + 1}`, values: ofRun(run.run_modes[mode]), color: mode + 1, width: 2.5 },
        { label: `decoupled ${mode + 1}`, values: at(theory?.decoupled_modes?.[mode]), color: mode + 1, dash: "dotted", width: 1.5 },
        { label: `theory ${mode + 1}`, values: at(theory?.theory_modes?.[mode]), color: mode + 1, dash: "dashed", width: 1.5 },
      ]),
    });
  }

  function drawThreshold(context, width, height, theme) {
    if (!shown) return;
    const { run } = shown.answers;
    const { variance, share, alone } = run.threshold;
    const shares = run.run_modes.map((values, mode) => (values.length ? run.variances[mode] * values[values.length - 1] : null));
    const top = 1.12 * Math.max(0.1, ...share, ...alone);
    const ranges = [[0, variance[variance.length - 1]], [0, top]];
    const plot = area(width, height, ...ranges);
    context.save();
    context.beginPath();
    context.rect(plot.box.x, plot.box.y - 6, plot.box.width + 8, plot.box.height + 12);
    context.clip();
    context.strokeStyle = theme.theory;
    context.lineWidth = 2;
    line(context, plot, variance, share);
    run.variances.forEach((s, mode) => {
      context.strokeStyle = paint(mode + 1);
      context.setLineDash([2, 3]);
      context.lineWidth = 1.5;
      line(context, plot, [s, s], [0, alone[mode]]);
      dot(context, plot, s, alone[mode], 3.5, theme.card, paint(mode + 1));
      if (shares[mode] !== null) dot(context, plot, s, Math.max(0, Math.min(top, shares[mode])), 5.5, paint(mode + 1), theme.card);
    });
    context.restore();
    drawAxes(context, plot, ["variance s of the mode", "s·a, learned"], ranges, theme);
  }

  function drawTables() {
    const { run, theory } = shown.answers;
    const { mean, spread } = run.half_times;
    timeTable.rows(run.variances.map((variance, mode) => {
      const [expected, found] = [theory?.theory_half?.[mode], run.run_half[mode]];
      const values = run.run_modes[mode];
      const law = run.learned[mode] ? `${number(mean[mode], 3)} ± ${number(spread[mode], 2)}` : "—";
      return [
        `${mode + 1}: s = ${number(variance, 3)}`, law, number(expected, 4), number(found, 4), found && expected ? percent(found / expected - 1) : "—",
        run.learned[mode] ? number(run.coefficients[mode], 4) : "0: off", number(values[values.length - 1], 4),
      ];
    }));
    pointTable.rows(run.points.slice(0, 16).map((point) => [subset(point.subset), number(point.loss, 5), point.index ? String(point.index) : "minimum"]));
    points.note(run.points.length > 16 ? `the first 16 of ${run.points.length}` : `${run.points.length} of ${2 ** run.variances.length} subsets have one`);
  }

  return {
    show(arrived) {
      shown = arrived;
      drawLoss();
      drawModes();
      canvas.redraw();
      drawTables();
      const { run } = arrived.answers;
      const learned = run.learned.filter(Boolean).length;
      const last = run.run_loss[run.run_loss.length - 1];
      lossChart.describe(`The loss of a run from ${number(run.run_loss[0])} to ${number(last)}; the minimum is ${number(run.minimum)} and learns ${learned} of ${run.learned.length} modes`);
      canvas.describe(`What is learned of each mode: ${run.variances.map((s, mode) => `${number(run.coefficients[mode] * s, 3)} at s = ${number(s, 3)}`).join(", ")}`);
    },
    status({ answers, settings }) {
      const { run, theory, floor } = answers;
      if (run.diverged) {
        return { text: `The run diverged at the learning rate ${number(settings.rate)}: gradient flow does not, so take a smaller rate${settings.training === "sgd" ? ", or a larger batch" : ""}.`, wrong: true };
      }
      if (theory?.error) return { text: theory.error, wrong: true };
      const data = settings.training === "sgd" ? `${settings.batch} fresh prompts each` : run.used_sequences === null ? "infinitely many sequences" : `${number(run.used_sequences, 6)} sequences`;
      const short = run.is_short ? "too few for the slowest mode" : "";
      const noFloor = floor?.no_floor ? `no floor: ${floor.no_floor}` : "";
      const words = theory ? "" : "theory is being computed";
      return { text: [`${number(run.steps, 6)} steps`, data, short, `minimum ${number(run.minimum, 5)}`, words, noFloor].filter(Boolean).join(" · ") };
    },
  };
}
