/** How figures are written. */
import { round } from './stats.mjs';

/** @param {number} n */
export const count = (n) => n.toLocaleString('en');

/** @param {number | null | undefined} ms */
export function duration(ms) {
  if (ms === null || ms === undefined) return 'never';
  if (ms < 1_000) return `${round(ms)} ms`;
  return `${round(ms / 1_000, ms < 10_000 ? 1 : 0)} s`;
}

/** @param {number} mb */
export const megabytes = (mb) => `${round(mb, mb < 10 ? 1 : 0)} MB`;

/**
 * @param {string[]} head
 * @param {string[][]} rows
 */
export function table(head, rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, i) => (i === 0 ? '---' : '---:'));
  return [head, rule, ...rows].map(line).join('\n');
}
