import { NotificationFlags } from '../listening/notification-flags.js';
import { type DoctorNode, pasteable } from './context.js';
import type { Finding } from './finding.js';

/** The setting that the flags are. */
export const PARAMETER = 'notify-keyspace-events';

/** The letters beside K or E that the module wants of a server. */
export function lettersFor(
  { info }: DoctorNode,
  group: string | undefined,
): Set<string> {
  const knowsNew = !/^[0-6]\./.test(info.get('redis_version') ?? '7.0');
  return new Set(`${group === undefined ? '' : 'g'}x${knowsNew ? 'n' : ''}`);
}

/** What a server's flags lack, and the command that adds it. */
export function flagsFinding(
  node: DoctorNode,
  text: string,
  letters: ReadonlySet<string>,
): Finding {
  const flags = new NotificationFlags(text);
  const missing = flags.missing({ letters, wanted: '' });
  const saw = `${PARAMETER} is ${JSON.stringify(text)}`;
  if (missing === '') return { node: node.address, level: 'ok', saw };
  return {
    node: node.address,
    level: 'warning',
    saw: `${saw}; "${missing}" is missing`,
    why: flags.announcesExpiry
      ? 'Expiries are announced, but new keys or deletions are not. The module adds the letters at its start, where it may.'
      : 'Expiries are not announced. The module adds the letters at its start, where it may; a setting in redis.conf outlives a restart.',
    mend: pasteable(node, 'CONFIG', 'SET', PARAMETER, flags.plus(missing).text),
  };
}
