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

/**
 * How renewals come.
 *
 * @param {Pick<import('./results.mjs').Heartbeat, 'pace' | 'perSecond' | 'keys'>} beat
 */
export function renewals({ pace, perSecond = 0, keys }) {
  if (pace === 'flood') return 'as fast as it goes';
  const rate = `${count(perSecond)} a second over ${count(keys)} keys`;
  return `${rate}, ${pace === 'apart' ? 'each by itself' : 'a thousand in one go'}`;
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

/**
 * @param {string} title
 * @param {readonly import('./report.mjs').Target[]} list
 */
export function targetSection(title, list) {
  if (list.length === 0) return [];
  const rows = list.map(({ what, result, target }) => [what, result, target]);
  return [`### ${title}`, table(['', 'Measured', 'Meant to be'], rows)];
}

/** @param {import('./results.mjs').Results} results */
export function environments(results) {
  const texts = Object.entries(results).map(([name, part]) => {
    const { environment: e, date } = part;
    return [
      name,
      `${e.cpu}, ${e.cores} cores, ${e.memory}; Node ${e.node}, Redis ${e.redis}, Nest ${e.nest}, ioredis ${e.ioredis}, BullMQ ${e.bullmq}; ${date.slice(0, 10)}`,
    ];
  });
  const different = new Set(texts.map(([, text]) => text));
  return different.size === 1
    ? [...different]
    : texts.map(([name, text]) => `- ${name}: ${text}`);
}
