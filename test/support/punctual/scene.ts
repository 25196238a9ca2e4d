import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { type TestContext, vi } from 'vitest';
import type {
  KeyExpiredEvent,
  RedisExpiryModuleOptions,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import { FaultBed } from '../faults/bed.js';
import type { ExpiryApp } from '../faults/expiry-app.js';
import { PATIENCE_MS } from '../patience.js';
import type { RedisServer } from '../redis/redis-server.mjs';

/** An event, and when its handler began, by the clock that this machine's servers have, too. */
export interface HeardEvent extends KeyExpiredEvent {
  readonly heardAt: number;
}

/** What is wrong with what was heard, by key: all of it must be empty. */
export interface Audit {
  readonly missing: string[];
  readonly twice: string[];
  /** Heard, though they did not expire. */
  readonly unasked: string[];
  /** Without their deadline, or with another than they had. */
  readonly wrongDeadline: (readonly [key: string, byMs: number | undefined])[];
  readonly negativeLateness: string[];
}

/** An audit as a failure should show it: how many there are of each kind, and a few of them. */
export const brief = (audit: Audit): Record<keyof Audit, string> =>
  Object.fromEntries(
    Object.entries(audit).map(([name, list]: [string, unknown[]]) => [
      name,
      list.length === 0
        ? 'none'
        : `${list.length}: ${JSON.stringify(list.slice(0, 5))}`,
    ]),
  ) as Record<keyof Audit, string>;

export const ALL_WELL = brief({
  missing: [],
  twice: [],
  unasked: [],
  wrongDeadline: [],
  negativeLateness: [],
});

export interface AppOptions extends RedisExpiryModuleOptions {
  pattern?: string;
  /** Runs in the handler, after the event was kept. */
  work?: (event: KeyExpiredEvent) => unknown;
}

/** How late some events were, in ms. */
export interface Lateness {
  readonly p50: number;
  readonly max: number;
}

/** An application with the option `punctual`, and all that its handler was given. */
export class PunctualApp {
  readonly events: HeardEvent[] = [];
  #app!: ExpiryApp;

  private constructor(private readonly admin: Redis) {}

  /** An application that listens and has made its first scan. */
  static async start(
    bed: FaultBed,
    admin: Redis,
    { work, ...options }: AppOptions,
  ): Promise<PunctualApp> {
    const app = new PunctualApp(admin);
    app.#app = await bed.app({
      punctual: true,
      ...options,
      work: (event) => {
        if (event.key.startsWith(FENCE)) {
          app.#fences.add(event.key);
          return undefined;
        }
        app.events.push({ ...event, heardAt: Date.now() });
        return work?.(event);
      },
    });
    return app;
  }

  readonly #fences = new Set<string>();

  get app(): ExpiryApp {
    return this.#app;
  }

  get subscriber(): RedisExpirySubscriber {
    return this.#app.subscriber;
  }

  /** Keys whose deadlines it knows, on all nodes. */
  get tracked(): number {
    return this.#app.status.nodes.reduce((sum, n) => sum + (n.tracked ?? 0), 0);
  }

  /** Resolves when it listens and has made its first scan; rejects with what it says of itself when that does not come. */
  async ready(timeout = PATIENCE_MS): Promise<void> {
    let isReady = false;
    const ready = this.subscriber.ready().then(() => (isReady = true));
    ready.catch(() => undefined);
    await Promise.race([
      ready,
      until(
        () => isReady,
        () => `not ready: ${JSON.stringify(this.#app.status.nodes)}`,
        timeout,
      ),
    ]);
  }

  eventsOf(key: string): HeardEvent[] {
    return this.events.filter((event) => event.key === key);
  }

  /** Resolves once so many events were handled. */
  async hears(count: number, timeout = PATIENCE_MS): Promise<void> {
    await until(
      () => this.events.length >= count,
      () => `${this.events.length} of ${count} events came in ${timeout} ms`,
      timeout,
    );
  }

  /** Resolves once it knows the deadlines of so many keys. */
  async tracks(count: number, timeout = PATIENCE_MS): Promise<void> {
    await until(
      () => this.tracked === count,
      () => `${this.tracked} keys are tracked, and not ${count}`,
      timeout,
    );
  }

  /** Resolves once all that Redis had announced before was handled. The pattern must match everything. */
  async fence(): Promise<void> {
    const key = `${FENCE}${fences++}`;
    await this.admin.set(key, '', 'PX', 1);
    await until(
      async () => {
        await this.admin.exists(key);
        const { queued, running } = this.#app.status;
        return this.#fences.has(key) && queued + running === 0;
      },
      () => `${key} was not handled`,
    );
  }

  /**
   * Compares what was heard with the deadline that each key had; `ALL_WELL` if nothing is wrong.
   * Where it is read by single commands and not by a script, it may be told some ms too early.
   */
  check(
    deadlines: ReadonlyMap<string, number>,
    early = 2,
  ): Record<keyof Audit, string> {
    return brief(this.audit(deadlines, early));
  }

  /** As `check`, where a deadline may be unknown, and must not be wrong. */
  checkKnown(
    deadlines: ReadonlyMap<string, number>,
    early = 2,
  ): Record<keyof Audit, string> {
    const audit = this.audit(deadlines, early);
    const known = audit.wrongDeadline.filter(([, by]) => by !== undefined);
    return brief({ ...audit, wrongDeadline: known });
  }

  audit(deadlines: ReadonlyMap<string, number>, early = 2): Audit {
    const heard = groupByKey(this.events);
    return {
      missing: [...deadlines.keys()].filter((key) => !heard.has(key)),
      twice: [...heard].flatMap(([key, all]) => (all.length > 1 ? [key] : [])),
      unasked: [...heard.keys()].filter((key) => !deadlines.has(key)),
      wrongDeadline: this.events.flatMap(({ key, deadline }) => {
        const by = deadline && deadline.getTime() - deadlines.get(key)!;
        return by !== undefined && by >= -early && by <= 2
          ? []
          : [[key, by] as const];
      }),
      negativeLateness: this.events.flatMap(({ key, lateness }) =>
        lateness !== undefined && !(lateness >= 0) ? [key] : [],
      ),
    };
  }

  /** From each key's deadline to when its handler began. */
  handledLate(deadlines: ReadonlyMap<string, number>): Lateness {
    return latenessOf(
      this.events.map(({ key, heardAt }) => heardAt - deadlines.get(key)!),
    );
  }

  /** As the events tell it. */
  get toldLate(): Lateness {
    return latenessOf(this.events.map(({ lateness }) => lateness ?? Infinity));
  }
}

const FENCE = 'fence:';
let fences = 0;

export interface SceneOptions {
  /** `notify-keyspace-events` at start. */
  flags?: string;
  /** Whether Redis looks for expired keys by itself. Off, a key expires when it is touched and never else. */
  activeExpire?: boolean;
  args?: string[];
  /** The server program, if it is not the one that the tests run on. */
  path?: string;
}

/** One test's server and what runs on it; all ends with the test. */
export class Scene {
  private constructor(
    readonly bed: FaultBed,
    readonly server: RedisServer,
    readonly admin: Redis,
  ) {}

  static async open(
    context: TestContext,
    options: SceneOptions = {},
  ): Promise<Scene> {
    const bed = openBed(context);
    const { server, admin } = await startServer(bed, options);
    return new Scene(bed, server, admin);
  }

  app(options: AppOptions = {}): Promise<PunctualApp> {
    return PunctualApp.start(this.bed, this.admin, {
      connection: this.server.url,
      ...options,
    });
  }

  /** As `app`, after its first scan. */
  async readyApp(options: AppOptions = {}): Promise<PunctualApp> {
    const app = await this.app(options);
    await app.ready();
    return app;
  }

  /** Keys with a time to live, by the key's place or the same for all. Returns when each runs out. */
  give(
    keys: readonly string[],
    px: number | ((i: number) => number),
  ): Promise<Map<string, number>> {
    return give(this.admin, keys, px);
  }

  /** Keys that run out at a time, by the key's place or the same for all. One command: it takes no time. */
  async giveAt(
    keys: readonly string[],
    at: number | ((i: number) => number),
  ): Promise<Map<string, number>> {
    const times = keys.map((_, i) => (typeof at === 'number' ? at : at(i)));
    await this.admin.eval(SET_ALL, keys.length, ...keys, ...times);
    return new Map(keys.map((key, i) => [key, times[i]!]));
  }

  /** Keys that expired since the start of the server, by whatever. */
  async expiredKeys(): Promise<number> {
    return Number(
      /^expired_keys:(\d+)/m.exec(await this.admin.info('stats'))![1],
    );
  }

  async flags(): Promise<string> {
    const reply = await this.admin.config('GET', 'notify-keyspace-events');
    return (reply as string[])[1]!;
  }

  /** How often each command was called, those of scripts and those that were refused included. */
  async calls(): Promise<Calls> {
    return new Calls(await this.admin.info('commandstats'));
  }

  /** Lets the test's own user do these. */
  async user(name: string, ...rules: string[]): Promise<void> {
    await this.admin.acl('SETUSER', name, 'on', `>${name}`, ...rules);
  }
}

/** Counts of commands. */
export class Calls {
  readonly #counts: ReadonlyMap<string, number>;

  constructor(info: string) {
    const lines = info.matchAll(
      /^cmdstat_([^:]+):calls=(\d+).*rejected_calls=(\d+)/gm,
    );
    this.#counts = new Map(
      Array.from(lines, ([, name, calls, rejected]) => [
        name!,
        Number(calls) + Number(rejected),
      ]),
    );
  }

  /** Calls of one command, its subcommands included. */
  of(...names: string[]): number {
    let sum = 0;
    for (const [name, count] of this.#counts)
      if (names.includes(name.split('|')[0]!)) sum += count;
    return sum;
  }

  /** Calls of all commands but some. */
  except(...names: string[]): number {
    const all = [...this.#counts.keys()].map((name) => name.split('|')[0]!);
    return this.of(...new Set(all.filter((name) => !names.includes(name))));
  }
}

/** A bed for a test that is not made by the bed's own `it`. */
export function openBed({ onTestFinished, task }: TestContext): FaultBed {
  const bed = new FaultBed();
  onTestFinished(async () => {
    await bed.clean();
    if (bed.unhandled.length > 0)
      throw new Error(`left unhandled in ${task.name}`, {
        cause: bed.unhandled[0],
      });
  });
  return bed;
}

/** A server that expires keys when they are touched and not else, unless told otherwise. */
export async function startServer(
  bed: FaultBed,
  { flags = '', activeExpire = false, args = [], path }: SceneOptions = {},
): Promise<{ server: RedisServer; admin: Redis }> {
  const server = await bed.server({
    ...(path !== undefined && { path }),
    args: [
      ...['--enable-debug-command', 'local'],
      ...['--notify-keyspace-events', flags],
      ...args,
    ],
  });
  const admin = bed.admin(server);
  if (!activeExpire) await admin.call('DEBUG', 'SET-ACTIVE-EXPIRE', '0');
  return { server, admin };
}

/** Sets a key and tells when it runs out: in a script no time goes by. */
const SET_AND_TELL = `redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
return redis.call('PEXPIRETIME', KEYS[1])`;

const SET_ALL = `for i, key in ipairs(KEYS) do
  redis.call('SET', key, '1', 'PXAT', ARGV[i])
end`;

/** As `Scene.give`, by any client. */
export async function give(
  redis: Redis,
  keys: readonly string[],
  px: number | ((i: number) => number),
): Promise<Map<string, number>> {
  const times = await Promise.all(
    keys.map((key, i) =>
      redis.eval(SET_AND_TELL, 1, key, typeof px === 'number' ? px : px(i)),
    ),
  );
  return new Map(keys.map((key, i) => [key, Number(times[i])]));
}

/** Letters in a fixed order: Redis prints them in one of its own. */
export const sortedFlags = (flags: string): string =>
  flags.split('').toSorted().join('');

export const names = (count: number, prefix = 'k'): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}:${i}`);

/** Resolves once the local clock, which is the servers' too, shows a time. */
export async function clockShows(time: number): Promise<void> {
  for (;;) {
    const rest = time - Date.now();
    if (rest <= 0) return;
    if (rest > 5) await delay(rest - 4);
    else await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Resolves as soon as something holds; rejects with what is wrong when it never does. */
export async function until(
  holds: () => boolean | Promise<boolean>,
  wrong: () => string,
  timeout = PATIENCE_MS,
): Promise<void> {
  await vi.waitFor(
    async () => {
      if (!(await holds())) throw new Error(wrong());
    },
    { timeout, interval: 5 },
  );
}

export function latenessOf(values: readonly number[]): Lateness {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    p50: sorted[Math.floor(sorted.length / 2)] ?? Number.NaN,
    max: sorted.at(-1) ?? Number.NaN,
  };
}

function groupByKey(events: readonly HeardEvent[]): Map<string, HeardEvent[]> {
  const groups = new Map<string, HeardEvent[]>();
  for (const event of events) {
    const group = groups.get(event.key);
    if (group) group.push(event);
    else groups.set(event.key, [event]);
  }
  return groups;
}
