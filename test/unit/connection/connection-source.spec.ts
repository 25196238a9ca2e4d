import { Cluster, Redis } from 'ioredis';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ConnectionOption } from '../../../lib/connection/connection-option.js';
import { ConnectionSource } from '../../../lib/connection/connection-source.js';
import { collect } from '../../support/collect.js';
import { noLog } from '../../support/group/parts.js';

/** Stands for a promise that rejects, which is made when it is asked for. */
class Rejection {
  constructor(readonly reason: Error) {}
}

/** A source that asks a function, which returns or throws these answers one after the other, and then the last. */
function asking(...answers: unknown[]) {
  let asked = 0;
  const ask = (): unknown => {
    const answer = answers[Math.min(asked++, answers.length - 1)];
    if (answer instanceof Error) throw answer;
    if (answer instanceof Rejection) return Promise.reject(answer.reason);
    return answer;
  };
  const source = new ConnectionSource(ask as ConnectionOption);
  return {
    source,
    asked: () => asked,
    locate: () => source.locate(noLog),
    next: async () => {
      const { template } = await source.locate(noLog);
      return (await template()) as Redis;
    },
  };
}

const never = new Promise<never>(() => undefined);

afterEach(() => vi.useRealTimers());

describe('ConnectionSource', () => {
  it('knows at once where Redis is by an option that is no function', async () => {
    const source = new ConnectionSource('redis://h:1/3');

    expect(source.target).toMatchObject({ database: 3, isCluster: false });
    expect(await source.locate(noLog)).toBe(source.target);
    expect(source.lastError).toBeUndefined();
  });

  it.each<[form: string, answer: unknown]>([
    ['a URL', 'redis://h:7000/3'],
    ['options', { host: 'h', port: 7_000, db: 3 }],
    ['a promise', Promise.resolve({ host: 'h', port: 7_000, db: 3 })],
    ['a client', new Redis('redis://h:7000/3', { lazyConnect: true })],
  ])('takes what a function returns: %s', async (_, answer) => {
    const { source, locate, next } = asking(answer);
    expect(source.target).toBeUndefined();

    expect(await locate()).toMatchObject({ database: 3, isCluster: false });
    const { options, status } = await next();
    expect(options).toMatchObject({ host: 'h', port: 7_000 });
    expect(status).toBe('wait');
  });

  it('asks once for each connection, and never before it is needed', async () => {
    const { asked, next } = asking(
      { password: 'a' },
      { password: 'b' },
      { password: 'c' },
    );
    expect(asked()).toBe(0);

    const passwords = [await next(), await next(), await next()].map(
      ({ options }) => options.password,
    );

    expect(passwords).toEqual(['a', 'b', 'c']);
    expect(asked()).toBe(3);
  });

  it('asks again where the function throws, and says why once', async () => {
    const warnings = collect<string>();
    const { source, asked } = asking(
      new Error('no token'),
      new Error('no token'),
      new Rejection(new Error('still none')),
      'redis://h',
    );

    await source.locate({ ...noLog, warn: warnings.add });

    expect(asked()).toBe(4);
    const failed = 'the function that is the option "connection" failed:';
    expect(warnings.all).toEqual(
      [`${failed} no token`, `${failed} still none`].map(
        (why) =>
          `Redis is not reached yet, and is tried again; no expiry is handled until then: ${why}`,
      ),
    );
    expect(source.lastError).toBeUndefined();
  });

  it.each<[what: string, answer: unknown, said: string]>([
    ['throws', new Error('no token'), 'failed: no token'],
    ['never answers', never, 'has not answered within 10000 ms'],
  ])(
    'gives up after ten seconds where it %s, and begins anew when it is asked to',
    async (_, answer, said) => {
      // Pauses between two tries are real ones, and as short as that.
      vi.useFakeTimers({
        toFake: ['setTimeout', 'clearTimeout', 'performance'],
      });
      const { source, locate } = asking(answer);
      const located = locate().catch((error: unknown) => error);
      await vi.advanceTimersByTimeAsync(10_000);

      expect(await located).toMatchObject({
        code: 'CONNECT_FAILED',
        message: expect.stringContaining(said),
      });
      expect(source.lastError).toContain(said);
      const again = locate();
      source.close();
      await expect(again).rejects.toMatchObject({ code: 'CLOSED' });
      expect(vi.getTimerCount()).toBe(0);
    },
  );

  it('waits for later answers as long as the first one says', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    const { next } = asking({ connectTimeout: 300 }, never);
    await next();
    const second = next().catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(300);

    expect(await second).toMatchObject({
      message: expect.stringContaining('has not answered within 300 ms'),
    });
  });

  it('ends what is waited for when it is closed, and asks no more', async () => {
    const { source, asked, locate } = asking(never);
    const located = locate();
    await Promise.resolve();
    source.close();

    await expect(located).rejects.toMatchObject({ code: 'CLOSED' });
    await expect(locate()).rejects.toMatchObject({ code: 'CLOSED' });
    expect(asked()).toBe(1);
  });

  it.each<[answer: unknown, code: string, said: RegExp]>([
    [undefined, '', /returned undefined; accepted: a URL/],
    [null, '', /returned null/],
    [42, '', /returned 42/],
    [['redis://h'], '', /returned an array of 1/],
    [() => 'redis://h', '', /returned a function/],
    ['s3cret', '', /returned another text/],
    ['redis://user:s3cret@h/first', '', /number of a database/],
    [{ port: 99_999, password: 's3cret' }, '_PORT', /is 99999/],
    [{ nodes: [], password: 's3cret' }, '_NODES', /an array of 0/],
  ])('refuses at once what cannot be used: %j', async (answer, code, said) => {
    const { locate, asked } = asking(answer);
    const error = await locate().catch((reason: unknown) => reason as Error);

    expect(error).toMatchObject({
      name: 'RedisExpiryError',
      code: `INVALID_OPTION_CONNECTION${code}`,
      message: expect.stringMatching(said),
    });
    expect(`${(error as Error).stack}`).not.toContain('s3cret');
    expect(asked()).toBe(1);
  });

  it.each<[what: string, first: unknown, next: unknown, said: string]>([
    [
      'another database',
      'redis://h/0',
      'redis://h/3',
      'returned database 3 after 0',
    ],
    [
      'another keyPrefix',
      { keyPrefix: 'a:' },
      { keyPrefix: 'b:' },
      'returned keyPrefix "b:" after "a:"',
    ],
    [
      'a Cluster',
      'redis://h',
      { nodes: ['redis://h'] },
      'returned kind "a Cluster" after "one server"',
    ],
    [
      'one server',
      { sentinels: [{ host: 'h' }], name: 'm' },
      'redis://h',
      'returned kind "one server" after "Sentinels"',
    ],
    ['nonsense', 'redis://h', 42, 'returned 42'],
  ])(
    'refuses %s as a later answer, and takes the one after that',
    async (_, first, later, said) => {
      const { next } = asking(first, later, first);
      await next();

      await expect(next()).rejects.toMatchObject({
        code: 'INVALID_OPTION_CONNECTION',
        message: expect.stringContaining(said),
      });
      await expect(next()).resolves.toBeInstanceOf(
        typeof first === 'string' || 'sentinels' in (first as object)
          ? Redis
          : Object,
      );
    },
  );

  it('takes other credentials, hosts and TLS options', async () => {
    const { locate } = asking(
      { nodes: ['redis://a'], options: { redisOptions: { password: 'a' } } },
      { nodes: ['redis://b'], options: { redisOptions: { tls: {} } } },
    );
    const { template } = await locate();

    const [one, other] = [await template(), await template()] as Cluster[];
    expect(one!.options.redisOptions).toEqual({ password: 'a' });
    expect(other!.options.redisOptions).toEqual({ tls: {} });
  });

  it.each([
    'cannot parse redis://user:s3cret@h:99999',
    'cannot parse redis://:s3cret@h and rediss://u:p@s3cret@h',
    'refused: {"user":"app","password":"s3cret"}',
    "refused: { password: 's3cret', host: 'h' }",
    'GET /token?password=s3cret&x=1',
  ])('says what the function throws without passwords: %s', async (text) => {
    const { next } = asking('redis://h', new Error(text));
    await next();
    const error = await next().catch((reason: unknown) => reason as Error);

    expect((error as Error).message).toContain('***');
    expect(`${(error as Error).stack}`).not.toContain('s3cret');
  });
});
