// The tab of linear attention.

export function build(place, tools) {
  const loss = tools.card(place, "Loss", "wide");
  loss.legend([{ label: "gradient descent", color: "run" }, { label: "theory", color: "theory", key: "dashed" }]);
  const chart = tools.lineChart(loss, { x: "flow time", height: 300, right: 76, label: "Loss over flow time" });
  return {
    show({ answers }) {
      const { run, theory } = answers;
      chart.draw({
        x: run.flow_time,
        lines: [
          { label: "run", values: run.loss, color: "run", width: 2.5 },
          { label: "theory", values: theory?.predicted ?? run.loss.map(() => null), color: "theory", dash: "dashed", width: 1.5 },
        ],
      });
    },
    status({ answers }) {
      return { text: answers.theory ? "theory: staircase" : "theory is being computed" };
    },
  };
}
