import { describe, expect, it } from 'vitest';
import type { KeyExpiredEvent } from '../../../lib/index.js';
import { eventually } from '../../support/eventually.js';
import { handler } from '../../support/group/app.js';
import { onEveryServer } from '../../support/servers.js';
import { LEAD, MODES, TTL, shown, valueApp } from '../../support/values.js';

onEveryServer('the value of a key', (server) => {
  describe.each(MODES)('in %s', (_, mode) => {
    it('is the text, the bytes, or the JSON of a string, or the fields of a hash, as each handler asks', async () => {
      const forms = ['text', 'buffer', 'json', 'hash'] as const;
      const seen: [string, string, object][] = [];
      const { events } = await valueApp(server, mode, {}, ({ add }) =>
        forms.map((value) =>
          handler(
            'k*',
            (event) => {
              seen.push([event.key, value, shown(event)]);
              add(event);
            },
            { value },
            value,
          ),
        ),
      );
      const { redis } = server;
      const binary = Buffer.from([0, 255, 13, 10, 128]);

      await redis
        .multi()
        .set('k:json', '{"battery":3}', 'PX', TTL)
        .set('k:binary', binary, 'PX', TTL)
        .set('k:empty', '', 'PX', TTL)
        .hset('k:hash', { battery: '3', 'a b': '', ü: 'ö' })
        .pexpire('k:hash', TTL)
        .lpush('k:list', '1')
        .pexpire('k:list', TTL)
        .exec();
      await events.next(5 * (forms.length + 1));

      const of = (key: string) =>
        Object.fromEntries(
          seen
            .filter(([k]) => k === key)
            .map(([, form, value]) => [form, value]),
        );
      const json = '{"battery":3}';
      expect(of('k:json')).toEqual({
        text: { value: json },
        buffer: { value: Buffer.from(json) },
        json: { value: { battery: 3 } },
        hash: {},
      });
      expect(of('k:binary')).toEqual({
        text: { value: binary.toString() },
        buffer: { value: binary },
        json: { valueText: binary.toString() },
        hash: {},
      });
      expect(of('k:empty')).toEqual({
        text: { value: '' },
        buffer: { value: Buffer.alloc(0) },
        json: { valueText: '' },
        hash: {},
      });
      const fields = { battery: '3', 'a b': '', ü: 'ö' };
      expect(of('k:hash')).toEqual({
        ...{ text: {}, buffer: {}, json: {}, hash: { value: fields } },
      });
      expect(of('k:list')).toEqual({
        text: {},
        buffer: {},
        json: {},
        hash: {},
      });
    });

    it('comes with its age, and not to a handler that asks for none', async () => {
      const plain: KeyExpiredEvent[] = [];
      const { events } = await valueApp(server, mode, { value: 'text' }, () => [
        handler('k*', (event) => plain.push(event), {}, 'Plain'),
      ]);

      await server.redis.set('k', 'v', 'PX', TTL);
      const event = await events.one();

      expect(event).toMatchObject({ value: 'v', source: 'notification' });
      expect(event.valueAge).toBeGreaterThanOrEqual(0);
      expect(event.valueAge).toBeLessThanOrEqual(LEAD);
      await eventually(() => expect(plain).toHaveLength(1));
      expect(plain[0]).not.toHaveProperty('value');
      expect(plain[0]).not.toHaveProperty('valueAge');
    });

    it('that is no JSON is warned of once for each handler', async () => {
      const { events, logs } = await valueApp(server, mode, { value: 'json' });

      await server.redis.set('k:1', '{', 'PX', TTL);
      await server.redis.set('k:2', 'NaN', 'PX', TTL);
      const texts = (await events.next(2)).map(shown);

      expect(texts).toEqual(
        expect.arrayContaining([{ valueText: '{' }, { valueText: 'NaN' }]),
      );
      expect(logs.texts('warn', 'asks for values as JSON')).toHaveLength(1);
    });

    it('is read as soon as the key is learnt where its whole life is shorter than the lead', async () => {
      const { events } = await valueApp(server, {
        ...mode,
        values: { lead: 2_000 },
      });

      for (const ttl of [300, 600, 1_200])
        await server.redis.set(`k:${ttl}`, `${ttl}`, 'PX', ttl);

      const all = await events.next(3);
      expect(all.map(({ key, value }) => [key, value])).toEqual([
        ['k:300', '300'],
        ['k:600', '600'],
        ['k:1200', '1200'],
      ]);
    });

    it('is there for keys that were known before anybody asked for it, and for the observers of subscribe()', async () => {
      const { events, subscriber } = await valueApp(server, mode, {});
      await server.redis.set('k', '[1,2]', 'PX', 1_500);
      const values: unknown[] = [];
      const subscription = await subscriber.subscribe<number[]>(
        'k',
        ({ value }) => values.push(value),
        { value: 'json' },
      );
      const emitted: unknown[] = [];
      const observing = subscriber
        .expirations<string>('k*', { value: 'text' })
        .subscribe(({ value }) => emitted.push(value));

      expect(await events.one()).not.toHaveProperty('value');
      await eventually(() => {
        expect(values).toEqual([[1, 2]]);
        expect(emitted).toEqual(['[1,2]']);
      });
      observing.unsubscribe();
      await subscription.unsubscribe();
    });
  });
});
