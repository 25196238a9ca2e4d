import { Logger } from '@nestjs/common';
import { RedisExpiryEngine } from '../engine/engine.js';
import { readKey } from '../engine/key-checks.js';
import type { ResolvedOptions } from '../engine/options.js';
import {
  RedisExpiryError,
  describeValue,
  invalidOption,
} from '../errors/redis-expiry.error.js';
import { RESOLVED_OPTIONS } from '../redis-expiry.module-definition.js';
import { MemoryEngine } from './memory-engine.js';
import { MemoryKeys } from './memory-keys.js';
import { type GivenValue, readValue } from './memory-value.js';
import { type HandledExpiry, OpenRuns } from './runs.js';
import { VirtualTime } from './virtual-time.js';

/** What `ExpiryTester` needs of Nest's `TestingModuleBuilder`. */
export interface OverridableBuilder {
  overrideProvider(token: unknown): {
    useFactory(options: {
      factory: (...injected: never[]) => unknown;
      inject?: never[];
    }): unknown;
  };
}

/** A try that `advance` saw end, and the key that it was about. */
export interface AdvancedExpiry extends HandledExpiry {
  /** Without the connection's `keyPrefix`. */
  readonly key: string;
}

/**
 * Tests handlers without Redis: the application runs as it is, with every decorator, scope, option and
 * subscription, and keys expire when the test says so. No socket is opened, and no timer of the process is
 * used, so it works under any test runner, and under its fake timers as well.
 *
 * It has a small memory of keys, and a clock of its own that begins at the present time and moves by
 * `advance` only. Where the application calls `forRoot` several times, all of them share both. Reading and
 * writing Redis by a client of the application's own is not its business.
 *
 * @example
 * ```ts
 * const expiry = new ExpiryTester();
 * const moduleRef = await expiry.install(Test.createTestingModule({ imports: [AppModule] })).compile();
 * await moduleRef.init();
 *
 * const { handled } = await expiry.expire('device:42');
 * ```
 */
export class ExpiryTester {
  readonly #time = new VirtualTime();
  readonly #runs = new OpenRuns();
  readonly #engines: MemoryEngine[] = [];
  readonly #keys = new MemoryKeys(this.#time, {
    created: (key) => {
      for (const engine of this.#engines) engine.created(key);
    },
    expired: (key, deadline, value) => {
      for (const engine of this.#engines)
        void engine.expire({ key, deadline, value, retry: true });
    },
    expiring: (key, deadline, before, value) => {
      for (const engine of this.#engines)
        void engine.warn({ key, deadline, before, value, retry: true });
    },
  });
  #handled: AdvancedExpiry[] = [];

  /** The time by the kit's own clock. */
  get now(): Date {
    return new Date(this.#time.now);
  }

  /**
   * Lets every `RedisExpiryModule` of an application that is about to be compiled work without Redis. Returns
   * the builder. To be called once for an application; a tester is for one application.
   */
  install<Builder extends OverridableBuilder>(builder: Builder): Builder {
    const factory = (options: ResolvedOptions): MemoryEngine => {
      const engine = new MemoryEngine(
        options,
        {
          ...{ time: this.#time, keys: this.#keys, runs: this.#runs },
          onHandled: (handled, key) => this.#handled.push({ ...handled, key }),
        },
        new Logger(options.name),
      );
      this.#engines.push(engine);
      return engine;
    };
    builder
      .overrideProvider(RedisExpiryEngine)
      .useFactory({ factory, inject: [RESOLVED_OPTIONS as never] });
    return builder;
  }

  /**
   * Lets a key expire now, whether it was set before or not. Resolves when every handler that matches has
   * settled, with how each of them ended. The clock does not move, so a handler with a `grace` runs by `advance`.
   *
   * A handler that fails is not tried again, and what it threw is what this rejects with; where several fail,
   * with an `AggregateError` of all. With `retry: true` it is as in production instead: this does not reject,
   * the tries that failed have an `error`, and in a group the next try is made by `advance` when it is due.
   *
   * Handlers that ask for the value are given `value`: a text or a Buffer as it is, and the JSON of whatever else; or
   * `hash`, the fields of a hash. Without either it is what the key was set to, if it was.
   *
   * An event whose key was written again before its handler's turn came is superseded, and not handled.
   *
   * @throws RedisExpiryError `NO_HANDLER` where no pattern matches, `INVALID_OPTION_KEY`, `INVALID_OPTION_VALUE`,
   *   `INVALID_OPTION_HASH`
   */
  async expire(
    key: string | Buffer,
    { retry = false, ...given }: { retry?: boolean } & GivenValue = {},
  ): Promise<{ handled: HandledExpiry[] }> {
    const bytes = readKey(key);
    const isGiven = given.value !== undefined || given.hash !== undefined;
    const value = isGiven ? readValue(given) : this.#keys.valueOf(bytes);
    this.#keys.delete(bytes);
    const handled: HandledExpiry[] = [];
    const expired = {
      key: bytes,
      deadline: this.#time.now,
      ...(value && { value }),
      retry,
      onHandled: (one: HandledExpiry) => void handled.push(one),
    };
    const matches = await Promise.all(
      this.#engines.map((engine) => engine.expire(expired)),
    );
    if (matches.every((count) => count === 0)) throw this.#noHandler(key);
    const errors = handled.filter((one) => 'error' in one);
    if (retry || errors.length === 0) return { handled };
    if (errors.length === 1) throw errors[0]!.error;
    throw new AggregateError(
      errors.map(({ error }) => error),
      `${errors.length} handlers failed: ${errors.map(({ handler }) => handler).join(', ')}`,
    );
  }

  /**
   * Writes a key, as `SET` does: whatever time to live it had is replaced, so a heartbeat is one more `set`.
   * `ttl` in ms; without it the key lives until it is deleted. It expires by `advance`. `value` and `hash` as of
   * `expire`; without either it is an empty string.
   *
   * @throws RedisExpiryError `INVALID_OPTION_TTL`, `INVALID_OPTION_KEY`, `INVALID_OPTION_VALUE`, `INVALID_OPTION_HASH`
   */
  set(
    key: string | Buffer,
    { ttl, ...given }: { ttl?: number } & GivenValue = {},
  ): void {
    if (ttl !== undefined && !(Number.isInteger(ttl) && ttl > 0))
      throw invalidOption('ttl', ttl, 'whole milliseconds from 1 on');
    this.#keys.set(readKey(key), ttl, readValue(given));
  }

  /** Removes a key, which is no expiry. Whether there was such a key. */
  delete(key: string | Buffer): boolean {
    return this.#keys.delete(readKey(key));
  }

  /**
   * Moves the clock on by so many ms, from one thing that is due to the next: keys run out, or are about to and have a
   * handler of `@OnKeyExpiring`, in a group what failed is tried again, and handlers run whose `grace` is over. Handlers are waited for at each step, so it never gets ahead of one. A handler with
   * a `timeout` is waited for a moment only, and may use all of it by this clock.
   *
   * As in Redis, a key lives through the millisecond of its deadline: what has 30,000 ms to live is gone after
   * 30,001.
   *
   * Never rejects for a handler's failure: resolves with every try that ended since the call before, each with
   * its `result` or its `error`.
   *
   * @throws RedisExpiryError `INVALID_OPTION_MS`
   */
  async advance(ms: number): Promise<{ handled: AdvancedExpiry[] }> {
    if (typeof ms !== 'number' || !(ms >= 0 && ms < Infinity))
      throw invalidOption('ms', ms, 'milliseconds from 0 on');
    const until = this.#time.now + ms;
    await this.#runs.settled();
    while (this.#time.step(until)) await this.#runs.settled();
    const handled = this.#handled;
    this.#handled = [];
    return { handled };
  }

  #noHandler(key: string | Buffer): RedisExpiryError {
    const handlers = this.#engines.flatMap((engine) => engine.handlers);
    const present =
      this.#engines.length === 0
        ? 'install() was not called, or the application does not import RedisExpiryModule'
        : handlers.length === 0
          ? 'there is no handler: was moduleRef.init() called, and is enabled not false?'
          : `there are ${handlers.join(', ')}`;
    return new RedisExpiryError(
      'NO_HANDLER',
      `No handler matches ${describeValue(key.toString())}: ${present}.`,
    );
  }
}
