const words = (text: string): readonly string[] => text.split(' ');

const LISTENING = words(
  'psubscribe punsubscribe subscribe unsubscribe ping info',
);
const LOOKING = words('exists pexpiretime scan time dbsize eval evalsha');
const PROVING = words('set del rpush pexpire multi exec');
const SETTING = words('config|get config|set client|setname client|id');
const CLUSTER = words('cluster|slots cluster|nodes asking');
const GROUP = words(
  'client|unblock ' +
    'zadd zrem zcard zrange zrangebyscore zremrangebyscore zscan zmscore hset hmget hdel ' +
    'xadd xdel xlen xrange xgroup xreadgroup xack xpending xclaim xautoclaim xinfo',
);

/** For whom rights are granted. */
export interface AclNeeds {
  readonly patterns: readonly string[];
  readonly database: number;
  readonly namespace: string;
  readonly isGroup: boolean;
  readonly isCluster: boolean;
}

/** The commands that the module needs: one list, which the documentation's ACL blocks are tested against. */
export function commandsOf(needs: AclNeeds): string[] {
  const { isGroup, isCluster } = needs;
  return [
    ...LISTENING,
    ...LOOKING,
    ...(isGroup ? ['set', 'get', ...PROVING.slice(1)] : PROVING),
    ...SETTING,
    ...(isGroup ? GROUP : []),
    ...(isCluster ? CLUSTER : []),
  ];
}

/** The rules that take everything from a user and then grant what these patterns need, and nothing else. */
export function aclRules(needs: AclNeeds): string[] {
  const { patterns, database, namespace, isGroup } = needs;
  const granted = commandsOf(needs).map((command) => `+${command}`);
  const channel = (key: string): string => `&__keyspace@${database}__:${key}`;
  const proof = `${namespace}:self-test:*`;
  return [
    ...['resetkeys', 'resetchannels', '-@all'],
    ...patterns.flatMap((pattern) => [`~${pattern}`, channel(pattern)]),
    ...[`~${isGroup ? `${namespace}:*` : proof}`, channel(proof)],
    ...granted,
  ];
}
