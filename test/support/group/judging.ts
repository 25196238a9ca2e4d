import type { Redis } from 'ioredis';
import { expect, onTestFinished } from 'vitest';
import type { Commands } from '../../../lib/connection/commands.js';
import { RedisIndex } from '../../../lib/group/redis-index.js';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { newCounters } from '../../../lib/dispatch/counters.js';
import { Evidence } from '../../../lib/group/evidence.js';
import { GapBook } from '../../../lib/group/gap-book.js';
import { Judge } from '../../../lib/group/judge.js';
import {
  type JudgedNode,
  type JudgingTerm,
  Sweep,
  type SweepArguments,
  runSweep,
} from '../../../lib/group/sweep.js';
import { TermFence } from '../../../lib/group/term-fence.js';
import {
  type StoredEvent,
  fromFields,
} from '../../../lib/group/stored-event.js';
import { eventually } from '../eventually.js';
import type { TestServer } from '../servers.js';
import { KEYS, commandsOn } from './parts.js';

/** The index, with what a test wants to happen around a settling. */
export class ObservedIndex extends RedisIndex {
  before: () => Promise<void> = () => Promise.resolve();
  after: () => Promise<void> = () => Promise.resolve();

  /** A connection over which requests are sent; the first command, which connects, is no request. */
  observed(commands: Commands): Commands {
    return {
      get connected() {
        return commands.connected;
      },
      run: (work) => commands.run(work),
      runNow: async (work) => {
        if (!commands.connected) return commands.runNow(work);
        await this.before();
        const reply = await commands.runNow(work);
        await this.after();
        return reply;
      },
    };
  }
}

/** The events that were appended and not handled. */
export async function eventsOf({ redis }: TestServer): Promise<StoredEvent[]> {
  const entries = await redis.xrangeBuffer(KEYS.events, '-', '+');
  return entries.map(([, fields]) => fromFields(fields));
}

/** Writes a key that has run out, unnoticed, when it resolves. Returns when that was. */
export async function lapsed(redis: Redis, key: string): Promise<number> {
  const [seconds, micros] = (await redis.time()).map(Number);
  const deadline = seconds! * 1_000 + Math.floor(micros! / 1_000) + 20;
  await redis.set(key, '1', 'PXAT', deadline);
  await eventually(async () => {
    const [s, m] = (await redis.time()).map(Number);
    expect(s! * 1_000 + m! / 1_000).toBeGreaterThan(deadline + 1);
  });
  return deadline;
}

/** A judge that hears, by the barrier at the latest, what the test announces. */
export async function judgeOn(server: TestServer) {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  await server.redis.set(KEYS.lease, 'token');
  const term = new TermFence('token');
  const index = new ObservedIndex(commands, KEYS);
  const evidence = new Evidence();
  const values = new ValueMemory();
  const announcements: Buffer[] = [];
  const [settled, later]: [string[], number[]] = [[], []];
  const counters = newCounters();
  const fired: Parameters<JudgedNode['returns']['fired']>[] = [];
  const hooks = { barrier: () => Promise.resolve() };
  /** What the node and its term are, for a test to change. */
  const node = {
    gaps: new GapBook(),
    isSilent: false,
    previewedAfter: undefined as number | undefined,
    unwanted: [] as string[],
    graces: { longest: 0, cover: (_key: Buffer): boolean => false },
  };
  const judging: JudgingTerm = {
    ...{ token: 'token', keys: KEYS, counters },
    registry: { matches: (key) => !node.unwanted.includes(String(key)) },
    get graces() {
      return node.graces;
    },
    nextRequest: () => term.nextRequest(),
  };
  const judged: JudgedNode = {
    ...{ commands: index.observed(commands), evidence, gaps: node.gaps },
    values,
    clock: new RedisClock(),
    get isSilent() {
      return node.isSilent;
    },
    get previewedAfter() {
      return node.previewedAfter;
    },
    due: (soonest) => later.push(soonest),
    barrier: async () => {
      await hooks.barrier();
      for (const key of announcements.splice(0))
        evidence.announce(key.toString('latin1'));
    },
    settled: (keys) => void settled.push(...keys),
    returns: { fired: (...all) => void fired.push(all) },
  };
  const judge = new Judge(judging, judged);
  const sweep = new Sweep(judging, judged);
  /** Sends the script itself. */
  const send = (number: number, words: SweepArguments) =>
    commands.runNow((redis) =>
      runSweep(redis, KEYS, { token: 'token', number }, words),
    );
  const parts = {
    commands,
    judge,
    sweep,
    send,
    node,
    index,
    evidence,
    values,
    announcements,
    counters,
    hooks,
  };
  return { ...parts, settled, fired, later };
}

/** Has what was not answered asked again, and then looks at a key that nobody knows. */
export const askAgain = (judge: Judge): Promise<void> =>
  judge.judge([Buffer.from('none')]);

export const closed = (): Promise<never> =>
  Promise.reject(new Error('the connection closed'));
