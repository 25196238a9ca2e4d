import { describe, expect, it } from 'vitest';
import { main } from '../../../lib/cli/main.js';
import { run } from '../../support/cli/command.js';
import { failingApp, json, untilDead } from '../../support/cli/group.js';
import { collect } from '../../support/collect.js';
import { names } from '../../support/group/history.js';
import { useServer } from '../../support/servers.js';

interface Page {
  readonly letters: readonly { readonly id: string; readonly key: string }[];
  readonly next?: string;
}

const GROUP = ['--group', 'presence'];
const fail = (): never => {
  throw new Error('on\npurpose');
};

describe('dead letters', () => {
  const server = useServer();

  const list = async (...options: string[]): Promise<Page> =>
    (await json<Page>('dead-letters', 'list', server.url, ...GROUP, ...options))
      .data;

  const keysOf = ({ letters }: Page): string[] => letters.map(({ key }) => key);

  /** A group with these letters; its handler succeeds from now on, and tells the keys. */
  async function withLetters(...keys: string[]) {
    const handled = collect<string>();
    let fails = true;
    const app = await failingApp(server, (key) => {
      if (fails) fail();
      handled.add(key);
    });
    await app.subscriber.ready();
    for (const [i, key] of keys.entries()) {
      await server.expire(key);
      await untilDead(app, i + 1);
    }
    fails = false;
    return { handled, ...app };
  }

  it('are listed page by page, the oldest first', async () => {
    const keys = names('k', 5);
    await withLetters(...keys);
    const first = await list('--count', '2');
    expect(keysOf(first)).toEqual(keys.slice(0, 2));
    const second = await list('--count', '2', '--after', first.next!);
    expect(keysOf(second)).toEqual(keys.slice(2, 4));
    const last = await list('--count', '2', '--after', second.next!);
    expect(keysOf(last)).toEqual(keys.slice(4));
    expect(last.next).toBeUndefined();
    expect(keysOf(await list())).toEqual(keys);
  });

  it('are a line each in a pipe, and say on a terminal how to go on', async () => {
    await withLetters('k1', 'k2');
    const argv = ['dead-letters', 'list', server.url, ...GROUP];
    const { text } = await run(...argv);
    const lines = text.trimEnd().split('\n');
    expect(lines[0]).toBe('id\tgiven up\thandler\tkey\tattempts\terror');
    expect(lines[1]).toMatch(
      /^presence\/\d+-\d+\t\d{4}-.*Z\tHandler\.onExpired.*\tk1\t1\t.*on\\npurpose/,
    );
    expect(lines).toHaveLength(3);

    let shown = '';
    const out = { isTTY: true, write: (more: string) => (shown += more) };
    await main([...argv, '--count', '1'], { out, errors: out });
    expect(shown).toMatch(/The next page: --after presence\/\d+-\d+\n$/);
    shown = '';
    await server.redis.del('rx:{presence}:dead');
    await main(argv, { out, errors: out });
    expect(shown).toMatch(/There are no dead letters\.\n$/);
  });

  it('are shown one by one', async () => {
    await withLetters('k1');
    const [{ id } = { id: '' }] = (await list()).letters;
    const { data } = await json('dead-letters', 'show', server.url, id);
    expect(data).toMatchObject({
      ...{ id, group: 'presence', key: 'k1', attempts: 1 },
      handler: expect.stringContaining('Handler.onExpired'),
      error: expect.stringContaining('on\npurpose'),
      at: expect.stringMatching(/^\d{4}-.*Z$/),
      eventId: expect.any(String),
    });
    const { text } = await run('dead-letters', 'show', server.url, id);
    expect(text).toMatch(/^id: presence\/.*\ngroup: presence\nkey: k1\n/);
    expect(text).toMatch(/\nerror: .*on\\npurpose/);
  });

  it('show the value that the key had, and its bytes where they are no text', async () => {
    const { redis } = server;
    await withLetters();
    const payload = (key: string, v: string | Buffer) =>
      JSON.stringify({
        ...{ k: Buffer.from(key).toString('base64'), t: 1, a: 1, d: 1 },
        ...{ s: 'notification', v: Buffer.from(v).toString('base64') },
      });
    const ids: string[] = [];
    for (const [key, v] of [
      ['text', 's3:{"a":1}'],
      ['hash', 'h3:{"a":"1"}'],
      ['bytes', Buffer.from([115, 51, 58, 255])],
    ] as const)
      ids.push(
        (await redis.xadd(
          ...([
            'rx:{presence}:dead',
            '*',
            'p',
            payload(key, v),
            'e',
            'no',
          ] as const),
        ))!,
      );
    const show = async (id: string, ...more: string[]) =>
      (await run('dead-letters', 'show', server.url, `presence/${id}`, ...more))
        .text;

    expect(await show(ids[0]!)).toContain('\nvalue: {"a":1}\n');
    expect(await show(ids[1]!)).toContain('\nvalue: {"a":"1"}\n');
    const shown = JSON.parse(await show(ids[2]!, '--json')) as object;
    expect(shown).toMatchObject({ value: '\uFFFD', valueBase64: '/w==' });
    expect(shown).not.toHaveProperty('valueBuffer');
  });

  it('show the bytes of a key that is no text', async () => {
    const app = await failingApp(server, fail);
    await app.subscriber.ready();
    const key = Buffer.from([0x6b, 0xff, 0x1b]);
    await server.redis.set(key, '', 'PX', 20);
    await untilDead(app, 1);
    const { letters } = await list();
    expect(letters).toMatchObject([{ keyBase64: key.toString('base64') }]);
    const { text } = await run('dead-letters', 'list', server.url, ...GROUP);
    // No terminal obeys it.
    expect(text).not.toContain('\u001b');
  });

  it('are redriven, and handled then', async () => {
    const { handled } = await withLetters('k1', 'k2', 'k3');
    const { letters } = await list();
    const [first, , third] = letters.map(({ id }) => id) as [
      string,
      ...string[],
    ];
    const { code, text } = await run(
      ...['dead-letters', 'redrive', server.url, third!, first],
    );
    expect([code, text]).toEqual([0, `redriven ${third}\nredriven ${first}\n`]);
    expect((await handled.next(2)).toSorted()).toEqual(['k1', 'k3']);
    expect(keysOf(await list())).toEqual(['k2']);
  });

  it('are discarded, and handled by nobody', async () => {
    const { handled } = await withLetters('k1', 'k2');
    const [{ id } = { id: '' }] = (await list()).letters;
    const ran = await json('dead-letters', 'discard', server.url, id);
    expect([ran.code, ran.data]).toEqual([0, { discarded: 1, missing: [] }]);
    expect(keysOf(await list())).toEqual(['k2']);
    expect(handled.all).toEqual([]);
  });

  it.each(['redrive', 'discard'])(
    'end with 2 where one is not there to %s, and the others are done',
    async (verb) => {
      await withLetters('k1');
      const [{ id } = { id: '' }] = (await list()).letters;
      const gone = 'presence/1-1';
      const argv = ['dead-letters', verb, server.url, gone, id];
      const { code, data } = await json(...argv);
      expect(code).toBe(2);
      expect(data).toMatchObject({ missing: [gone] });
      expect(Object.values(data)).toContain(1);
      const again = await run(...argv);
      expect([again.code, again.text]).toEqual([
        2,
        expect.stringMatching(/^There is no letter presence\/1-1: /),
      ]);
    },
  );

  it('are redriven all at once, each of them once, though all fail again', async () => {
    const app = await failingApp(server, fail);
    await app.subscriber.ready();
    const keys = names('k', 30);
    await server.expire(...keys);
    await untilDead(app, 30);
    const before = (await list('--count', '100')).letters.map(({ id }) => id);
    const { code, text } = await run(
      ...['dead-letters', 'redrive', server.url, '--all', ...GROUP],
    );
    expect([code, text]).toEqual([0, 'redriven 30 letters\n']);
    await untilDead(app, 30);
    const after = (await list('--count', '100')).letters;
    expect(after.map(({ key }) => key).toSorted()).toEqual(keys.toSorted());
    expect(after.filter(({ id }) => before.includes(id))).toEqual([]);
  });

  it('are discarded all at once', async () => {
    await withLetters('k1', 'k2', 'k3');
    const argv = ['dead-letters', 'discard', server.url, '--all', ...GROUP];
    const { code, data } = await json(...argv);
    expect([code, data]).toEqual([0, { discarded: 3, missing: [] }]);
    expect(await list()).toEqual({ group: 'presence', letters: [] });
  });

  it('end with 2 where there is no such letter to show, or no such group', async () => {
    await withLetters('k1');
    for (const [id, text] of [
      ['presence/1-1', /There is no letter presence\/1-1/],
      ['other/1-1', /There is no group "other" in database 0/],
    ] as const) {
      const ran = await run('dead-letters', 'show', server.url, id);
      expect([ran.code, ran.text]).toEqual([2, '']);
      expect(ran.errors).toMatch(text);
    }
  });

  it('are read by a user who may not write, and stay', async () => {
    await withLetters('k1');
    await server.redis.acl(
      ...([
        'SETUSER',
        'app',
        'on',
        '>s3cret',
        '~*',
        '+@read',
        '+ping',
      ] as const),
      ...(['+info', '-@write'] as const),
    );
    const url = `redis://app:s3cret@${server.address}`;
    const page = await json<Page>('dead-letters', 'list', url, ...GROUP);
    expect(page.code).toBe(0);
    const [{ id } = { id: '' }] = page.data.letters;
    for (const verb of ['redrive', 'discard']) {
      const ran = await run('dead-letters', verb, url, id);
      expect([ran.code, ran.errors]).toEqual([
        2,
        expect.stringMatching(/does not let this user do that.*NOPERM/),
      ]);
    }
    expect(keysOf(await list())).toEqual(['k1']);
  });
});
