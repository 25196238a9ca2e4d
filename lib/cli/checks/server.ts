import { performance } from 'node:perf_hooks';
import type { CheckContext, DoctorNode } from '../context.js';
import { ask, ownKey } from '../context.js';
import { type Finding, checkOfEach } from '../finding.js';

const PINGS = 200;
/** Ms that they may take together. */
const PINGS_MS = 2_000;
/** Ms of a round trip above which handlers run late by it. */
const SLOW_MS = 20;
/** Ms by which clocks may differ without a word. */
const SKEW_MS = 1_000;

/** Which server it is, whether it is new enough, how quickly it answers, and whether it runs scripts. */
export const server = checkOfEach('server', look);

async function look(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  const findings = [versionOf(node, context)];
  const { redis, address } = node;
  const times: number[] = [];
  const end = performance.now() + PINGS_MS;
  while (times.length < PINGS && performance.now() < end) {
    const asked = performance.now();
    await ask(redis.ping());
    times.push(performance.now() - asked);
  }
  const [p50, p99] = [0.5, 0.99].map(
    (share) =>
      times.toSorted((a, b) => a - b)[Math.floor(share * times.length)]!,
  ) as [number, number];
  findings.push({
    level: p50 > SLOW_MS ? 'warning' : 'ok',
    node: address,
    saw: `a round trip takes ${p50.toFixed(1)} ms (p50), ${p99.toFixed(1)} ms (p99)`,
    ...(p50 > SLOW_MS && {
      why: 'Every handler runs later by a round trip or two. Run the application nearer to its Redis.',
    }),
    figures: { pingP50Ms: p50, pingP99Ms: p99 },
  });
  const time = await ask(redis.time());
  if (time) {
    const skew = Number(time[0]) * 1_000 + Number(time[1]) / 1_000 - Date.now();
    if (Math.abs(skew) > SKEW_MS)
      findings.push({
        level: 'warning',
        node: address,
        saw: `its clock is ${Math.round(skew)} ms ${skew > 0 ? 'ahead' : 'behind'}`,
        why: 'Deadlines go by the clock of Redis, so expiries are on time, but times in your logs do not agree.',
        figures: { clockSkewMs: Math.round(skew) },
      });
  }
  return [...findings, ...(await scriptsOf(node, context))];
}

function versionOf(
  { info, address }: DoctorNode,
  { group }: CheckContext,
): Finding {
  const version = info.get('redis_version');
  const found = { node: address };
  if (version === undefined)
    return {
      ...found,
      level: 'warning',
      saw: 'INFO is forbidden, so its version is not known',
      why: 'Redis 6.2 or newer is needed. Grant +info.',
    };
  const fork = ['valkey', 'dragonfly'].find((name) =>
    info.has(`${name}_version`),
  );
  const name = fork
    ? `${fork} ${info.get(`${fork}_version`)} (speaks as Redis ${version})`
    : `Redis ${version}`;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major < 6 || (major === 6 && minor < 2))
    return {
      ...found,
      level: group === undefined ? 'warning' : 'failure',
      saw: name,
      why: 'Groups need Redis 6.2 or newer, and broadcast is not tested with older ones. Upgrade it.',
    };
  return { ...found, level: 'ok', saw: name };
}

/** Scripts look at keys that they do not declare: some servers forbid that. */
async function scriptsOf(
  node: DoctorNode,
  { namespace, group }: CheckContext,
): Promise<Finding[]> {
  const { redis, address } = node;
  const text = "return redis.call('EXISTS', ARGV[1])";
  const reply = await ask(
    redis.eval(text, 0, ownKey(node, `${namespace}:self-test:doctor:none`)),
  );
  if (reply !== undefined) return [];
  return [
    {
      level: group === undefined ? 'warning' : 'failure',
      node: address,
      saw: 'a script that looks at an undeclared key is refused',
      why: 'A group works by scripts. Broadcast does without, at a higher cost. Grant +eval; on Dragonfly start it with --default_lua_flags=allow-undeclared-keys.',
    },
  ];
}
