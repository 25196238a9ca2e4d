/** What the figures are made of. */

/** Points of a curve in `latest.json`: enough for a chart, few enough to read. */
const CURVE_POINTS = 120;

/**
 * @param {readonly number[]} sorted ascending
 * @param {number} share from 0 to 1
 * @returns {number} the least value that at least that share does not exceed; NaN of nothing
 */
export function quantile(sorted, share) {
  const rank = Math.max(1, Math.ceil(sorted.length * share));
  return sorted[rank - 1] ?? Number.NaN;
}

/** @param {readonly number[]} values */
export const median = (values) =>
  quantile(
    values.toSorted((a, b) => a - b),
    0.5,
  );

/**
 * @param {number} value
 * @param {number} [digits] after the point
 */
export const round = (value, digits = 0) => Number(value.toFixed(digits));

/**
 * Lateness of everything that was expected: what never came counts as later than all that came, so
 * that losing events never makes a percentile better.
 *
 * @param {readonly number[]} lateness in ms, of what came
 * @param {number} expected
 * @returns {{ p50: number | null, p99: number | null, max: number | null }} null: it never came
 */
export function latenessOf(lateness, expected) {
  const sorted = lateness.toSorted((a, b) => a - b);
  const at = (/** @type {number} */ share) => {
    const rank = Math.max(
      1,
      Math.ceil(Math.max(expected, sorted.length) * share),
    );
    return sorted[rank - 1] ?? null;
  };
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

/**
 * The share that was handled within a lateness, at the values where a reader sees a difference.
 *
 * @param {readonly number[]} lateness in ms
 * @param {number} expected
 * @returns {[ms: number, share: number][]}
 */
export function curveOf(lateness, expected) {
  const sorted = lateness.toSorted((a, b) => a - b);
  /** @type {Map<number, number>} */
  const shares = new Map();
  const step = Math.max(1, Math.floor(sorted.length / CURVE_POINTS));
  sorted.forEach((ms, i) => {
    if (i % step === 0 || i === sorted.length - 1)
      shares.set(ms, round((i + 1) / expected, 5));
  });
  return [...shares];
}
