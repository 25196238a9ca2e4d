import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Histogram } from '@opentelemetry/sdk-metrics';
import { describe, expect, it } from 'vitest';
import { type KeyExpiredEvent, RedisExpiryModule } from '../../../lib/index.js';
import { openTelemetry } from '../../../lib/otel/index.js';
import { type TestApp, createApp } from '../../support/app.js';
import { eventually } from '../../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../../support/group/app.js';
import { OtelBed } from '../../support/otel.js';
import { paced } from '../../support/paced.js';
import { useServer } from '../../support/servers.js';

const server = useServer();

const broadcastApp = (
  work: (event: KeyExpiredEvent) => unknown,
  options?: { keys?: boolean },
): Promise<TestApp> =>
  createApp({
    imports: [
      RedisExpiryModule.forRoot({
        connection: server.url,
        telemetry: openTelemetry(options),
      }),
    ],
    providers: [handler('device:*', work)],
  });

class DeviceError extends Error {
  override readonly name = 'DeviceError';
}

describe('spans', () => {
  it('are one for each try, by the conventions, and say no key', async () => {
    const otel = OtelBed.use();
    const ids: string[] = [];
    await groupApp(
      server,
      [
        handler(
          'device:*',
          ({ id, attempt }) => {
            ids.push(id!);
            if (attempt === 1) throw new DeviceError('it is asleep');
          },
          { retry: { attempts: 2, backoff: 5 } },
        ),
      ],
      { telemetry: openTelemetry() },
    );
    await server.redis.set('device:secret', '', 'PX', 150);
    await eventually(() => expect(otel.spans).toHaveLength(2));
    await groupIsDone(server);

    const [first, second] = otel.spans;
    for (const span of otel.spans) {
      expect(span).toMatchObject({
        name: 'process device:*',
        kind: SpanKind.CONSUMER,
        parentSpanContext: undefined,
        instrumentationScope: { name: 'nestjs-redis-expiry' },
        attributes: {
          'messaging.system': 'redis',
          'messaging.operation.name': 'process',
          'messaging.operation.type': 'process',
          'messaging.destination.template': 'device:*',
          'messaging.consumer.group.name': 'presence',
          'code.function.name': 'Handler.onExpired',
          'redis_expiry.source': 'notification',
        },
      });
      expect(
        span.attributes['redis_expiry.lateness_ms'],
      ).toBeGreaterThanOrEqual(0);
    }
    expect(first!.attributes).toMatchObject({
      'redis_expiry.attempt': 1,
      'error.type': 'DeviceError',
    });
    expect(first!.status).toEqual({
      code: SpanStatusCode.ERROR,
      message: 'it is asleep',
    });
    expect(second!.attributes).toMatchObject({ 'redis_expiry.attempt': 2 });
    expect(second!.attributes).not.toHaveProperty('error.type');
    expect(second!.status.code).toBe(SpanStatusCode.UNSET);
    // Two tries of one expiry, and nothing tells its key.
    const digest = createHash('sha256').update(ids[0]!).digest('hex');
    expect(otel.spans.map((s) => s.attributes['messaging.message.id'])).toEqual(
      Array(2).fill(digest.slice(0, 32)),
    );
    const told = otel.spans.map(({ attributes, name }) => ({
      attributes,
      name,
    }));
    expect(JSON.stringify(told)).not.toContain('secret');
  });

  it('say the key where that is asked for', async () => {
    const otel = OtelBed.use();
    await broadcastApp(() => undefined, { keys: true });
    await server.expire('device:42');

    await eventually(() => expect(otel.spans).toHaveLength(1));
    expect(otel.spans[0]!.attributes).toMatchObject({
      'redis_expiry.key': 'device:42',
    });
    expect(otel.spans[0]!.attributes).not.toHaveProperty(
      'messaging.message.id',
    );
  });

  it('are the parents of those that handlers make, and of no others', async () => {
    const otel = OtelBed.use();
    await broadcastApp(async () => {
      await delay(1);
      trace.getTracer('test').startSpan('in the handler').end();
    });
    await server.expire('device:1', 'device:2', 'device:3');
    await eventually(() => expect(otel.spans).toHaveLength(6));

    const tries = otel.spans.filter(({ name }) => name.startsWith('process'));
    const inner = otel.spans.filter(({ name }) => name === 'in the handler');
    expect(tries.map((span) => span.parentSpanContext)).toEqual(
      Array(3).fill(undefined),
    );
    expect(
      inner.map((span) => span.parentSpanContext!.spanId).toSorted(),
    ).toEqual(tries.map((span) => span.spanContext().spanId).toSorted());
  });

  it('cost nothing without an SDK, and change nothing', async () => {
    const { subscriber } = await broadcastApp(() => undefined);
    await server.expire('device:1');

    await eventually(() =>
      expect(subscriber.status().counters.handled).toBe(1),
    );
  });
});

describe('metrics', () => {
  it('tell how tries went, and how late they were', async () => {
    const otel = OtelBed.use();
    await broadcastApp(({ key }) => {
      if (key === 'device:2') throw new DeviceError('no');
    });
    for (const n of [1, 2, 3])
      await server.redis.set(`device:${n}`, '', 'PX', 200);
    await eventually(() => expect(otel.spans).toHaveLength(3));

    const common = {
      'messaging.system': 'redis',
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.template': 'device:*',
    };
    expect(
      await otel.points('messaging.client.consumed.messages'),
    ).toMatchObject([{ attributes: common, value: 3 }]);
    const durations = await otel.points<Histogram>(
      'messaging.process.duration',
    );
    const counts = durations.map(({ attributes, value }) => [
      attributes,
      value.count,
    ]);
    expect(counts).toHaveLength(2);
    expect(counts).toContainEqual([common, 2]);
    expect(counts).toContainEqual([
      { ...common, 'error.type': 'DeviceError' },
      1,
    ]);
    const [lateness] = await otel.points<Histogram>('redis_expiry.lateness');
    expect(lateness!.attributes).toEqual(common);
    expect(lateness!.value.count).toBe(3);
    expect(lateness!.value.sum).toBeLessThan(paced(3));
    expect(lateness!.value.buckets.boundaries).toEqual([
      ...[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5],
      ...[1, 5, 30, 60, 300],
    ]);
  });

  it('tell what status() tells', async () => {
    const otel = OtelBed.use();
    await groupApp(
      server,
      [
        handler(
          'device:*',
          ({ key }) => {
            if (key === 'device:bad') throw new Error('no');
          },
          { retry: { attempts: 1 } },
        ),
        handler('other:*', () => undefined, { group: false }),
      ],
      { telemetry: openTelemetry() },
    );
    await server.redis.set('device:far', '', 'EX', 3_600);
    await server.expire('device:bad', 'device:good', 'other:1');
    await eventually(async () => {
      expect(await otel.values('redis_expiry.events', 'outcome')).toMatchObject(
        {
          handled: 2,
          failed: 1,
          dead_lettered: 1,
          superseded: 0,
          came_back: 0,
          dropped: 0,
          recovered: 0,
          retried: 0,
        },
      );
      // Of the group, as of its last look.
      expect(await otel.values('redis_expiry.backlog', 'state')).toEqual({
        waiting: 0,
        pending: 0,
        in_grace: 0,
        retrying: 0,
        dead: 1,
      });
      expect(
        await otel.values(
          'redis_expiry.keys.tracked',
          'messaging.consumer.group.name',
        ),
      ).toMatchObject({ presence: 1 });
    });

    expect(await otel.values('redis_expiry.nodes', 'state')).toEqual({
      connecting: 0,
      subscribing: 0,
      listening: 2,
      refused: 0,
      deaf: 0,
      closed: 0,
    });
    expect(
      await otel.values(
        'redis_expiry.leading',
        'messaging.consumer.group.name',
      ),
    ).toEqual({ presence: 1 });
    expect(await otel.values('redis_expiry.gaps')).toEqual({ '': 0 });
    await server.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await eventually(async () => {
      expect(await otel.values('redis_expiry.gaps')).toEqual({ '': 2 });
      expect(
        (await otel.values('redis_expiry.nodes', 'state'))['listening'],
      ).toBe(2);
    });
    expect(
      (await otel.values('redis_expiry.gap.duration'))[''],
    ).toBeGreaterThan(0);
  });
});

describe('openTelemetry()', () => {
  it('reads status() whenever metrics are collected, until shutdown', async () => {
    const otel = OtelBed.use();
    const { subscriber } = await broadcastApp(() => undefined);
    let reads = 0;
    const end = openTelemetry().observe!(() => {
      reads++;
      return subscriber.status();
    });
    await otel.points('redis_expiry.events');
    await otel.points('redis_expiry.events');
    end();
    await otel.points('redis_expiry.events');

    expect(reads).toBe(2);
  });

  it.each<[unknown, string]>([
    [{ keys: 'yes' }, 'INVALID_OPTION_KEYS'],
    [{ key: true }, 'INVALID_OPTION_KEY'],
    [null, 'INVALID_OPTION_OPEN_TELEMETRY'],
  ])('refuses %o', (options, code) => {
    expect(() => openTelemetry(options as object)).toThrow(
      expect.objectContaining({ code }),
    );
  });
});
