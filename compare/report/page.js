"use strict";
(() => {
  const bar = document.getElementById("filter");
  const rows = [...document.querySelectorAll("#verdicts tbody tr")];
  const body = document.querySelector("#verdicts tbody");
  const original = [...rows];

  function matches(row) {
    const words = bar.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = (name) => !bar.elements[name].value || bar.elements[name].value === row.dataset[name];
    return ["level", "tier", "section"].every(chosen)
      && (!bar.elements.unexpected.checked || row.dataset.holds === "no")
      && words.every((word) => row.dataset.words.toLowerCase().includes(word));
  }

  function filter() {
    let shown = 0;
    for (const row of rows) {
      const wanted = matches(row);
      shown += wanted;
      row.hidden = !wanted;
      document.getElementById(row.dataset.claim).hidden = !wanted;
    }
    document.getElementById("shown").textContent = `${shown} of ${rows.length} claims shown`;
    document.getElementById("none").hidden = shown > 0;
  }

  function showAll() {
    bar.reset();
    filter();
  }

  function sort(button) {
    const head = button.closest("th");
    const order = { none: "ascending", ascending: "descending", descending: "none" }[head.ariaSort || "none"];
    for (const other of head.parentNode.children) other.ariaSort = "none";
    head.ariaSort = order;
    const value = (row) => row.cells[head.cellIndex].dataset.value ?? row.cells[head.cellIndex].textContent.trim();
    const compare = (a, b) => value(a).localeCompare(value(b), "en", { numeric: true });
    const sign = order === "descending" ? -1 : 1;
    body.append(...(order === "none" ? original : [...rows].sort((a, b) => sign * compare(a, b))));
  }

  function reveal() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target || !target.hidden) return;
    showAll();
    target.scrollIntoView();
  }

  bar.hidden = false;
  for (const kind of ["input", "change"]) bar.addEventListener(kind, filter);
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.querySelector("button").addEventListener("click", showAll);
  window.addEventListener("hashchange", reveal);
  for (const head of document.querySelectorAll("#verdicts thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(button));
    head.append(button);
  }
  filter();
})();
