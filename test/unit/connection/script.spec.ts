import type { Redis } from 'ioredis';
import { expect, it, onTestFinished } from 'vitest';
import { Script } from '../../../lib/connection/script.js';
import { onEveryServer } from '../../support/servers.js';

let scripts = 0;
/** A script that no server knows yet. */
const newScript = (): Script =>
  new Script(`-- ${++scripts}\nreturn { KEYS[1], ARGV[1], #KEYS, #ARGV }`);

/** How often each command was run meanwhile. */
async function callsDuring(
  redis: Redis,
  work: () => Promise<unknown>,
): Promise<Record<string, number>> {
  await redis.config('RESETSTAT');
  await work();
  const info = await redis.info('commandstats');
  const calls = info.matchAll(
    /cmdstat_(eval\w*):calls=(\d+),.*failed_calls=(\d+)/g,
  );
  return Object.fromEntries(
    [...calls].map(([, name, count, failed]) => [
      name!,
      Number(count) - Number(failed),
    ]),
  );
}

onEveryServer('Script', (server) => {
  it('is sent in full once, and by its digest from then on', async () => {
    const { redis } = server;
    const script = newScript();
    const first = await callsDuring(redis, () => script.run(redis, ['k'], 'a'));
    expect(first).toEqual({ eval: 1, evalsha: 0 });

    const next = await callsDuring(redis, async () => {
      expect(await script.run(redis, ['k'], 'a', 1)).toEqual(['k', 'a', 1, 2]);
    });

    expect(next).toEqual({ evalsha: 1 });
  });

  it('is sent in full again where the server forgot it', async () => {
    const { redis } = server;
    const script = newScript();
    await script.run(redis, ['k'], 'a');
    await redis.script('FLUSH');

    expect(await script.run(redis, ['k'], 'a')).toEqual(['k', 'a', 1, 1]);
  });

  it('is sent in full where the ACL forbids the digest, and asked for once', async () => {
    const { redis } = server;
    await redis.call(
      ...(['ACL', 'SETUSER', 'texts', 'on', 'nopass', '~*', '+@all'] as const),
      '-evalsha',
    );
    const user = server.client({ username: 'texts', password: '' });
    onTestFinished(() => user.disconnect());
    const script = newScript();
    await script.run(user, ['k'], 'a');
    await redis.call('ACL', 'LOG', 'RESET');

    expect(await script.run(user, ['k'], 'a')).toEqual(['k', 'a', 1, 1]);

    expect(await redis.call('ACL', 'LOG')).toEqual([]);
  });

  it('gives Buffers where keys may be no text', async () => {
    const { redis } = server;
    const key = Buffer.from([0xff, 0x00]);
    const script = newScript();
    for (let i = 0; i < 2; i++)
      expect(await script.runBuffers(redis, [key], 'a')).toEqual([
        key,
        Buffer.from('a'),
        1,
        1,
      ]);
  });

  it('rejects with what the script says, and runs it once', async () => {
    const { redis } = server;
    const script = new Script(
      `-- ${++scripts}\nredis.call('INCR', KEYS[1]) return redis.error_reply('NOT now')`,
    );
    for (let i = 1; i <= 2; i++) {
      await expect(script.run(redis, ['runs'])).rejects.toThrow('NOT now');
      expect(await redis.get('runs')).toBe(String(i));
    }
  });
});
