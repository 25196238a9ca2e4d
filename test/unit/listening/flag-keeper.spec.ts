import { describe, expect, it } from 'vitest';
import type { CommandClient } from '../../../lib/connection/command-client.js';
import { FlagKeeper } from '../../../lib/listening/flag-keeper.js';
import { HIDDEN_UNSHOWN } from '../../../lib/listening/notification-flags.js';
import { LogBook } from '../../support/logs.js';
import { onEveryServer } from '../../support/servers.js';

const keeperOf = (commands: Pick<CommandClient, 'run'>): FlagKeeper =>
  new FlagKeeper('ensure', commands as CommandClient, 'redis:1', new LogBook());

const needed = (letters: string, wanted = '') => ({
  letters: new Set(letters),
  wanted,
});

onEveryServer('FlagKeeper.complete', (server) => {
  const keeper = () =>
    keeperOf({ run: (work) => work(server.redis) } as CommandClient);

  it('adds what the server knows, and tells what it does not', async () => {
    await server.setFlags('El');
    const kept = keeper();
    const flags = (await kept.read())!;

    // No server knows the letter of a class that only a module of the future has.
    const completed = await kept.complete(flags, needed('xtSV', 'n'), '');

    for (const letter of 'Elxtn') expect(completed.has(letter)).toBe(true);
    expect(Array.from(await server.flags()).toSorted()).toEqual(
      expect.arrayContaining(['E', 'l', 'n', 't', 'x']),
    );
    const unknown = kept.unknownOf('xtSVn');
    for (const letter of 'SV')
      expect(unknown.includes(letter)).toBe(!completed.has(letter));
    // What is not known is not asked for again.
    await server.redis.config('RESETSTAT');
    expect(await kept.complete(completed, needed('xtSV', 'n'), '')).toBe(
      completed,
    );
    expect(await server.commandCalls()).not.toHaveProperty('config|set');
  });

  it('asks again for a letter that another client, which had read the flags before, took away', async () => {
    await server.setFlags('');
    let races = 2;
    const kept = keeperOf({
      run: async (work) => {
        const before = await server.flags();
        const reply = await work(server.redis);
        if ((await server.flags()) !== before && races-- > 0)
          await server.setFlags('Kx');
        return reply;
      },
    } as CommandClient);

    // Each look may lose against the other client; the one after that does not.
    for (let look = 0; look < 3; look++)
      await kept.complete((await kept.read())!, needed('Kx', 'g'), '');

    expect(kept.unknownOf('g')).toBe('');
    expect(Array.from(await server.flags()).toSorted()).toEqual(
      Array.from('Kgx').toSorted(),
    );
  });

  it('writes once what A hides, and not again', async () => {
    await server.setFlags('AK');
    const kept = keeper();
    const wants = needed('xE', 'nmoca');
    const completed = await kept.complete(
      (await kept.read())!,
      wants,
      HIDDEN_UNSHOWN,
    );
    expect(completed.has('n')).toBe(true);
    await server.redis.config('RESETSTAT');

    const again = (await kept.read())!;

    expect(kept.lacking(again, wants)).toBe('');
    expect(await server.commandCalls()).not.toHaveProperty('config|set');
  });
});

describe('on a server that has the class `r`, and does not print it under `A`', () => {
  /** As Redis does it that has a limiter of rates, which none that can be had has. */
  function redisWithRates(flags: string) {
    let letters = new Set(flags);
    const redis = {
      config: (verb: string, _name: string, value = '') => {
        if (verb === 'SET') {
          if (!/^[KEAg$lshzxetdmnocrSTIV]*$/.test(value)) {
            const refusal = new Error('ERR Invalid event class character');
            refusal.name = 'ReplyError';
            return Promise.reject(refusal);
          }
          letters = new Set(value);
          return Promise.resolve('OK');
        }
        const shown = [...letters].filter(
          (letter) => !letters.has('A') || 'AKEmSTIV'.includes(letter),
        );
        return Promise.resolve([_name, shown.join('')]);
      },
    };
    return {
      has: (letter: string) => letters.has(letter),
      run: <T>(work: (client: never) => Promise<T>) => work(redis as never),
    };
  }

  it('does not drop it by writing', async () => {
    const server = redisWithRates('AKr');
    const keeper = keeperOf(server);

    await keeper.complete((await keeper.read())!, needed('xE'), HIDDEN_UNSHOWN);

    for (const letter of 'AKEr') expect(server.has(letter)).toBe(true);
  });
});
