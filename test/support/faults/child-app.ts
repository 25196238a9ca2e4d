import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { vi } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { PATIENCE_MS } from '../patience.js';
import { programOf } from '../program-of.js';
import type { FaultBed } from './bed.js';

export interface ChildAppOptions {
  module: RedisExpiryModuleOptions;
  /** Ms that the handler takes. */
  workMs?: number;
  shutdownHooks?: boolean;
  closeTwice?: boolean;
}

/** What the child said. */
export interface ChildEvent {
  readonly event:
    | 'running'
    | 'rejected'
    | 'received'
    | 'started'
    | 'handled'
    | 'shutdown'
    | 'closed'
    | 'log';
  readonly at: number;
  readonly key?: string;
  readonly code?: string;
  readonly message?: string;
  readonly name?: string;
  readonly level?: string;
  readonly text?: string;
  /** Where it was closed or rejected: for how many ms each timer was set that keeps the process alive. */
  readonly timers?: readonly number[];
}

/** How a process ends that nothing holds up. */
export const BY_ITSELF = { timers: [], code: 0, signal: null };

/** Ms for which ioredis holds on to a socket that it closes, at most. */
const CLOSING_SOCKETS_MS = 50;

/** An application in a process of its own. */
export class ChildApp {
  readonly events: ChildEvent[] = [];
  stderr = '';
  readonly #exited: Promise<unknown>;

  constructor(bed: FaultBed, options: ChildAppOptions) {
    const child = spawn(
      process.execPath,
      [programOf('child-app'), JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.child = child;
    this.#exited = once(child, 'close');
    createInterface({ input: child.stdout }).on('line', (line) =>
      this.events.push(JSON.parse(line) as ChildEvent),
    );
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (this.stderr += text));
    bed.defer(() => child.kill('SIGKILL'));
  }

  private readonly child: ChildProcess;

  all(event: ChildEvent['event']): ChildEvent[] {
    return this.events.filter((e) => e.event === event);
  }

  /** Resolves once the child said it so many times. */
  async says(
    event: ChildEvent['event'],
    times = 1,
    timeout = PATIENCE_MS,
  ): Promise<ChildEvent> {
    await vi.waitFor(
      () => {
        assert.equal(this.stderr, '');
        assert.ok(
          this.all(event).length >= times,
          `did not say "${event}" ${times} time(s)`,
        );
      },
      { timeout, interval: 10 },
    );
    return this.all(event)[times - 1]!;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /**
   * Resolves when the process has ended by itself after the child said that it was closed or rejected: with how it
   * ended, and with the ms of each timer that was left then and held it up. How long the system takes does not matter.
   */
  async endsAfter(
    event: 'closed' | 'rejected',
  ): Promise<{ timers: number[]; code: number | null; signal: string | null }> {
    const { timers = [] } = await this.says(event);
    const ended = await this.ends();
    return {
      timers: timers.filter((ms) => ms > CLOSING_SOCKETS_MS),
      ...ended,
    };
  }

  /** Resolves when the process has ended by itself; kills it and rejects when it does not in time. */
  async ends(
    timeout = PATIENCE_MS,
  ): Promise<{ code: number | null; signal: string | null }> {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.child.kill('SIGKILL');
    }, timeout);
    await this.#exited;
    clearTimeout(timer);
    if (late)
      throw new Error(
        `The process did not end by itself within ${timeout} ms; it said ${JSON.stringify(this.events)}`,
      );
    assert.equal(this.stderr, '');
    return { code: this.child.exitCode, signal: this.child.signalCode };
  }
}
