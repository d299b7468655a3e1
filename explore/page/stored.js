// The page that is opened from disk: answers to a grid of settings are stored in it.

import { defaults } from "./controls.js";
import { start } from "./explorer.js";

const page = JSON.parse(document.getElementById("stored-tabs").textContent);
const answers = unpacked(document.getElementById("stored-answers").textContent);

const stored = {
  tabs: async () => page.tabs,
  script: (tab) => import(tab.name),
  limits: (tab, settings) => () => ({ ...gridOf(tab, settings), ...options(tab) }),
  async ask(tab, part, settings) {
    const grid = gridOf(tab, settings);
    const usual = defaults(tab, settings);
    const isStored = grid && tab.controls.every(({ name }) => name in grid || isSame(settings[name], usual[name]));
    const places = Object.entries(grid ?? {}).map(([name, values]) => [values.findIndex((value) => isSame(value, settings[name])), values.length]);
    if (!isStored || places.some(([place]) => place < 0)) {
      throw new Error("The answer to these settings is not stored: attndyn explore computes it.");
    }
    const index = places.reduce((sum, [place, count]) => sum * count + place, 0);
    const all = await answers;
    return all[page.grids.indexOf(grid)][index][part];
  },
};

// The grid whose options are the chosen ones.
function gridOf(tab, settings) {
  const choices = tab.controls.filter((control) => control.kind === "choice").map((control) => control.name);
  return page.grids.find((grid) => choices.every((name) => !(name in grid) || grid[name].includes(settings[name])));
}

// The options that some grid has.
function options(tab) {
  const choices = tab.controls.filter((control) => control.kind === "choice");
  return Object.fromEntries(choices.map(({ name }) => [name, page.grids.flatMap((grid) => grid[name] ?? [])]));
}

function isSame(first, second) {
  return JSON.stringify(first) === JSON.stringify(second);
}

async function unpacked(text) {
  const bytes = Uint8Array.from(atob(text.trim()), (character) => character.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).json();
}

start(stored);
