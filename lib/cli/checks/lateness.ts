import type { CheckContext, DoctorNode } from '../context.js';
import { setting } from '../context.js';
import { type Finding, checkOfEach } from '../finding.js';
import { type Lateness, measure } from '../measuring.js';

/** Seconds above which it is said how late Redis alone is. */
const NOTABLE_S = 1;

/**
 * How late Redis is if nobody looks, by a model and measured, and how late it is if keys are touched when
 * they are due, as the module does.
 */
export const lateness = checkOfEach('lateness', look);

async function look(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  const findings = [await modelOf(node, context)];
  if (context.readOnly || node.info.get('role') === 'slave')
    return [
      ...findings,
      { level: 'skipped', node: node.address, saw: 'lateness is not measured' },
    ];
  const measured = await measure(node, context);
  if ('refused' in measured)
    return [
      ...findings,
      {
        level: 'skipped',
        node: node.address,
        saw: `lateness could not be measured: ${measured.refused}`,
      },
    ];
  return [...findings, ...told(node, measured, context)];
}

/** What the settings and the number of keys let expect. */
async function modelOf(
  { redis, info, address }: DoctorNode,
  { database }: CheckContext,
): Promise<Finding> {
  const [, expires] =
    /expires=(\d+)/.exec(info.get(`db${database}`) ?? '') ?? [];
  const volatile = Number(expires ?? 0);
  const hz = Number((await setting(redis, 'hz')) ?? info.get('hz') ?? 10);
  const effort = Number((await setting(redis, 'active-expire-effort')) ?? 1);
  const worst = volatile / (hz * (20 + 5 * (effort - 1)));
  return {
    level: 'ok',
    node: address,
    saw:
      `${volatile} keys have a TTL, hz is ${hz}, effort ${effort}: ` +
      `Redis alone is up to ${worst < 1 ? 'a second' : `${Math.round(worst)} s`} late`,
    ...(worst > NOTABLE_S && {
      why: 'Redis looks for keys that ran out by samples. The module touches each key when it is due, and does not wait for that.',
    }),
    figures: { volatile, hz, effort, modelWorstS: worst },
  };
}

function told(
  { address }: DoctorNode,
  { untouched, touched, keys }: Lateness,
  { measureMs }: CheckContext,
): Finding[] {
  const of = (times: readonly number[], share: number): number =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ??
    Infinity;
  const figuresOf = (times: readonly number[]): Record<string, number> => ({
    keys,
    heard: times.length,
    ...(times.length > 0 && {
      p50Ms: of(times, 0.5),
      p99Ms: of(times, 0.99),
    }),
  });
  const spread = (times: readonly number[]): string =>
    times.length === 0
      ? 'none'
      : `p50 ${of(times, 0.5).toFixed(0)} ms, p99 ${of(times, 0.99).toFixed(0)} ms`;
  const isLate = touched.length < keys || of(touched, 0.5) > 100;
  return [
    {
      level: 'ok',
      node: address,
      saw: `Redis alone announced ${untouched.length} of ${keys} keys within ${measureMs / 1_000} s (${spread(untouched)})`,
      figures: figuresOf(untouched),
    },
    {
      level: isLate ? 'warning' : 'ok',
      node: address,
      saw: `touched when due, as the module does: ${touched.length} of ${keys} (${spread(touched)})`,
      ...(isLate && {
        why: 'The server, the network or this machine is overloaded: handlers will be as late.',
      }),
      figures: figuresOf(touched),
    },
  ];
}
