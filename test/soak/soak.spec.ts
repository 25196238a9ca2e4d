import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectNothing } from '../support/group/history.js';
import { Soak } from '../support/soak/soak.js';

const minutes = Number(process.env['SOAK_MINUTES'] ?? 2);
/** Ms that starting and settling may take. */
const AROUND = 240_000;

/**
 * By how much the last third may be above the first. What leaks grows with time and work, and is
 * above all of these within two minutes; what is only busy, or a machine that is, is not.
 */
const HEAP_MB = 5;
const KEYS_KB = 100;
const COMMANDS = 1.4;

/** Ms before a crash in which an expiry may not have been announced yet on a busy machine. */
const UNANNOUNCED = 5_000;

describe(`an application that runs for ${minutes} minutes`, () => {
  const soak = new Soak();

  beforeAll(
    async () => {
      await soak.start();
      await soak.run(minutes * 60_000).catch((error: unknown) => {
        console.log(soak.log);
        throw error;
      });
      console.log(soak.series.map((series) => series.plot()).join('\n\n'));
      console.table(
        Object.fromEntries(soak.series.map((s) => [s.name, s.row])),
      );
      const { expected, counts } = soak.history;
      console.log(
        `${expected} expiries, ${counts.handled} handled, ${counts.redelivered} runs more; ` +
          `${soak.crashes.length} crashes of the server`,
      );
    },
    minutes * 60_000 + AROUND,
  );

  afterAll(async () => {
    await soak.close();
  }, AROUND);

  it('costs Redis as many commands at its end as at its begin', () => {
    // By both: a machine that is busy for a while writes less, and one that is not any more, more.
    const perWrite = soak.perWrite.pairs;
    for (const [i, [before, after]] of soak.commands.pairs.entries()) {
      const [earlier, later] = perWrite[i]!;
      expect(Math.min(after / before, later / earlier)).toBeLessThan(COMMANDS);
    }
  });

  it('has as many connections at its end as at its begin', () => {
    expect(soak.connections.growth).toBe(0);
  });

  it('keeps nothing on its heap', () => {
    for (const { growth } of soak.heaps) expect(growth).toBeLessThan(HEAP_MB);
  });

  it('keeps nothing at Redis', () => {
    expect(soak.keysMemory.growth).toBeLessThan(KEYS_KB);
  });

  it(
    'has handled every expiry in its group, and nothing else',
    { timeout: AROUND },
    async () => {
      await soak.settle(AROUND - 10_000);
      const { history } = soak;
      const hopeless = (name: string): boolean => name.startsWith('dead:');
      const findings = history.check();
      const missing = findings.missing.filter((name) => !hopeless(name));
      expectNothing({ ...findings, missing });
      // Those whose every try fails became dead letters, each once.
      const dead = new Map(soak.instances.flatMap((i) => [...i.dead]));
      const expired = history.expired.filter(({ key }) => hopeless(key));
      console.log(`${dead.size - expired.length} other dead letters`);
      expect(expired.filter(({ key }) => dead.get(key) !== 1)).toEqual([]);
    },
  );

  it('has heard every expiry in broadcast once, or tells of a gap', () => {
    const { expired } = soak.history;
    const names = new Set(expired.map(({ key }) => key));
    for (const { heard, gaps } of soak.instances) {
      const strays = [...heard].filter(([key, n]) => n > 1 || !names.has(key));
      expect(strays.slice(0, 5), `${strays.length} strays`).toEqual([]);
      const missing = expired.filter(
        ({ key, deadline }) =>
          !heard.has(key) &&
          !gaps.some(
            ({ from, to }) => from - UNANNOUNCED <= deadline && deadline <= to,
          ),
      );
      expect(missing.slice(0, 5), `${missing.length} missing`).toEqual([]);
    }
  });
});
