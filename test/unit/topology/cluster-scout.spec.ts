import { afterEach, beforeEach, expect, it, onTestFinished, vi } from 'vitest';
import { readConnectionForm } from '../../../lib/connection/connection-option.js';
import { ClusterScout } from '../../../lib/topology/cluster-scout.js';
import { ClusterSeeds } from '../../../lib/topology/cluster-seeds.js';
import { commandsOn, noLog } from '../../support/group/parts.js';
import { bytesLeft } from '../../support/heap.js';
import { useServer } from '../../support/servers.js';

// By the timers that the tests pass the time of: those of node:timers/promises cannot be faked. That the
// real one leaves nothing behind is tested beside it.
vi.mock(import('../../../lib/util/sleep.js'), () => ({
  sleep: (ms, { signal } = {}) =>
    new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal?.addEventListener('abort', end);
    }),
}));

const server = useServer({ args: ['--cluster-enabled', 'yes'] });

beforeEach(async () => {
  const info = (await server.redis.cluster('INFO')) as string;
  if (!info.includes('cluster_slots_assigned:16384'))
    await server.redis.call('CLUSTER', 'ADDSLOTSRANGE', 0, 16_383);
});
afterEach(() => vi.useRealTimers());

/** A scout that runs on a real node; its seconds pass when the test says so. */
async function scene() {
  const target = readConnectionForm({
    nodes: [{ host: server.host, port: server.port }],
  });
  const commands = commandsOn(server);
  await commands.run((redis) => redis.ping());
  let told = 0;
  const scout = new ClusterScout({
    target,
    seeds: new ClusterSeeds(target, 'test'),
    natMap: undefined,
    witnesses: () => [{ address: server.address, commands }],
    onView: () => told++,
    onSilence: () => undefined,
    log: noLog,
  });
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const running = scout.run();
  onTestFinished(async () => {
    scout.close();
    await running;
    commands.close();
  });
  /** Resolves when the node told so often, in however many turns of the event loop; time stands still. */
  const hears = async (times: number): Promise<void> => {
    while (told < times) await new Promise((resolve) => setImmediate(resolve));
  };
  return { scout, hears, told: () => told };
}

it('ClusterScout leaves nothing behind of a calm second', async () => {
  const { hears } = await scene();
  let seconds = 1;
  await hears(seconds);

  const left = await bytesLeft(500, async (times) => {
    for (let i = 0; i < times; i++) {
      await vi.advanceTimersByTimeAsync(1_000);
      await hears(++seconds);
    }
  });

  // About 500 where each rest waits for a doubt that never comes.
  expect(left).toBeLessThan(250);
});

it('ClusterScout asks at once when a doubt is raised in a calm second, and rests for 100 ms however often it is raised', async () => {
  const { scout, hears, told } = await scene();
  await hears(1);
  await vi.advanceTimersByTimeAsync(500);
  scout.doubt();
  await hears(2);
  // It rests from here on: its answer was taken in the turn before.
  await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 5; i++) scout.doubt();
  await vi.advanceTimersByTimeAsync(99);
  for (let i = 0; i < 200; i++)
    await new Promise((resolve) => setImmediate(resolve));
  expect(told()).toBe(2);
  await vi.advanceTimersByTimeAsync(1);
  await hears(3);
});
