import { type AclNeeds, aclRules } from '../acl-rules.js';
import { refusedCommands } from '../acl-refusals.js';
import { trialsOf } from '../acl-trials.js';
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
  const refused = await refusedCommands(node, user, trials);
  const name =
    user ?? (decodeURIComponent(new URL(node.url).username) || 'default');
  return [
    missing(node, name, needs, refused),
    ...least(node, context, needs),
  ].map((finding) => ({ ...finding, node: node.address }));
}

function missing(
  node: DoctorNode,
  user: string,
  needs: AclNeeds,
  commands: readonly string[],
): Finding {
  if (commands.length === 0)
    return { level: 'ok', saw: `user ${user} may do all that the module does` };
  const isNeeded = (command: string): boolean =>
    needs.isGroup ? !GROUP_SPARES.has(command) : BROADCAST_NEEDS.has(command);
  const isFailure = commands.some(isNeeded);
  // What the user may do besides stays as it is.
  const [, , , ...rules] = aclRules(needs);
  const grants = rules.filter((rule) => !rule.startsWith('+'));
  return {
    level: isFailure ? 'failure' : 'warning',
    saw: `user ${user} may not: ${commands.join(', ')}`,
    why: isFailure
      ? `The module refuses to start${needs.isGroup ? ' the group' : ''} without, or leaves keys out.`
      : 'The module does without, with less: docs/07-redis-settings-and-acl.md says what.',
    mend: pasteable(
      node,
      ...['ACL', 'SETUSER', user, ...grants],
      ...commands.map((command) => `+${command}`),
    ),
  };
}

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
