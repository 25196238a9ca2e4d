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
export const aclRules = (needs: AclNeeds): string[] => [
  ...['resetkeys', 'resetchannels', '-@all'],
  ...keyRules(needs),
  ...channelRules(needs),
  ...commandsOf(needs).map((command) => `+${command}`),
];

/** The keys that the module uses. */
export const keyRules = ({
  patterns,
  namespace,
  isGroup,
}: AclNeeds): string[] => [
  ...patterns.map(keyRule),
  keyRule(isGroup ? `${namespace}:*` : proofKeys(namespace)),
];

/** The channels that the module listens on. */
export function channelRules({
  patterns,
  namespace,
  database,
}: AclNeeds): string[] {
  const keys = [...patterns, proofKeys(namespace)];
  // A subscription to a pattern is allowed by that very pattern alone, and a rule has no white space.
  if (keys.some((key) => /\s/.test(key))) return ['allchannels'];
  return keys.map((key) => `&__keyspace@${database}__:${key}`);
}

const proofKeys = (namespace: string): string => `${namespace}:self-test:*`;

/** Redis takes no rule with white space: where a pattern has some, any character will do. */
const keyRule = (pattern: string): string =>
  `~${pattern.replace(/\[[^\]]*\s[^\]]*\]|\\?\s/g, '?')}`;
