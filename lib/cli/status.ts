import type { GroupViewed, PartitionView } from '../group/group-view.js';
import type { Arguments } from './arguments.js';
import { duration } from './duration.js';
import { GroupSession } from './group-session.js';
import { groupTroubles } from './group-troubles.js';
import type { Output } from './output.js';
import { oneLine } from './output.js';
import { addressOf, databaseOf } from './url.js';
import { packageVersion } from './version.js';

/** What `status --json` prints. */
export interface StatusReport extends GroupViewed {
  /** The version of this package. */
  readonly version: string;
  /** ISO 8601. */
  readonly at: string;
  /** The address that was given, without credentials. */
  readonly address: string;
  readonly database: number;
  /** What is wrong, in words. */
  readonly warnings: readonly string[];
}

/** Prints how a group is doing, and resolves with the exit code. */
export async function status(
  url: string,
  group: string,
  args: Arguments,
  output: Output,
): Promise<number> {
  const viewed = await GroupSession.use(url, group, args, (session) =>
    session.ask((view) => view.look()),
  );
  const report: StatusReport = {
    version: packageVersion(),
    at: new Date().toISOString(),
    address: addressOf(url),
    database: databaseOf(url),
    ...viewed,
    warnings: groupTroubles(viewed),
  };
  if (args.json) output.json(report);
  else print(report, output);
  return args.strict && report.warnings.length > 0 ? 1 : 0;
}

function print(report: StatusReport, output: Output): void {
  const { group, address, database, partitions, instances, warnings } = report;
  output.line(oneLine(`group ${group}, ${address}, database ${database}`));
  output.line();
  output.table(
    [
      ...['partition', 'node', 'leader', 'lag', 'waiting', 'oldest waiting'],
      ...['pending', 'oldest pending', 'in grace', 'retrying', 'dead', 'keys'],
    ],
    partitions.map(rowOf),
  );
  output.line();
  const sum = (name: string): number =>
    partitions.reduce((all, { pendingOf }) => all + (pendingOf[name] ?? 0), 0);
  output.table(
    ['instance', 'state', 'seen', 'leads', 'pending'],
    instances.map(({ name, state, seenAgo }) => [
      ...[oneLine(name), state, `${duration(seenAgo)} ago`],
      String(partitions.filter(({ leader }) => leader === name).length),
      String(sum(name)),
    ]),
  );
  if (warnings.length > 0) output.line();
  for (const warning of warnings)
    output.line(`${output.style('yellow', '!')} ${oneLine(warning)}`);
}

function rowOf(view: PartitionView): string[] {
  const age = (ms: number | undefined): string =>
    ms === undefined ? '-' : duration(ms);
  return [
    ...[view.tag, view.node ?? '-', view.leader ?? '-'].map(oneLine),
    ...[duration(view.lag), String(view.waiting), age(view.oldestWaiting)],
    ...[String(view.pending), age(view.oldestPending)],
    ...[view.inGrace, view.retrying, view.dead, view.tracked].map(String),
  ];
}
