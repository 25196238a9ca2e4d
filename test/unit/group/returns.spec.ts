import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { Returns } from '../../../lib/group/returns.js';
import { eventually } from '../../support/eventually.js';
import { KEYS, commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';

const K = Buffer.from('k');
const FIRED = 1_000;

describe('Returns', () => {
  const server = useServer();
  let returns: Returns;

  beforeEach(async () => {
    const commands = commandsOn(server);
    onTestFinished(() => commands.close());
    const graces = {
      longest: 1_000,
      cover: (key: Buffer) => !key.equals(Buffer.from('plain')),
    };
    returns = new Returns({ keys: KEYS, graces }, commands, () => undefined);
    returns.resume();
    await server.redis.zadd(KEYS.ended, FIRED, 'k', FIRED, 'plain');
  });

  let marks = 0;
  /** What was noted by the time that another key was, which came after all others. */
  async function noted(): Promise<string[]> {
    const mark = `mark${++marks}`;
    await server.redis.zadd(KEYS.ended, FIRED, mark);
    await server.redis.set(mark, '1');
    returns.seen([{ key: Buffer.from(mark), at: 0 }]);
    return eventually(async () => {
      const all = await server.redis.zrange(KEYS.back, '0', '-1');
      expect(all).toContain(`${FIRED}:${mark}`);
      return all.filter((name) => !name.includes('mark'));
    });
  }

  it('note a key that is gone, and was created after its expiry was heard', async () => {
    returns.announced(K, false);
    returns.fired('k', FIRED, true);
    returns.created(K);

    expect(await noted()).toEqual([`${FIRED}:k`]);
  });

  it('note it where the expiry was fired by a look before its announcement came', async () => {
    returns.fired('k', FIRED, false);
    returns.announced(K, true);
    returns.created(K);

    expect(await noted()).toEqual([`${FIRED}:k`]);
  });

  it('note it where it was back before anybody could look', async () => {
    returns.announced(K, false);
    returns.created(K);
    returns.fired('k', FIRED, true);

    expect(await noted()).toEqual([`${FIRED}:k`]);
  });

  it('note none that was created before its expiry, for all that is known', async () => {
    // Its creation is heard late: what a look removed is announced after it.
    returns.fired('k', FIRED, false);
    returns.created(K);
    expect(await noted()).toEqual([]);

    // It ran out again since, by a look: what was heard before is of a former life.
    returns.announced(K, false);
    returns.created(K);
    returns.fired('k', FIRED, false);
    expect(await noted()).toEqual([]);

    // And again, as it was announced.
    returns.created(K);
    returns.announced(K, false);
    returns.fired('k', FIRED, true);
    expect(await noted()).toEqual([]);
  });

  it('note none of another expiry than its last one', async () => {
    returns.announced(K, false);
    returns.fired('k', FIRED - 1, true);
    returns.created(K);

    expect(await noted()).toEqual([]);
  });

  it('look whether a key is there, where the order is not known', async () => {
    returns.created(K);
    expect(await noted()).toEqual([]);
    await server.redis.set('k', '1');
    returns.created(K);
    expect(await noted()).toEqual([`${FIRED}:k`]);
  });

  it('know nothing of what was heard before a pause, nor of keys of handlers without a grace', async () => {
    returns.announced(K, false);
    returns.fired('k', FIRED, true);
    returns.pause();
    returns.resume();
    returns.created(K);
    await server.redis.set('plain', '1');
    returns.created(Buffer.from('plain'));
    returns.seen([{ key: Buffer.from('plain'), at: 0 }]);

    expect(await noted()).toEqual([]);
  });
});
