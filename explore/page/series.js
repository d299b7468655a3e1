// Curves with times of their own on one axis.

/** The values of a curve at other times, by straight lines between its points; null beyond them and in gaps. */
export function resampled(times, values, at) {
  let right = 1;
  return at.map((time) => {
    if (!times.length || time < times[0] || time > times[times.length - 1]) return null;
    while (right < times.length - 1 && times[right] < time) right += 1;
    const left = Math.max(0, right - 1);
    if (values[left] === null || values[right] === null || values[right] === undefined) return values[left] ?? null;
    const span = times[right] - times[left];
    const share = span > 0 ? (time - times[left]) / span : 0;
    return values[left] + share * (values[right] - values[left]);
  });
}

/** All times of several lists, increasing, each once. */
export function together(...lists) {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

/** The number of the time in an increasing list that is nearest to a time. */
export function nearest(times, time) {
  let best = 0;
  times.forEach((each, index) => {
    if (Math.abs(each - time) < Math.abs(times[best] - time)) best = index;
  });
  return best;
}
