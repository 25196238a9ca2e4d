import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import { eventually } from '../eventually.js';
import { FaultBed } from '../faults/bed.js';
import type { TcpProxy } from '../faults/tcp-proxy.js';
import { History } from '../group/history.js';
import { TrackedKeys } from '../group/tracked-keys.js';
import type { RedisServer } from '../redis/redis-server.mjs';
import { Instance, type Measure } from './instance.js';
import { Load } from './load.js';
import { Series } from './series.js';

/** Ms that bytes are under way between the instances and the server, in each direction. */
const LATENCY_MS = 3;
/** Ms before the first measurement, in which code is compiled and windows fill up. */
const WARM_UP_MS = 40_000;
const SAMPLE_MS = 2_000;
/** Ms from a crash of the server to the next, and how long it is away. */
const CRASH_EVERY_MS = 15_000;
const AWAY_MS = 1_000;
/** Longer than the lease of an event (10 s). */
const SLOW_MS = 12_000;
const INSTANCES = 2;

const GROUP = 'soak';
const INDEX = `rx:{${GROUP}}:index`;
const DEAD = `rx:{${GROUP}}:dead`;
/** What clients call; the rest is what their scripts do. Those of the load itself are left out. */
const CALLED = new Set([
  ...['eval', 'evalsha', 'exists', 'script', 'scan', 'config', 'info', 'ping'],
  ...['psubscribe', 'punsubscribe', 'subscribe', 'unsubscribe', 'hello'],
  ...['auth', 'xreadgroup', 'xinfo', 'xpending', 'xgroup', 'acl', 'command'],
]);

/** Counters of the server, which begin again at 0 when it crashes. */
interface Counters {
  readonly runId: string;
  readonly at: number;
  readonly commands: number;
  readonly writes: number;
}

/**
 * Two instances of an application with a group and broadcast, on one server behind a slow link,
 * under the same load for as long as it is wanted. The server is killed now and then; it keeps what
 * was written. Nothing is written around a crash that an instance would have to hear of to know it.
 */
export class Soak {
  readonly history = new History();
  readonly commands = new Series('commands of the module', '1/s');
  readonly perWrite = new Series('commands per write of others', '1');
  readonly connections = new Series('connections of the module', '1');
  readonly keysMemory = new Series('memory of the group’s keys', 'KB', 2 ** 10);
  /** Buffers of clients and of the append-only file included: printed only. */
  readonly redisMemory = new Series('memory of Redis', 'MB', 2 ** 20);
  readonly heaps: Series[] = [];
  readonly rss: Series[] = [];
  readonly instances: Instance[] = [];
  /** When the server was killed; epoch ms. */
  readonly crashes: number[] = [];
  readonly #bed = new FaultBed();
  #server!: RedisServer;
  #redis!: Redis;
  #load!: Load;
  #last: Counters | undefined;

  /** All figures, those that must not grow first. */
  get series(): Series[] {
    return [
      ...[this.commands, this.perWrite, this.connections],
      ...[...this.heaps, ...this.rss, this.keysMemory, this.redisMemory],
    ];
  }

  /** Starts everything. */
  async start(): Promise<void> {
    this.#server = await this.#bed.server({
      // What was written before a crash is there after it, as the file is the system's then.
      args: [
        ...['--appendonly', 'yes', '--appendfsync', 'no'],
        ...['--auto-aof-rewrite-min-size', '4mb'],
      ],
    });
    this.#redis = this.#bed.admin(this.#server);
    const proxy: TcpProxy = await this.#bed.proxy(this.#server, {
      latency: LATENCY_MS,
    });
    const options = { connection: proxy.url, slowMs: SLOW_MS };
    for (let i = 1; i <= INSTANCES; i++) {
      const instance = await Instance.start(options, this.history);
      this.instances.push(instance);
      this.#bed.defer(() => instance.close());
      this.heaps.push(new Series(`heap of instance ${i}`, 'MB', 2 ** 20));
      this.rss.push(new Series(`RSS of instance ${i}`, 'MB', 2 ** 20));
    }
    this.#load = new Load(new TrackedKeys(this.#redis, this.history));
    this.#load.begin();
  }

  /** Lets it run for some ms beyond the time in which it warms up. The server crashes in the second third. */
  async run(ms: number): Promise<void> {
    await delay(WARM_UP_MS);
    await this.#runThird(ms / 3, Infinity);
    await this.#runThird(ms / 3, CRASH_EVERY_MS);
    await this.#runThird(ms / 3, Infinity);
  }

  async #runThird(ms: number, crashEvery: number): Promise<void> {
    for (const series of this.series) series.nextThird();
    const end = Date.now() + ms;
    let crash = Date.now();
    while (Date.now() < end) {
      if (crashEvery < Infinity && Date.now() >= crash) {
        crash += crashEvery;
        await this.#crash();
      }
      await delay(SAMPLE_MS);
      this.instances[0]!.discardDeadLetters();
      await this.#sample();
    }
  }

  /** Ends the load, and waits until the group has handled all that there is. */
  async settle(timeout: number): Promise<void> {
    await this.#load.end();
    await eventually(
      async () => {
        for (const instance of this.instances) await instance.measure();
        this.instances[0]!.discardDeadLetters();
        const left = {
          index: await this.#redis.zcard(INDEX),
          events: await this.#redis.xlen(`rx:{${GROUP}}:events`),
          retries: await this.#redis.zcard(`rx:{${GROUP}}:retry`),
          dead: await this.#redis.xlen(DEAD),
        };
        expect(left).toEqual({ index: 0, events: 0, retries: 0, dead: 0 });
      },
      { timeout, interval: 500 },
    );
    // What ended last is told by its process, which Redis may have overtaken.
    await this.#measures();
  }

  async close(): Promise<void> {
    await this.#bed.clean();
  }

  async #sample(): Promise<void> {
    const measures = await this.#measures();
    for (const [i, { heapUsed, rss }] of measures.entries()) {
      this.heaps[i]!.add(heapUsed);
      this.rss[i]!.add(rss);
    }
    const info = await this.#redis.info('everything');
    this.redisMemory.add(number(info, 'used_memory'));
    this.keysMemory.add(await this.#bytesOfKeys());
    const clients = (await this.#redis.client('LIST')) as string;
    this.connections.add(clients.match(/ name=soak-/g)?.length ?? 0);
    this.#count(info);
  }

  /** How many commands there were since the last sample, unless the server crashed between. */
  #count(info: string): void {
    const before = this.#last;
    const calls = info.matchAll(/^cmdstat_([^|:]+)[^:]*:calls=(\d+)/gm);
    let commands = 0;
    for (const [, name, count] of calls)
      if (CALLED.has(name!)) commands += Number(count);
    const runId = /^run_id:(\w+)/m.exec(info)![1]!;
    const at = performance.now();
    const now = { runId, at, commands, writes: this.#load.writes };
    this.#last = now;
    if (before?.runId !== runId) return;
    const given = commands - before.commands;
    this.commands.add((given * 1_000) / (at - before.at));
    const writes = now.writes - before.writes;
    if (writes > 0) this.perWrite.add(given / writes);
  }

  /** What all keys of the group take. */
  async #bytesOfKeys(): Promise<number> {
    const keys = await this.#redis.keys(`rx:{${GROUP}}:*`);
    const sizes = await Promise.all(
      keys.map((key) => this.#redis.memory('USAGE', key, 'SAMPLES', 0)),
    );
    return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  }

  #measures(): Promise<Measure[]> {
    return Promise.all(this.instances.map((instance) => instance.measure()));
  }

  /** Kills the server, and lets it come back with what it had. */
  async #crash(): Promise<void> {
    await this.#load.pause();
    await this.#isKnown();
    this.crashes.push(Date.now());
    await this.#server.kill();
    await delay(AWAY_MS);
    await this.#server.restart();
    await eventually(() => this.#listens(), { interval: 100 });
    this.#load.resume();
  }

  /** The group knows each key that lives, and has settled each that was deleted. */
  async #isKnown(): Promise<void> {
    await eventually(
      async () => {
        const keys = await this.#redis.keys('[bfds]*');
        const scores = await this.#redis.zmscore(INDEX, ...keys, '-');
        expect(scores.filter((score) => score !== null)).toHaveLength(
          keys.length,
        );
        expect(await this.#redis.zcard(INDEX)).toBe(keys.length);
      },
      { interval: 20 },
    );
  }

  /** Every instance listens again, and one of them watches for the group. */
  async #listens(): Promise<void> {
    const statuses = (await this.#measures()).map(({ status }) => status);
    const nodes = statuses.map((status) => status.nodes);
    const groups = statuses.map((status) => status.groups[0]!);
    const leader = groups.find(({ leads }) => leads);
    expect(leader).toBeDefined();
    for (const [node] of [...nodes, leader!.nodes])
      expect(node).toMatchObject({ state: 'listening' });
    for (const [node] of nodes) expect(node!.gaps).toBe(this.crashes.length);
  }

  /** What instances logged, failing handlers apart; for whoever looks for the cause of a failure. */
  get log(): string {
    return this.instances
      .flatMap(({ logs }, i) => logs.map((line) => `${i + 1} ${line}`))
      .toSorted((a, b) => a.slice(2).localeCompare(b.slice(2)))
      .join('\n');
  }
}

const number = (info: string, name: string): number =>
  Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)![1]);
