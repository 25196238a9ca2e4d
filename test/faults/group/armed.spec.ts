import { describe, expect, inject, it } from 'vitest';
import { armWhileKilling } from '../../support/armed/kill-loop.js';
import { writer } from '../../support/armed/writer.js';
import { GroupBed } from '../../support/group/bed.js';

/** `flags`: those that the server has, where the module leaves them as they are. */
const MODES: [what: string, flags: string | undefined, count: number][] = [
  ['whose keys and expiries are announced', undefined, 10_000],
  ['that announces expiries, and no new keys', 'Kx', 3_000],
  ['that announces nothing', '', 3_000],
];

describe.each(inject('redisServers'))('armed keys on $name', ({ path }) => {
  it.for(MODES)(
    'are all handed over by a server %s, and none that was cancelled, while all processes are killed again and again',
    { timeout: 400_000 },
    async ([, flags, count], context) => {
      const group = await GroupBed.make(context, {
        path,
        ...(flags && { args: ['--notify-keyspace-events', flags] }),
      });
      const { keys } = await writer({ connection: group.server.url });

      const { ledger } = await armWhileKilling(group, {
        ...{ keys, count },
        ...(flags !== undefined && { module: { notifications: 'off' } }),
      });

      expect(ledger.counts.cancelled).toBeGreaterThan(0);
      expect(ledger.counts.renewed).toBeGreaterThan(0);
    },
  );
});
