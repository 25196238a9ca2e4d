import { ask } from '../context.js';
import type { CheckContext, DoctorNode } from '../context.js';
import type { Check, Finding } from '../finding.js';

/** Pages of a scan, and how many keys a page looks at. */
const PAGES = 20;
const PAGE = 500;
/** Keys whose TTL is read. */
const SAMPLE = 500;

/** A sample of the keys that match: whether they expire at all, and when. */
export const keys: Check = {
  area: 'keys',
  run: async (context) => {
    const { patterns, readOnly } = context;
    // A scan lets Redis remove what is due.
    if (patterns.length === 0 || readOnly)
      return [
        {
          level: 'skipped',
          saw: readOnly
            ? 'keys are not scanned with --read-only'
            : "give --pattern 'device:*' to look at keys",
        },
      ];
    const found = await Promise.all(
      patterns.map((pattern) => look(pattern, context)),
    );
    return found.flat();
  },
};

async function look(
  pattern: string,
  { nodes }: CheckContext,
): Promise<Finding[]> {
  const samples = await Promise.all(nodes.map((node) => sample(node, pattern)));
  if (samples.some((each) => each === undefined))
    return [{ level: 'skipped', saw: 'SCAN or PTTL is forbidden' }];
  const ttls = samples.flatMap((each) => each!);
  const name = JSON.stringify(pattern);
  const volatile = ttls.filter((ttl) => ttl >= 0);
  const figures = { sampled: ttls.length, volatile: volatile.length };
  if (ttls.length === 0)
    return [
      { level: 'ok', saw: `no key that matches ${name} was met`, figures },
    ];
  if (volatile.length === 0)
    return [
      {
        level: 'warning',
        saw: `${ttls.length} keys match ${name}, and none has a TTL`,
        why: 'A key without a TTL never expires. Set it with PX or EX, and mind that a SET without them takes the TTL away.',
        figures,
      },
    ];
  return [
    {
      level: 'ok',
      saw: `${ttls.length} keys that match ${name} were met; ${volatile.length} have a TTL: ${histogram(volatile)}`,
      figures,
    },
  ];
}

/** The ms to live of keys that match; undefined where they may not be looked at. */
async function sample(
  { redis }: DoctorNode,
  pattern: string,
): Promise<number[] | undefined> {
  const names: string[] = [];
  let cursor = '0';
  for (let page = 0; page < PAGES && names.length < SAMPLE; page++) {
    const reply = await ask(
      redis.scan(cursor, 'MATCH', pattern, 'COUNT', PAGE),
    );
    if (!reply) return undefined;
    cursor = reply[0];
    names.push(...reply[1]);
    if (cursor === '0') break;
  }
  const sampled = names.slice(0, SAMPLE);
  const ttls = await Promise.all(sampled.map((key) => ask(redis.pttl(key))));
  if (ttls.includes(undefined)) return undefined;
  return ttls.flatMap((ttl) => (ttl === undefined || ttl === -2 ? [] : [ttl]));
}

function histogram(ttls: readonly number[]): string {
  const limits: [string, number][] = [
    ['under 10 s', 10_000],
    ['under 1 min', 60_000],
    ['under 1 h', 3_600_000],
    ['longer', Infinity],
  ];
  let above = 0;
  return limits
    .flatMap(([name, limit]) => {
      const count = ttls.filter((ttl) => ttl >= above && ttl < limit).length;
      above = limit;
      return count === 0 ? [] : [`${count} ${name}`];
    })
    .join(', ');
}
