import { describe, expect, it } from 'vitest';
import { groupKeys } from '../../../lib/group/group-keys.js';
import { checkOneSlot } from '../../../lib/group/server-check.js';

describe('the names of the keys of a group on a Cluster', () => {
  const check = (keyPrefix: string, namespace: string) => (): void =>
    checkOneSlot(
      'presence',
      groupKeys(`${keyPrefix}${namespace}:`, 'presence'),
      keyPrefix,
    );

  it.for(['', 'app:', '{app}:'])(
    'may begin with the keyPrefix "%s"',
    (keyPrefix) => {
      expect(check(keyPrefix, 'rx')).not.toThrow();
    },
  );

  it.for([
    ['', '{rx}'],
    ['', 'r{x'],
    ['a{b:', 'rx'],
  ] as const)('may not begin with "%s" and "%s"', ([keyPrefix, namespace]) => {
    expect(check(keyPrefix, namespace)).toThrow(
      expect.objectContaining({ code: 'GROUP_REFUSED' }),
    );
  });
});
