import type { Cluster, Redis } from 'ioredis';
import {
  RedisExpiryError,
  describeValue,
  reasonOf,
  withoutPasswords,
} from '../errors/redis-expiry.error.js';
import { Lifetime } from '../util/lifetime.js';
import type { Log } from '../util/log.js';
import { sleep } from '../util/sleep.js';
import {
  ACCEPTED,
  type ConnectionForm,
  type ConnectionOption,
  type ConnectionTarget,
  defaultDelay,
  isCluster,
  isForm,
  readConnectionForm,
} from './connection-option.js';

type ConnectionFunction = Extract<
  ConnectionOption,
  (...args: never) => unknown
>;

/** Ms within which the function must answer, until an answer of it has said otherwise. */
const CONNECT_TIMEOUT_MS = 10_000;

/**
 * Where Redis is, by the option `connection`. The engine has one; where the option is a function, it is asked
 * here and nowhere else.
 *
 * States:
 * - *unknown* (at first, where the option is a function): `locate` asks the function, with the usual delay
 *   between two tries, for `connectTimeout` at most.
 * - *known* (any other option at once; a function since its first answer that can be used): `target` says what
 *   stays the same for good, and by `target.template` the function is asked once for each connection.
 * - *closed* (after `close`): nobody is asked; whoever waits for an answer is rejected with `CLOSED`.
 *
 * Guarantees: an answer comes within `connectTimeout`, or that is an error; what the function throws is told
 * without the passwords that URLs in it hold; an answer of another kind than the first one is an error.
 */
export class ConnectionSource {
  #target: ConnectionTarget | undefined;
  #lastError: string | undefined;
  #locating: Promise<ConnectionTarget> | undefined;
  /** The first answer, until a connection is made by it. */
  #unused: Redis | Cluster | undefined;
  readonly #ask: ConnectionFunction | undefined;
  /** Answers that are waited for. */
  readonly #asking = new Set<Lifetime>();
  readonly #closing = new AbortController();

  /** Throws `INVALID_OPTION_CONNECTION…` for what is neither a function nor a form that can be used. */
  constructor(option: ConnectionOption | undefined) {
    if (typeof option === 'function') this.#ask = option;
    else this.#target = readConnectionForm(option);
  }

  /** Where Redis is, as far as it stays the same; undefined while it is unknown. */
  get target(): ConnectionTarget | undefined {
    return this.#target;
  }

  /** Why it is unknown; undefined while it is known, and before a try has failed. */
  get lastError(): string | undefined {
    return this.#target ? undefined : this.#lastError;
  }

  /**
   * Resolves when it is known. Rejects with `CONNECT_FAILED` where the function has not answered after
   * `connectTimeout`, with `INVALID_OPTION_CONNECTION…` where its answer cannot be used, or with `CLOSED`. The
   * next call begins anew.
   */
  async locate(log: Log): Promise<ConnectionTarget> {
    if (this.#target) return this.#target;
    this.#locating ??= this.#locate(log).finally(() => {
      this.#locating = undefined;
    });
    return this.#locating;
  }

  /** Asks nobody any more. */
  close(): void {
    this.#closing.abort();
    for (const answer of this.#asking) answer.end(closedError());
  }

  async #locate(log: Log): Promise<ConnectionTarget> {
    const { signal } = this.#closing;
    const end = performance.now() + CONNECT_TIMEOUT_MS;
    for (let failures = 1; ; failures++) {
      try {
        const answer = await this.#answer(end - performance.now());
        const first = readAnswer(answer);
        this.#unused = first.first;
        this.#target = { ...first, template: () => this.#nextTemplate(first) };
        return this.#target;
      } catch (error) {
        if (error instanceof RedisExpiryError) throw error;
        const reason = reasonOf(error);
        if (reason !== this.#lastError)
          log.warn(
            `Redis is not reached yet, and is tried again; no expiry is handled until then: ${reason}`,
          );
        this.#lastError = reason;
      }
      const left = end - performance.now();
      if (left > 0)
        await sleep(Math.min(left, defaultDelay(failures)), { signal });
      if (signal.aborted) throw closedError();
      if (performance.now() >= end)
        throw new RedisExpiryError(
          'CONNECT_FAILED',
          `Redis was not reached within ${CONNECT_TIMEOUT_MS} ms: ${this.#lastError}`,
        );
    }
  }

  /** What a new connection is made by. Rejects where the answer cannot take the place of the first one. */
  async #nextTemplate(first: ConnectionTarget): Promise<Redis | Cluster> {
    const unused = this.#unused;
    this.#unused = undefined;
    if (unused) return unused;
    const next = readAnswer(await this.#answer(first.connectTimeout));
    const facts = factsOf(next);
    for (const [name, was] of Object.entries(factsOf(first)))
      if (facts[name] !== was)
        throw refusal(
          `returned ${name} ${JSON.stringify(facts[name])} after ${JSON.stringify(was)}`,
          'other credentials, another host or other TLS options; kind of connection, database and keyPrefix stay the same',
        );
    return next.first;
  }

  /** Asks the function. Rejects with what it throws, and after so many ms. */
  async #answer(limitMs: number): Promise<unknown> {
    if (this.#closing.signal.aborted) throw closedError();
    const answer = new Lifetime();
    this.#asking.add(answer);
    const ms = Math.max(1, Math.round(limitMs));
    // Keeps the process alive: there may be nothing else that does.
    const timer = setTimeout(
      () =>
        answer.end(new Error(`${SUBJECT} has not answered within ${ms} ms`)),
      ms,
    );
    try {
      return await answer.guard(this.#asked());
    } finally {
      clearTimeout(timer);
      this.#asking.delete(answer);
    }
  }

  async #asked(): Promise<ConnectionForm> {
    try {
      return await this.#ask!();
    } catch (error) {
      throw new Error(
        `${SUBJECT} failed: ${withoutPasswords(reasonOf(error))}`,
      );
    }
  }
}

const SUBJECT = 'the function that is the option "connection"';

/** Reads what the function returned. A text that is no URL is not shown: it may be the password itself. */
function readAnswer(answer: unknown): ConnectionTarget {
  if (isForm(answer)) return readConnectionForm(answer);
  const shown =
    typeof answer === 'string' ? 'another text' : describeValue(answer);
  throw refusal(`returned ${shown}`, ACCEPTED);
}

const refusal = (what: string, accepted: string): RedisExpiryError =>
  new RedisExpiryError(
    'INVALID_OPTION_CONNECTION',
    `Option "connection" is a function that ${what}; accepted: ${accepted}.`,
  );

/** What stays the same for good, by the words of a message. */
function factsOf({
  first,
  keyPrefix,
  database,
}: ConnectionTarget): Record<string, unknown> {
  const kind = isCluster(first)
    ? 'a Cluster'
    : first.options.sentinels
      ? 'Sentinels'
      : 'one server';
  return { kind, database, keyPrefix };
}

const closedError = (): RedisExpiryError =>
  new RedisExpiryError('CLOSED', 'The module was shut down.');
