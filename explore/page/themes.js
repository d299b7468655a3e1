// Light and dark: the colours of the style sheet for canvases, and the button that changes them.

const NAMES = ["ground", "card", "edge", "text", "muted", "faint", "accent", "warning", "run", "theory", "positive", "negative", "zero"];
const DIRECTIONS = 8;

const listeners = new Set();
let current = null;

/** The colours of the theme by their names in the style sheet; `directions` has those of eight directions. */
export function colours() {
  if (current) return current;
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(`--${name}`).trim();
  current = Object.fromEntries(NAMES.map((name) => [name, value(name)]));
  current.directions = Array.from({ length: DIRECTIONS }, (_, d) => value(`direction-${d + 1}`));
  return current;
}

/** Calls the function whenever the theme has changed. */
export function onTheme(listener) {
  listeners.add(listener);
}

/** Follows the system, or what the button has chosen before. */
export function startThemes(button) {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  apply(remembered() ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => {
    if (!remembered()) apply(dark.matches ? "dark" : "light");
  });
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("attndyn-theme", next);
    } catch {
      // Storage may be switched off.
    }
    apply(next);
  });
}

function apply(theme) {
  document.documentElement.dataset.theme = theme;
  current = null;
  for (const listener of listeners) listener();
}

function remembered() {
  try {
    return localStorage.getItem("attndyn-theme");
  } catch {
    return null;
  }
}
