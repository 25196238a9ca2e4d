import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pages, root } from '../support/docs/pages.js';

/**
 * What README promises, and the test that holds it: words of README, a file, and words of it. Whoever changes a
 * promise looks for its test here; whoever removes a test learns what it held.
 */
const PROMISES: [promise: string, file: string, test: string][] = [
  [
    '**on time**, however many keys',
    'test/integration/punctual/on-time.spec.ts',
    'or else it would not expire at all',
  ],
  [
    '**once per group**',
    'test/faults/group/processes.spec.ts',
    'share 10,000 expiries, and handle each exactly once',
  ],
  [
    'or reported with from and to',
    'test/faults/server-killed.spec.ts',
    'flags and all, and the gap is told',
  ],
  [
    'turns on the notifications that it needs',
    'test/integration/notifications.spec.ts',
    'adds no more than it needs',
  ],
  [
    'also what expired while none was running',
    'test/integration/group/gaps.spec.ts',
    'recovers what expired meanwhile',
  ],
  [
    'Peers are Nest 11 or 12, ioredis 5 or 6',
    'test/smoke/run.mjs',
    'every peer is tested',
  ],
  [
    'which `require()` loads too',
    'test/smoke/run.mjs',
    'import and require give the public names',
  ],
  ['dependencies-none', 'test/smoke/run.mjs', 'no runtime dependencies'],
  [
    'on a Redis that it finds or gets by itself',
    'test/integration/sample/sample.spec.ts',
    'names devices that go offline within seconds',
  ],
  [
    'a key comes back a moment later',
    'test/faults/group/grace.spec.ts',
    'tells those that stayed away, and nobody else',
  ],
  [
    'at most once per instance',
    'test/faults/punctual/instances-killed.spec.ts',
    'each hears each expiry once, whoever touched the key',
  ],
  [
    'at least once; use `event.id`',
    'test/faults/group/processes.spec.ts',
    'redeliver what one had handled and not acknowledged',
  ],
  [
    'a gap, logged and reported',
    'test/faults/silent-network.spec.ts',
    'is found by PING, is a gap',
  ],
  [
    'retried, then a dead letter',
    'test/integration/group/retries.spec.ts',
    'tell what failed, page by page, and are tried or deleted by request',
  ],
  [
    'A key that was written again in the meantime is alive',
    'test/integration/handling.spec.ts',
    'by a late heartbeat, which Redis announces as expired, is superseded',
  ],
  [
    'as long as the primary',
    'test/faults/group/server.spec.ts',
    'a group whose server crashes',
  ],
  [
    'is known from the start, even if no instance runs',
    'test/faults/group/armed.spec.ts',
    'while all processes are killed again and again',
  ],
  [
    'a group tries again with backoff',
    'test/integration/group/retries.spec.ts',
    'waits as a function of the attempt says',
  ],
  [
    'another one watches within about 2 s',
    'test/unit/group/leader-lease.spec.ts',
    'is taken over after two seconds of silence',
  ],
  [
    'and redelivers what was in flight after 30 s',
    'test/unit/engine/options.spec.ts',
    'leaseDuration: 30_000',
  ],
  [
    'hands its work over at once',
    'test/unit/group/leader-lease.spec.ts',
    'is handed over at a shutdown, at once',
  ],
  [
    'and waits for handlers in flight',
    'test/integration/group/server.spec.ts',
    'waits for its handlers, and acknowledges what they did',
  ],
  [
    'recovers at its next start',
    'test/faults/group/server.spec.ts',
    'a group whose processes are all down',
  ],
  [
    'reconnects for as long as it runs',
    'test/faults/silent-network.spec.ts',
    'is reconnected through for as long as it takes',
  ],
  [
    'the new one is listened to within about a second',
    'test/faults/cluster/failover.spec.ts',
    'expectSoonAfter(promotion, gap.to',
  ],
  [
    'on [Sentinel and Cluster]',
    'test/faults/sentinel/failover.spec.ts',
    'expectSoonAfter(promotion, gap.to',
  ],
  [
    'CONFIG is forbidden',
    'test/integration/group/server.spec.ts',
    'works where INFO and CONFIG are forbidden',
  ],
  [
    '`DEL` is no expiry',
    'test/integration/punctual/renewals.spec.ts',
    'is not handled when it was persisted, deleted or unlinked in time',
  ],
  [
    "a group's expiries wait in Redis",
    'test/integration/group/delivery.spec.ts',
    'and leaves the rest at Redis',
  ],
  [
    'broadcast queues 500,000, and counts what it drops',
    'test/faults/overload.spec.ts',
    'each one dropped is counted, and it is logged',
  ],
  [
    '`status()`',
    'test/integration/punctual/on-time.spec.ts',
    'tells what is tracked, how late events were and what the scan found',
  ],
];

describe('a promise of README', () => {
  it.each(PROMISES)('"%s" is held by %s', (promise, file, test) => {
    expect(pages[0]!.text.replace(/\s+/g, ' ')).toContain(promise);
    expect(existsSync(join(root, file))).toBe(true);
    expect(readFileSync(join(root, file), 'utf8')).toContain(test);
  });
});
