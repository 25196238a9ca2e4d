import { describe, expect, it } from 'vitest';
import {
  type KeyExpiringEvent,
  type OnKeyExpiringOptions,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
} from '../../../lib/index.js';
import { createApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { now, warned } from '../../support/expiring.js';
import { useServer } from '../../support/servers.js';

const BEFORE = 60_000;

describe.each<{ mode: string; options: RedisExpiryModuleOptions }>([
  { mode: 'in broadcast', options: {} },
  { mode: 'in a group', options: { group: 'g', retry: { backoff: 20 } } },
])('the value of a key that is warned of $mode', ({ options }) => {
  const server = useServer();

  async function told(
    value: OnKeyExpiringOptions['value'],
    work: (event: KeyExpiringEvent) => unknown = () => undefined,
  ) {
    const events = collect<KeyExpiringEvent>();
    const providers = [
      warned('s:*', { before: BEFORE, ...(value && { value }) }, (event) => {
        events.add(event);
        return work(event);
      }),
    ];
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, ...options }),
      ],
      providers,
    });
    return { events, subscriber };
  }

  it.each<[OnKeyExpiringOptions['value'], string, unknown]>([
    ['text', '{"battery":3}', '{"battery":3}'],
    ['json', '{"battery":3}', { battery: 3 }],
    ['buffer', 'ä', Buffer.from('ä')],
    ['hash', 'a string', undefined],
    [undefined, 'not asked for', undefined],
  ])('as %s is what it is then', async (form, written, value) => {
    const { redis } = server;
    const { events } = await told(form);

    await redis.set('s:1', written, 'PX', BEFORE + 300);
    const event = await events.one();

    expect(event.value).toEqual(value);
    // Read a moment before the warning, so a minute before the deadline.
    const age = Math.round((event.valueAge ?? 0) / 10_000) * 10_000;
    expect(age).toBe(value === undefined ? 0 : BEFORE);
  });

  it('as a hash has its fields', async () => {
    const { redis } = server;
    const { events } = await told('hash');
    const deadline = (await now(redis)) + BEFORE + 300;

    await redis.hset('s:1', { battery: '3', name: 'ä' });
    await redis.pexpireat('s:1', deadline);

    expect((await events.one()).value).toEqual({ battery: '3', name: 'ä' });
  });

  it('was changed without a renewal until a moment before, and is that', async () => {
    const { redis } = server;
    const { events } = await told('text');

    await redis.set('s:1', 'old', 'PX', BEFORE + 500);
    await eventually(async () =>
      expect(await redis.pttl('s:1')).toBeLessThan(BEFORE + 300),
    );
    await redis.set('s:1', 'new', 'KEEPTTL');

    expect((await events.one()).value).toBe('new');
  });

  it('is not read where it is too long, which is counted', async () => {
    const { redis } = server;
    const { events, subscriber } = await told('text');

    await redis.set('s:1', 'x'.repeat(5_000), 'PX', BEFORE + 300);

    expect((await events.one()).value).toBeUndefined();
    expect(subscriber.status().counters.valuesTooLong).toBe(1);
  });

  it('is not read of keys that are renewed in time', async () => {
    const { redis } = server;
    await told('text');
    await redis.config('RESETSTAT');

    for (let i = 0; i < 5; i++) {
      await redis.set('s:1', 'x', 'PX', BEFORE + 400);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }

    expect(await redis.info('commandstats')).not.toContain('cmdstat_getrange');
  });

  // Nobody tries again in broadcast.
  it.each(options.group ? [2] : [])('is the same at try %i', async (last) => {
    const { redis } = server;
    const { events } = await told('json', ({ attempt }) => {
      if (attempt === 1) throw new Error('no');
    });

    await redis.set('s:1', '[1]', 'PX', BEFORE + 300);
    const tries = await events.next(last);

    expect(tries.map(({ value }) => value)).toEqual([[1], [1]]);
    expect(tries[1]!.valueAge).toBe(tries[0]!.valueAge);
  });
});
