// Numbers in words and on axes.

const SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉";

/** A value of a setting, short: 0.002, 20k, ∞. */
export function short(value) {
  if (value === "inf" || value === Infinity) return "∞";
  if (typeof value !== "number") return String(value);
  if (Math.abs(value) >= 1e6) return `${trimmed(value / 1e6)}M`;
  if (Math.abs(value) >= 1e4) return `${trimmed(value / 1e3)}k`;
  return trimmed(value);
}

/** A number with so many significant digits, in plain notation where that is short; — for none. */
export function number(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "—";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    return `${mantissa.startsWith("-") ? "−" : ""}${Math.abs(Number(mantissa))}·10${superscript(Number(exponent))}`;
  }
  const rounded = Number(value.toPrecision(digits));
  const decimals = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  const text = rounded.toLocaleString("en", { maximumFractionDigits: Math.min(decimals, 12) });
  return text.replace("-", "−");
}

/** A difference in per cent, with its sign. */
export function percent(share) {
  if (share === null || share === undefined || !Number.isFinite(share)) return "—";
  const value = Math.abs(100 * share).toFixed(1);
  const sign = value === "0.0" ? "±" : share < 0 ? "−" : "+";
  return `${sign}${value} %`;
}

/** {1,2} for directions learned, ∅ for none; of many, {1–4,6}. */
export function subset(directions) {
  if (!directions.length) return "∅";
  if (directions.length < 5) return `{${directions.join(",")}}`;
  const runs = [];
  for (const direction of directions) {
    const last = runs[runs.length - 1];
    if (last && direction === last[1] + 1) last[1] = direction;
    else runs.push([direction, direction]);
  }
  const words = runs.map(([first, last]) => (first === last ? first : `${first}${last === first + 1 ? "," : "–"}${last}`));
  return `{${words.join(",")}}`;
}

/** λ₁ for a symbol and its number. */
export function indexed(symbol, index) {
  return symbol + [...String(index)].map((digit) => SUBSCRIPTS[digit]).join("");
}

function trimmed(value) {
  return String(Number(value.toPrecision(4)));
}

function superscript(exponent) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const text = [...String(Math.abs(exponent))].map((digit) => digits[digit]).join("");
  return exponent < 0 ? `⁻${text}` : text;
}
