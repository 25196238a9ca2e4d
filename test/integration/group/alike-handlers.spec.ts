import { Injectable, Module, type Type } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
} from '../../../lib/index.js';
import { type TestApp, createApp } from '../../support/app.js';
import { collect } from '../../support/collect.js';
import { eventually } from '../../support/eventually.js';
import { groupIsDone, groupState, handler } from '../../support/group/app.js';
import { type TestServer, useServer } from '../../support/servers.js';

type Work = (event: KeyExpiredEvent) => unknown;
/** Starts an application with two handlers of the pattern `k` that have the same name. */
type Start = (server: TestServer, works: readonly Work[]) => Promise<TestApp>;

const expiry = (server: TestServer) =>
  RedisExpiryModule.forRoot({
    connection: server.url,
    group: 'presence',
    retry: { attempts: 4, backoff: 150 },
  });

const inTwoModules: Start = (server, works) => {
  const modules = works.map((work, i): Type => {
    @Module({ providers: [handler('k', work)] })
    class Feature {}
    Object.defineProperty(Feature, 'name', { value: `Feature${i}` });
    return Feature;
  });
  return createApp({ imports: [expiry(server), ...modules] });
};

const inOneModule: Start = (server, works) =>
  createApp({
    imports: [expiry(server)],
    // As a bundler calls them.
    providers: works.map((work) => handler('k', work, {}, 's')),
  });

const underTwoTokens: Start = (server, works) => {
  const left = [...works];
  @Injectable()
  class Handler {
    readonly #work = left.shift()!;

    @OnKeyExpired('k')
    onExpired(event: KeyExpiredEvent) {
      return this.#work(event);
    }
  }
  return createApp({
    imports: [expiry(server)],
    providers: ['FIRST', 'SECOND'].map((provide) => ({
      provide,
      useClass: Handler,
    })),
  });
};

const subscribed: Start = async (server, works) => {
  const app = await createApp({ imports: [expiry(server)] });
  for (const work of works)
    await app.subscriber.subscribe('k', (event) => work(event));
  return app;
};

describe('two handlers of one name and one pattern', () => {
  const server = useServer();

  describe.each<[string, Start]>([
    ['of one class name in two modules', inTwoModules],
    ['of one class name in one module', inOneModule],
    ['of one class under two tokens', underTwoTokens],
    ['of two functions that are subscribed', subscribed],
  ])('%s', (_, start) => {
    it.for([
      ['first', 0],
      ['second', 1],
    ] as const)(
      'are retried each on its own, over a restart too, where the %s fails',
      async ([, bad]) => {
        const calls = collect<readonly [handler: number, attempt: number]>();
        const works = [0, 1].map((i) => ({ attempt }: KeyExpiredEvent) => {
          calls.add([i, attempt]);
          if (i === bad && attempt < 3) throw new Error('on purpose');
        });
        const first = await start(server, works);
        await server.expire('k');
        await calls.next(2);
        await first.close();
        await start(server, works);
        await calls.next(2);
        await groupIsDone(server);

        expect(calls.all.filter(([i]) => i === bad)).toEqual([
          ...[
            [bad, 1],
            [bad, 2],
            [bad, 3],
          ],
        ]);
        expect(calls.all.filter(([i]) => i !== bad)).toEqual([[1 - bad, 1]]);
        expect(await groupState(server)).not.toHaveProperty('dead');
      },
    );
  });

  it('are told apart in dead letters', async () => {
    const fail = () => {
      throw new Error('on purpose');
    };
    const { subscriber } = await createApp({
      imports: [
        RedisExpiryModule.forRoot({
          ...{ connection: server.url, group: 'presence' },
          retry: { attempts: 1 },
        }),
      ],
      providers: [handler('k', fail), handler('k', fail)],
    });
    await server.expire('k');
    await eventually(async () =>
      expect(await groupState(server)).toMatchObject({ dead: 2 }),
    );

    const letters = await subscriber.deadLetters();
    expect(letters.map((letter) => letter.handler)).toEqual([
      'Handler.onExpired k',
      'Handler.onExpired#2 k',
    ]);
  });
});
