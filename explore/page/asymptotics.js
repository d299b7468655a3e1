// The tab of asymptotics: errors over an axis, over the ridge, and along gradient flow.

import { resampled } from "./series.js";

const AXES = {
  tau: { name: "τ = P/D², prompts for each feature (without the label row)", words: "sequences τ" },
  kappa: { name: "κ = k/D, tasks for each dimension", words: "tasks κ" },
  alpha: { name: "α = N/D, tokens for each dimension", words: "context α" },
};
const HIGHEST = 12; // times the loss of no prediction: beyond it a pole says no more
const NEW = 2; // colours of the errors on new tasks and on those of training
const TRAINING = 1;

export function build(place, tools) {
  const { card, lineChart, table, number } = tools;
  const phone = () => window.innerWidth < 900;
  let shown = null;

  const main = card(place, "Test error", "wide");
  const options = { log: true, logY: true, alone: true };
  // One chart for each axis, as the name of an axis does not change.
  const charts = Object.fromEntries(Object.entries(AXES).map(([over, axis]) => [over, lineChart(main, {
    ...options, x: axis.name, right: 96, height: () => (phone() ? 210 : 330), label: `Test errors over ${axis.words}`,
  })]));
  const ridge = card(place, "Over the ridge λ");
  const linear = { ...options, logY: false };
  const ridgeChart = lineChart(ridge, { ...linear, x: "ridge λ", right: 16, height: 250, label: "Test errors over the ridge" });
  const flow = card(place, "Along gradient flow, without ridge");
  const flowChart = lineChart(flow, { ...linear, x: "flow time θ", right: 16, height: 250, label: "Test errors along gradient flow" });
  const values = card(place, "At these ratios", "wide");
  const valueTable = table(values, ["", "new tasks", "training tasks", "gap", "at"]);

  const capped = (series, top) => series.map((y) => (y === null || y > top ? null : y));

  const both = (icl, idg, top, more) => [
    { label: "new tasks", values: capped(icl, top), color: NEW, width: 2.5, ...more },
    { label: "training tasks", values: capped(idg, top), color: TRAINING, width: 2.5, ...more },
  ];

  function dots(finite, top) {
    const list = finite?.fits ?? [];
    const of = (name, color) => list.map((fit, index) => ({ x: finite.fit_x[index], y: fit[name], error: fit[`${name}_error`], color }));
    return [...of("icl", NEW), ...of("idg", TRAINING)].filter((point) => point.y < top);
  }

  function drawMain() {
    const { answers, settings } = shown;
    const { limit, finite } = answers;
    const top = HIGHEST * limit.zero_loss;
    const none = limit.x.map(() => null);
    const equivalent = (name) => (finite?.equivalent_x ? capped(resampled(finite.equivalent_x, finite[name], limit.x), top) : none);
    const sizes = finite?.sizes;
    main.legend([
      { label: "on new tasks (ICL)", color: NEW },
      { label: "on training tasks (IDG)", color: TRAINING },
      { label: "new tasks, best ridge", color: NEW, key: "thin" },
      { label: `D = ${settings.dimension}, equivalent`, color: "muted", key: "dotted" },
      { label: `D = ${settings.dimension}, fits to data`, color: "muted", key: "dot" },
      { label: "least of any predictor", color: "theory", key: "dashed" },
    ]);
    for (const [over, chart] of Object.entries(charts)) chart.element.hidden = over !== settings.over;
    const here = Number(settings[settings.over]);
    const verticals = Number.isFinite(here) ? [{ x: here }] : [];
    if (settings.over === "tau" && settings.ridge === 0) verticals.push({ x: 1 });
    main.retitle(`Test error over ${AXES[settings.over].words}`);
    main.note(settings.over === "tau" ? (settings.ridge === 0 ? "pole at τ = 1, where there are as many prompts as features" : "any ridge removes the pole at τ = 1") : "");
    values.note(sizes ? `at D = ${settings.dimension} they stand for ${number(sizes.context)} tokens, ${sizes.tasks === null ? "a fresh task in each of" : `${number(sizes.tasks)} tasks and`} ${number(sizes.sequences, 6)} prompts` : "");
    charts[settings.over].draw({
      x: limit.x,
      lines: [
        { label: "least", values: limit.bayes, color: "theory", dash: "dashed", width: 1.5 },
        { label: "best ridge", values: capped(limit.icl_best, top), color: NEW, width: 1 },
        ...both(limit.icl, limit.idg, top, {}),
        ...both(equivalent("equivalent_icl"), equivalent("equivalent_idg"), top, { dash: "dotted", width: 1.5 }),
      ],
      levels: [{ y: limit.zero_loss, label: "no prediction" }],
      verticals,
      dots: dots(finite, top),
    });
    charts[settings.over].describe(`Errors on new and on training tasks over ${AXES[settings.over].words}; at the sliders ${number(limit.here.icl)} and ${number(limit.here.idg)}`);
  }

  function drawOthers() {
    const { limit, flow: along } = shown.answers;
    const top = HIGHEST * limit.zero_loss;
    const level = [{ y: limit.zero_loss, label: "" }];
    ridge.note(`best on new tasks: λ = ${number(limit.best_ridge, 2)}`);
    ridgeChart.draw({
      x: limit.ridges,
      lines: both(limit.icl_over_ridges, limit.idg_over_ridges, top, {}),
      levels: level,
      verticals: [{ x: limit.best_ridge }],
    });
    if (!along?.theta) return;
    flow.note(along.stop ? `best on new tasks: θ = ${number(along.stop.theta, 3)}` : "");
    flowChart.draw({
      x: along.theta,
      lines: both(along.icl_of_flow, along.idg_of_flow, top, {}),
      levels: level,
      verticals: along.stop?.theta ? [{ x: along.stop.theta }] : [],
    });
  }

  function drawTable() {
    const { limit, flow: along } = shown.answers;
    const ratio = number(shown.settings.ridge, 3);
    const gap = limit.icl_at_best_ridge - limit.idg_at_best_ridge;
    valueTable.rows([
      ["ridge as set", number(limit.here.icl), number(limit.here.idg), number(limit.here.gap), `λ = ${ratio}`],
      ["best ridge for new tasks", number(limit.icl_at_best_ridge), number(limit.idg_at_best_ridge), number(gap), `λ = ${number(limit.best_ridge, 2)}`],
      ["gradient flow, stopped at the best time", number(along?.stop?.error), "", "", along?.stop?.theta ? `θ = ${number(along.stop.theta, 3)}` : "—"],
      ["gradient flow, to its end", along?.stop && along.stop.end === null ? "∞: the pole" : number(along?.stop?.end), "", "", "θ → ∞"],
      ["no prediction", number(limit.zero_loss), number(limit.zero_loss), "0", ""],
    ]);
  }

  return {
    show(arrived) {
      shown = arrived;
      drawMain();
      drawOthers();
      drawTable();
    },
    status({ answers, settings, moving }) {
      const { limit, flow: along, finite } = answers;
      const failed = [along, finite].find((answer) => answer?.error);
      if (failed) return { text: failed.error, wrong: true };
      if (limit.here.refused) return { text: `No value at the sliders: ${limit.here.refused}.`, wrong: true };
      const words = `new tasks ${number(limit.here.icl)}, training tasks ${number(limit.here.idg)}`;
      const best = along?.stop?.error ? `best ridge ${number(limit.icl_at_best_ridge)}, stopping early ${number(along.stop.error)}` : `best ridge ${number(limit.icl_at_best_ridge)}`;
      const count = finite?.fit_x ? `fits to data of D = ${settings.dimension} at ${finite.fit_x.length} points` : "";
      const waiting = !finite && !moving ? `fits at D = ${settings.dimension} are being computed` : "";
      return { text: [words, best, count || waiting].filter(Boolean).join(" · ") };
    },
  };
}
