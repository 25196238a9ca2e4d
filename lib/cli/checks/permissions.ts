import {
  type AclNeeds,
  aclRules,
  channelRules,
  keyRules,
} from '../acl-rules.js';
import { type Outcome, outcomesOf } from '../acl-refusals.js';
import {
  EVERY_CHANNEL,
  EVERY_KEY,
  type Trial,
  trialsOf,
} from '../acl-trials.js';
import type { CheckContext, DoctorNode } from '../context.js';
import { ask, pasteable } from '../context.js';
import { type Finding, checkOfEach } from '../finding.js';

/** Without these broadcast does not work; without others it does with less. */
const BROADCAST_NEEDS = new Set(
  'psubscribe exists pexpiretime scan time'.split(' '),
);
/** Without these a group works, too. */
const GROUP_SPARES = new Set(
  (
    'psubscribe punsubscribe subscribe unsubscribe ping info evalsha rpush multi exec config|get ' +
    'config|set client|setname client|id client|unblock'
  ).split(' '),
);

/** Whether the user may do what the module does; and the ACL line for exactly these patterns and this group. */
export const permissions = checkOfEach('permissions', look);

async function look(
  node: DoctorNode,
  context: CheckContext,
): Promise<Finding[]> {
  const { group } = context;
  const needs: AclNeeds = { ...context, isGroup: group !== undefined };
  const trials = trialsOf(needs, group);
  const user = (await ask(node.redis.acl('WHOAMI'))) as string | undefined;
  const all = [...trials, ...EVERY_KEY, ...EVERY_CHANNEL];
  const outcomes = await outcomesOf(node, user, all);
  const name =
    user ?? (decodeURIComponent(new URL(node.url).username) || 'default');
  const may = (wide: readonly Trial[]): boolean =>
    all.some((trial, i) => wide.includes(trial) && outcomes[i] === 'ok');
  // Redis takes no rule for keys beside one for all keys.
  const rules = [
    ...(may(EVERY_KEY) ? [] : keyRules(needs)),
    ...(may(EVERY_CHANNEL) ? [] : channelRules(needs)),
  ];
  const refused = trials.flatMap(({ command }, i): Refused[] =>
    outcomes[i] === 'ok' ? [] : [{ command, outcome: outcomes[i]! }],
  );
  return [
    ...forbidden(node, name, needs, refused, rules),
    ...absent(needs, refused),
    ...least(node, context, needs),
  ].map((finding) => ({ ...finding, node: node.address }));
}

/** A command that may not be run, and what is forbidden of it. */
interface Refused {
  readonly command: string;
  readonly outcome: Outcome;
}

function forbidden(
  node: DoctorNode,
  user: string,
  needs: AclNeeds,
  refused: readonly Refused[],
  rules: readonly string[],
): Finding[] {
  if (refused.length === 0)
    return [
      { level: 'ok', saw: `user ${user} may do all that the module does` },
    ];
  const denied = refused.filter(({ outcome }) => outcome !== 'absent');
  if (denied.length === 0) return [];
  const isFailure = isNeeded(needs, denied);
  const names = denied.map(({ command, outcome }) =>
    outcome === 'command' ? command : `${command} (its ${outcome})`,
  );
  const commands = denied
    .filter(({ outcome }) => outcome === 'command')
    .map(({ command }) => `+${command}`);
  return [
    {
      level: isFailure ? 'failure' : 'warning',
      saw: `user ${user} may not: ${[...new Set(names)].join(', ')}`,
      why: isFailure
        ? `The module refuses to start${needs.isGroup ? ' the group' : ''} without, or leaves keys out.`
        : `The module does without, with less: ${SETTINGS_PAGE} says what.`,
      // What the user may do besides stays as it is.
      mend: pasteable(
        node,
        ...['ACL', 'SETUSER', user, ...rules, ...new Set(commands)],
      ),
    },
  ];
}

/** Commands that the server does not have: its operator took them away, or it is too old. */
function absent(needs: AclNeeds, refused: readonly Refused[]): Finding[] {
  const lacking = refused.filter(({ outcome }) => outcome === 'absent');
  if (lacking.length === 0) return [];
  const names = new Set(lacking.map(({ command }) => command));
  const isFailure = isNeeded(needs, lacking);
  return [
    {
      level: isFailure ? 'failure' : 'warning',
      saw: `the server does not have: ${[...names].join(', ')}`,
      why: isFailure
        ? 'The module cannot work without. Ask whoever runs the server, or use a newer one.'
        : `The module does without, with less: ${SETTINGS_PAGE} says what.`,
    },
  ];
}

const SETTINGS_PAGE = 'docs/07-redis-settings-and-acl.md';

const isNeeded = (
  { isGroup }: AclNeeds,
  refused: readonly Refused[],
): boolean =>
  refused.some(({ command }) =>
    isGroup ? !GROUP_SPARES.has(command) : BROADCAST_NEEDS.has(command),
  );

/** The least rights, for a user of the module's own. */
function least(
  node: DoctorNode,
  { patterns, isCluster }: CheckContext,
  needs: AclNeeds,
): Finding[] {
  if (patterns.length === 0)
    return [
      {
        level: 'skipped',
        saw: "give --pattern 'device:*' for the ACL line of a user that may do this and nothing else",
      },
    ];
  return [
    {
      level: 'ok',
      saw: `a user of its own, expiry, would need these rules and no others${isCluster ? ', on each node' : ''}`,
      mend: pasteable(
        node,
        ...['ACL', 'SETUSER', 'expiry', 'on', '>PASSWORD'],
        ...aclRules(needs),
      ),
    },
  ];
}
