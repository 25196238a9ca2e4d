import { describe, expect, it } from 'vitest';
import type { ExpiryTelemetry, RedisExpiryStatus } from '../../lib/index.js';
import { RedisExpiryModule } from '../../lib/index.js';
import { createApp } from '../support/app.js';
import { eventually } from '../support/eventually.js';
import { groupApp, groupIsDone, handler } from '../support/group/app.js';
import { useServer } from '../support/servers.js';

describe('the option telemetry', () => {
  const server = useServer();

  const appWith = (telemetry: ExpiryTelemetry, work: () => unknown) =>
    createApp({
      imports: [
        RedisExpiryModule.forRoot({ connection: server.url, telemetry }),
      ],
      providers: [handler('k*', work)],
    });

  it('observes from the start of the application until handlers in flight have ended', async () => {
    const steps: string[] = [];
    let read: (() => RedisExpiryStatus) | undefined;
    const { app, close } = await appWith(
      {
        observe(reader) {
          read = reader;
          steps.push(`observe ${reader().nodes[0]?.state}`);
          return () => steps.push(`end, handled ${reader().counters.handled}`);
        },
      },
      () => void steps.push('handler'),
    );
    expect(steps).toEqual(['observe listening']);
    await server.expire('k1');
    await eventually(() => expect(read!().counters.handled).toBe(1));
    await close();
    await app.close();

    expect(steps).toEqual(['observe listening', 'handler', 'end, handled 1']);
  });

  it.each<[string, ExpiryTelemetry, string[]]>([
    [
      'observe that throws',
      {
        observe: () => {
          throw new Error('no');
        },
      },
      ['telemetry.observe failed: no'],
    ],
    [
      'an end that throws',
      {
        observe: () => () => {
          throw new Error('no');
        },
      },
      ['What telemetry.observe returned failed: no'],
    ],
    [
      'an end that rejects',
      { observe: () => () => Promise.reject(new Error('no')) },
      ['What telemetry.observe returned failed: no'],
    ],
    [
      'observe that returns nothing',
      { observe: (() => undefined) as unknown as () => () => void },
      [],
    ],
  ])('does not mind %s', async (_what, telemetry, texts) => {
    const { close, logs } = await appWith(telemetry, () => undefined);
    await close();

    await eventually(() =>
      expect(logs.texts('error')).toEqual(
        texts.map((text) => expect.stringContaining(text) as string),
      ),
    );
  });

  it('is around every try of an event of a group, and loses none where it breaks', async () => {
    const tries: string[] = [];
    const telemetry: ExpiryTelemetry = {
      process(event, _handler, run) {
        tries.push(`${event.key} ${event.attempt}`);
        if (event.key === 'k-broken') throw new Error('broken');
        return run();
      },
    };
    const handled: string[] = [];
    await groupApp(
      server,
      [
        handler(
          'k*',
          ({ key, attempt }) => {
            if (attempt === 1) throw new Error('the first try fails');
            handled.push(key);
          },
          { retry: { attempts: 3, backoff: 10 } },
        ),
      ],
      { telemetry },
    );
    await server.expire('k-fine', 'k-broken');

    await eventually(() =>
      expect(handled.toSorted()).toEqual(['k-broken', 'k-fine']),
    );
    await groupIsDone(server);
    expect(tries.toSorted()).toEqual([
      'k-broken 1',
      'k-broken 2',
      'k-fine 1',
      'k-fine 2',
    ]);
  });
});
