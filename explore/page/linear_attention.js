// The tab of linear attention: loss, coefficients, maps and exit times of a run and of its theory.

export function build(place, tools) {
  const narrow = () => window.innerWidth <= 900;

  const lossCard = tools.card(place, "Loss", "wide");
  lossCard.legend([
    { label: "gradient descent", color: "run" },
    { label: "theory", color: "theory", key: "dashed" },
    { label: "fixed point visited", key: "thin" },
    { label: "another fixed point", key: "tick" },
    { label: "predicted exit", key: "dotted" },
  ]);
  const loss = tools.lineChart(lossCard, {
    x: "flow time", height: () => (narrow() ? 190 : 290), right: 84, label: "Loss over flow time", onPointer: (x) => point(x, false),
  });
  tools.check(lossCard, "log time", (log) => {
    loss.setAxes({ log });
    coefficients.setAxes({ log });
  });

  const coefficientCard = tools.card(place, "What each direction has learned");
  const coefficients = tools.lineChart(coefficientCard, {
    x: "flow time", height: 236, label: "Coefficient of the effective map on each direction over flow time", onPointer: (x) => point(x, false),
  });

  const mapCard = tools.card(place, "Effective map M");
  const maps = tools.maps(mapCard, ["run", "theory", "minimum"]);
  const moment = tools.timeSlider(mapCard, "flow time", (x) => point(x, true));

  const exitCard = tools.card(place, "Exit times");
  const exits = tools.table(exitCard, ["plateau", "loss", "theory", "run", "difference"]);

  let latest = null; // the answers that are drawn
  let time = null; // where the pointer is; null: at the end

  // The maps at a time of the pointer, or of the slider below them, which then moves the pointer.
  function point(x, moves) {
    time = x;
    if (moves) loss.point(x);
    drawMaps();
  }

  function drawMaps() {
    if (!latest) return;
    const { run, theory } = latest;
    const times = run.flow_time;
    const end = times[times.length - 1];
    const at = Math.min(time ?? end, end);
    const count = theory ? theory.predicted_maps.length : run.maps.length;
    const index = Math.min(nearestIndex(times, at, run.map_spacing), count - 1);
    const shown = times[index * run.map_spacing];
    const own = run.maps[index] ?? null; // none after it has become unstable
    const predicted = theory?.predicted_maps[index] ?? null;
    maps.draw([own, predicted, run.minimum], largest(run, theory));
    mapCard.note(`at flow time ${tools.number(shown, 4)}${time === null ? " · move over a curve" : ""}`);
    moment.set(shown, times[0], end);
  }

  function show({ answers }) {
    const { run } = answers;
    // A theory of other prompts, as while a slider comes to rest, has other times.
    const isSame = answers.theory?.predicted_loss?.length === run.flow_time.length;
    const theory = isSame ? answers.theory : null;
    latest = { run, theory };
    const nothing = run.flow_time.map(() => null);
    const plateaus = theory?.plateaus ?? [];
    loss.draw({
      x: run.flow_time,
      lines: [
        { label: "gradient descent", values: run.loss, color: "run", width: 2.5 },
        { label: "theory", values: theory?.predicted_loss ?? nothing, color: "theory", dash: "dashed", width: 1.6 },
      ],
      levels: plateaus.map(({ loss: y, subset }) => ({ y, label: tools.subset(subset) })),
      ticks: theory?.others ?? [],
      verticals: plateaus.filter((plateau) => plateau.theory !== null).map((plateau) => ({ x: plateau.theory })),
      top: run.is_stable ? null : 1.3 * run.loss[0],
    });
    const named = plateaus.map(({ subset }) => tools.subset(subset)).join(", ");
    loss.describe(`Loss over flow time, from ${tools.number(run.loss[0], 3)}. ${named ? `The theory visits ${named}.` : ""}`);

    const directions = run.coefficients.map((_, index) => index + 1);
    coefficientCard.legend(directions.map((d) => ({ label: `d = ${d}`, color: d })));
    coefficients.draw({
      x: run.flow_time,
      lines: [
        ...directions.map((d) => ({ label: `run, d = ${d}`, values: run.coefficients[d - 1], color: d, width: 2.2 })),
        ...directions.map((d) => ({
          label: `theory, d = ${d}`, values: theory?.predicted_coefficients[d - 1] ?? nothing, color: d, dash: "dashed", width: 1.4,
        })),
      ],
      top: run.is_stable ? null : 1.5 * Math.max(...run.minimum.flat()),
    });
    drawMaps();
    const decimals = (t) => (t === null ? "—" : t.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
    exits.rows(plateaus.map((plateau, index) => [
      tools.subset(plateau.subset),
      plateau.loss.toFixed(4),
      index < plateaus.length - 1 ? decimals(plateau.theory) : "",
      index < plateaus.length - 1 ? decimals(plateau.run) : "",
      plateau.theory && plateau.run ? tools.percent(plateau.run / plateau.theory - 1) : "",
    ]));
  }

  function status({ settings, answers }) {
    const { run, theory } = answers;
    if (!run.is_stable) {
      const stable = run.stable_rate === null ? "" : ` At ${tools.short(run.stable_rate)} it is stable.`;
      const steps = `${tools.number(run.steps)} ${run.steps === 1 ? "step" : "steps"}`;
      return { text: `Gradient descent is unstable at learning rate ${tools.short(settings.rate)}: its loss explodes after ${steps}.${stable}`, wrong: true };
    }
    const sequences = run.sequences === null ? "unlimited data" : `${tools.number(run.sequences, 7)} sequences`;
    const words = [`${tools.number(run.steps, 7)} steps`, sequences];
    if (!theory) words.push("theory is being computed");
    else if (theory.error) words.push(`no theory: ${theory.error}`);
    else words.push(`theory: ${theory.source}`, `rms gap ${tools.number(theory.gap, 2)}`);
    if (theory?.reservation) words.push(theory.reservation);
    return { text: words.join(" · ") };
  }

  return { show, status, python: "half" };
}

function nearestIndex(times, at, spacing) {
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= at) low = middle;
    else high = middle;
  }
  return Math.round((at - times[low] > times[high] - at ? high : low) / spacing);
}

// One scale of colours for all times, so that a map that grows is seen to grow.
function largest(run, theory) {
  const size = (map) => Math.max(...map.flat().map(Math.abs));
  const last = run.is_stable ? run.maps[run.maps.length - 1] : run.minimum;
  const predicted = theory?.predicted_maps[theory.predicted_maps.length - 1];
  return Math.max(size(run.minimum), size(last), predicted ? size(predicted) : 0);
}
