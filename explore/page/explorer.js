// The page: tabs, settings in the address, answers drawn as they arrive.

import { controls, defaults } from "./controls.js";
import { Exchange } from "./exchange.js";
import { startThemes } from "./themes.js";
import { tools } from "./tools.js";

const REST = 250; // ms without a move after which everything is computed in full
const find = (selector) => document.querySelector(selector);

/** Milliseconds from a change of a control to the curves that are drawn of it, for tests. */
window.latencies = [];

const opened = new Map(); // what has been built, by the name of the tab
let current = null;

/**
 * Opens the page with the tabs, scripts and answers of a source: `tabs()`, `script(tab)`, `ask(tab, part, settings,
 * moving)`, and `limits(tab, settings)`, a function that gives the values that controls may have, or null.
 */
export async function start(source) {
  startThemes(find(".theme"));
  const tabs = await source.tabs();
  const address = readAddress();
  find(".tabs").replaceChildren(...tabs.map((tab) => tabButton(tab, () => open(tab, source, {}))));
  find(".tabs").addEventListener("keydown", moveAlongTabs);
  find(".copy-python").addEventListener("click", (event) => copy(event.target, find(".python code").textContent));
  window.addEventListener("hashchange", () => follow(tabs, source));
  await open(addressed(tabs, address), source, address);
}

// The tab of an address; else the first one that is not on a page of its own.
function addressed(tabs, address) {
  const here = tabs.filter((tab) => !tab.href);
  return here.find((tab) => tab.name === address.tab) ?? here[0];
}

// An address that was pasted or chosen from the history.
function follow(tabs, source) {
  const address = readAddress();
  const tab = addressed(tabs, address);
  if (location.hash !== current?.hash) open(tab, source, address);
}

async function open(tab, source, given) {
  for (const button of find(".tabs").querySelectorAll("button")) {
    const chosen = button.dataset.tab === tab.name;
    button.setAttribute("aria-selected", chosen);
    button.tabIndex = chosen ? 0 : -1;
  }
  document.title = `${tab.title} · attndyn explorer`;
  find(".introduction").textContent = tab.introduction;
  const known = opened.get(tab.name) ?? (await built(tab, source));
  opened.set(tab.name, known);
  for (const other of opened.values()) other.place.hidden = other !== known;
  current = known;
  const python = find(".python");
  python.className = `card python ${known.view.python ?? "wide"}`;
  known.place.append(python);
  Object.assign(known.settings, fromAddress(tab, given, known.settings));
  known.controls = controls(find(".controls"), tab, known.settings, (moving) => change(known, moving), source.limits(tab, known.settings));
  find(".controls").append(stateButtons(known, source));
  change(known, false);
}

async function built(tab, source) {
  const place = document.createElement("div");
  place.className = "place";
  find(".places").append(place);
  const script = await source.script(tab);
  const view = script.build(place, tools);
  const known = { tab, place, view, settings: defaults(tab), timer: 0 };
  known.exchange = new Exchange(tab, source, (arrived) => show(known, arrived), (error) => fail(known, error));
  return known;
}

function change(known, moving) {
  known.exchange.want(known.settings, moving);
  clearTimeout(known.timer);
  if (moving) {
    // The full answer, also where the handle is held still.
    known.timer = setTimeout(() => change(known, false), REST);
  } else {
    writeAddress(known);
  }
}

function show(known, arrived) {
  if (known !== current) return;
  known.place.classList.remove("outdated");
  known.view.show(arrived);
  const { answers } = arrived;
  const [first] = known.tab.parts;
  const milliseconds = Object.values(answers).reduce((sum, answer) => sum + (answer.milliseconds ?? 0), 0);
  const words = known.view.status(arrived);
  const time = milliseconds ? ` · ${Math.round(milliseconds)} ms` : "";
  say(words.text + time, Boolean(words.wrong));
  find(".python code").textContent = answers[first].python;
  // After the frame with these curves.
  requestAnimationFrame(() => {
    window.latencies.push({
      moving: arrived.moving,
      parts: Object.keys(answers),
      milliseconds: performance.now() - arrived.since,
      settings: arrived.settings,
    });
  });
}

function fail(known, error) {
  if (known !== current) return;
  known.place.classList.add("outdated");
  say(error.message, true);
}

function say(text, wrong) {
  const status = find(".status");
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function tabButton(tab, choose) {
  if (tab.href) {
    const link = Object.assign(document.createElement("a"), { href: tab.href, textContent: tab.title });
    link.setAttribute("role", "tab");
    link.setAttribute("aria-selected", "false");
    return link;
  }
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: tab.title });
  button.setAttribute("role", "tab");
  button.dataset.tab = tab.name;
  button.addEventListener("click", choose);
  return button;
}

function moveAlongTabs(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const tabs = [...find(".tabs").children];
  const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
  next.focus();
  if (next.dataset.tab) next.click();
}

function stateButtons(known, source) {
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  const reset = Object.assign(document.createElement("button"), { type: "button", textContent: "Reset" });
  reset.addEventListener("click", () => {
    Object.assign(known.settings, defaults(known.tab));
    known.controls.update();
    change(known, false);
  });
  const link = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy link" });
  link.addEventListener("click", () => {
    writeAddress(known);
    copy(link, location.href);
  });
  buttons.append(reset, link);
  return buttons;
}

async function copy(button, text) {
  const words = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = words), 1200);
}

// The address holds what differs from the defaults.

function readAddress() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

function writeAddress(known) {
  const { tab, settings } = known;
  const usual = defaults(tab, settings);
  const parts = new URLSearchParams({ tab: tab.name });
  for (const control of tab.controls) {
    const value = settings[control.name];
    const usualOption = control.kind === "choice" && value === control.options[0].value;
    const isUsual = control.kind === "choice" ? usualOption : String(value) === String(usual[control.name]);
    if (!isUsual) parts.set(control.name, String(value));
  }
  known.hash = `#${parts.toString().replaceAll("%2C", ",")}`;
  history.replaceState(null, "", known.hash);
}

// Settings as the address has them; those that it lacks keep their values if it names no tab.
function fromAddress(tab, given, settings) {
  if (!given.tab) return settings;
  const read = defaults(tab, given);
  for (const control of tab.controls) {
    const text = given[control.name];
    if (text === undefined) continue;
    if (control.kind === "slider") read[control.name] = text === "inf" ? text : Number(text);
    if (control.kind === "slider list") read[control.name] = text.split(",").map(Number);
    if (control.kind === "choice" && control.options.some((option) => option.value === text)) read[control.name] = text;
  }
  return read;
}
