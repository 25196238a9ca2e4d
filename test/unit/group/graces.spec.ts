import { describe, expect, it } from 'vitest';
import type { ExpiryHandler } from '../../../lib/dispatch/expiry.js';
import { RedisGlob } from '../../../lib/dispatch/redis-glob.js';
import { endOfGrace, waitsUntil } from '../../../lib/group/grace.js';
import { Graces } from '../../../lib/group/graces.js';
import { OwnHandlers } from '../../../lib/group/own-handlers.js';
import { RunCounts } from '../../../lib/group/run-counts.js';
import type { StoredEvent } from '../../../lib/group/stored-event.js';

const handler = (pattern: string, grace?: number): ExpiryHandler => ({
  ...{ name: 'A.on', glob: new RedisGlob(pattern) },
  ...{ concurrency: 1, invoke: () => undefined },
  ...(grace !== undefined && { grace }),
});
const key = (text: string): Buffer => Buffer.from(text);

describe('Graces', () => {
  it('cover the keys of handlers with a grace, here and elsewhere', () => {
    const own = new OwnHandlers();
    const graces = new Graces(own, 4);
    expect([graces.longest, graces.cover(key('app:d:1'))]).toEqual([0, false]);

    own.add(handler('d:*', 100));
    own.add(handler('d:*', 300));
    own.add(handler('s:*'));
    graces.take([handler('t:*', 200), handler('u:*')]);
    const covered = ['d', 's', 't', 'u'].filter((name) =>
      graces.cover(key(`app:${name}:1`)),
    );
    expect(covered).toEqual(['d', 't']);
    expect(graces.longest).toBe(300);

    for (const { handler: each } of [...own]) own.remove(each);
    expect(graces.longest).toBe(200);
    graces.take([]);
    expect([graces.longest, graces.cover(key('app:t:1'))]).toEqual([0, false]);
  });
});

describe('an event', () => {
  const event: StoredEvent = {
    ...{ redisKey: key('k'), deadline: 1_000, detected: 1_010 },
    ...{ source: 'notification', handler: undefined, tries: 0 },
    ...{ runs: RunCounts.none, passes: 0 },
  };
  const named = { id: 'A', handler: handler('k', 500) };
  const until = (part: Partial<StoredEvent>, runs = RunCounts.none) =>
    waitsUntil({ id: '1-0', event: { ...event, ...part }, runs }, named);

  it('waits until so long after its deadline, or its detection where that is not known', () => {
    expect(until({})).toBe(1_500);
    expect(until({ deadline: undefined })).toBe(1_510);
  });

  it('does not wait where it was found long after its deadline', () => {
    expect(until({ detected: 1_499 })).toBe(1_500);
    expect(until({ detected: 1_500 })).toBeUndefined();
    expect(until({ detected: 9_999_999, source: 'recovery' })).toBeUndefined();
  });

  it('does not wait again, but where it has waited for less than the handler says now', () => {
    expect(until({ waited: 500 })).toBeUndefined();
    expect(until({ waited: 900 })).toBeUndefined();
    expect(until({ waited: 499 })).toBe(1_500);
  });

  it('does not wait once a run has begun or failed, or it waits elsewhere', () => {
    expect(until({ tries: 1 })).toBeUndefined();
    expect(until({}, RunCounts.none.plus('A'))).toBeUndefined();
    expect(until({}, RunCounts.none.plus('B'))).toBe(1_500);
    const aside = RunCounts.none.settingAside('A');
    expect(until({}, aside)).toBeUndefined();
    expect([aside.isSetAside('A'), aside.of('A')]).toEqual([true, 0]);
    expect(RunCounts.fromText(aside.plus('B').text)).toEqual(aside.plus('B'));
  });

  it('is past its grace only where the handler has one, before its first try has failed', () => {
    expect(endOfGrace(event, {})).toBeUndefined();
    expect(endOfGrace({ ...event, tries: 1 }, named.handler)).toBeUndefined();
    expect(endOfGrace(event, named.handler)).toBe(1_500);
  });
});
