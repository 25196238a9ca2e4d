import type { Arguments } from './arguments.js';
import { CliError } from './cli-error.js';
import { dataSafety } from './checks/data-safety.js';
import { group } from './checks/group.js';
import { keys } from './checks/keys.js';
import { lateness } from './checks/lateness.js';
import { notifications } from './checks/notifications.js';
import { permissions } from './checks/permissions.js';
import { pubSub } from './checks/pub-sub.js';
import { server } from './checks/server.js';
import { topology } from './checks/topology.js';
import { cannotAsk } from './connecting.js';
import type { CheckContext } from './context.js';
import type { Check, DoctorReport, Finding, Level } from './finding.js';
import { isReplyError } from '../connection/server-error.js';
import { reasonOf, withoutPasswords } from '../errors/redis-expiry.error.js';
import type { Output } from './output.js';
import { oneLine } from './output.js';
import { survey } from './survey.js';
import { addressOf } from './url.js';
import { packageVersion } from './version.js';

/** In the order in which they are told. */
const CHECKS: readonly Check[] = [
  ...[server, topology, notifications, permissions],
  ...[lateness, dataSafety, pubSub, keys, group],
];

/** Looks at a server, prints what it finds, and resolves with the exit code. */
export async function doctor(
  url: string,
  args: Arguments,
  output: Output,
): Promise<number> {
  const report = await examine(url, args);
  if (args.json) output.json(report);
  else print(report, output);
  if (report.verdict === 'failures') return 2;
  return report.verdict === 'warnings' && args.strict ? 1 : 0;
}

/** Runs every check. Throws a `CliError` where nobody answers. */
async function examine(url: string, args: Arguments): Promise<DoctorReport> {
  const context = await survey(url, args);
  try {
    const areas: DoctorReport['areas'][number][] = [];
    // One after the other: they would make each other late.
    for (const check of CHECKS)
      areas.push({ area: check.area, findings: await run(check, context) });
    const levels = new Set(
      areas.flatMap(({ findings }) => findings.map(({ level }) => level)),
    );
    return {
      version: packageVersion(),
      at: new Date().toISOString(),
      address: addressOf(url),
      database: context.database,
      patterns: context.patterns,
      ...(context.group !== undefined && { group: context.group }),
      verdict: levels.has('failure')
        ? 'failures'
        : levels.has('warning')
          ? 'warnings'
          : 'fine',
      areas,
    };
  } finally {
    for (const { redis } of context.nodes) redis.disconnect();
  }
}

async function run(check: Check, context: CheckContext): Promise<Finding[]> {
  try {
    return await check.run(context);
  } catch (error) {
    // A server that is silent, or gone, is so for every other check, too.
    if (error instanceof CliError) throw error;
    if (!isReplyError(error)) throw cannotAsk(context.url, error);
    return [
      {
        level: 'skipped',
        saw: `could not be looked at: ${withoutPasswords(reasonOf(error))}`,
      },
    ];
  }
}

const MARKS = {
  ok: ['✓', 'ok', 'green'],
  warning: ['!', 'warning', 'yellow'],
  failure: ['✗', 'failure', 'red'],
  skipped: ['–', 'skipped', 'dim'],
} as const satisfies Record<Level, readonly [string, string, string]>;

function print(report: DoctorReport, output: Output): void {
  const { address, database, patterns, group, version, areas } = report;
  const about = [
    ...[`nestjs-redis-expiry ${version}`, address, `database ${database}`],
    ...patterns,
    ...(group === undefined ? [] : [`group ${group}`]),
  ];
  output.line(oneLine(about.join(', ')));
  for (const { area, findings } of areas) {
    output.line();
    output.line(output.style('bold', area));
    for (const finding of findings) printFinding(finding, output);
  }
  output.line();
  output.line(`Verdict: ${report.verdict}`);
}

function printFinding(
  { level, node, saw, why, mend }: Finding,
  output: Output,
): void {
  const [sign, word, colour] = MARKS[level];
  const mark = output.isTerminal ? sign : `[${word}]`;
  const where = node === undefined ? '' : `${node}: `;
  output.line(`  ${output.style(colour, mark)} ${oneLine(where + saw)}`);
  if (why !== undefined) output.line(`      ${why}`);
  if (mend !== undefined)
    output.line(`      $ ${output.style('cyan', oneLine(mend))}`);
}
