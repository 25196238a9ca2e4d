import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { vi } from 'vitest';
import type {
  OnKeyExpiredOptions,
  RedisExpiryModuleOptions,
  RedisExpiryStatus,
} from '../../../lib/index.js';
import type { FaultBed } from '../faults/bed.js';
import { PATIENCE_MS } from '../patience.js';
import { programOf } from '../program-of.js';
import type { Handling, History } from './history.js';

export interface WorkerOptions {
  readonly module: RedisExpiryModuleOptions;
  readonly pattern?: string;
  /** Its handler is for warnings, so many ms before; in the history these count as deadlines. */
  readonly before?: number;
  /** Its handler's options. */
  readonly handler?: OnKeyExpiredOptions;
  /** From how many to how many ms its handler takes. */
  readonly work?: readonly [number, number];
  /** It is killed after a handler's first try ended, and before anybody was told. */
  readonly dieBeforeAck?: boolean;
  /** It is killed at the very beginning of every try of this key: nothing else of the process goes on. */
  readonly dieOver?: string;
  /** It is killed at the end of every try. */
  readonly alwaysDie?: boolean;
}

interface Said {
  readonly event:
    'running' | 'rejected' | 'began' | 'ended' | 'closed' | 'log' | 'status';
  readonly run?: number;
  readonly handling?: Omit<Handling, 'ended'>;
  readonly message?: string;
  readonly level?: string;
  readonly text?: string;
  readonly status?: RedisExpiryStatus;
}

/** An instance of a group in a process of its own. What its handlers do goes into the history. */
export class Worker {
  readonly logs: string[] = [];
  readonly #began = new Map<number, { ended: boolean }>();
  readonly #statuses: RedisExpiryStatus[] = [];
  readonly #closed: Promise<unknown>;
  readonly #child: ChildProcess;
  #running = false;
  #rejected: string | undefined;
  #graceful = false;
  #stderr = '';

  constructor(
    options: WorkerOptions,
    private readonly history: History,
  ) {
    const child = spawn(
      process.execPath,
      [programOf('worker'), JSON.stringify(options)],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child = child;
    // 'close' comes when all it said was read, too.
    this.#closed = once(child, 'close');
    createInterface({ input: child.stdout }).on('line', (line) =>
      this.#hear(JSON.parse(line) as Said),
    );
    child.stderr
      .setEncoding('utf8')
      .on('data', (text: string) => (this.#stderr += text));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** It runs, and was neither killed nor stopped. */
  get alive(): boolean {
    const { exitCode, signalCode } = this.#child;
    return this.#running && exitCode === null && signalCode === null;
  }

  /** Its handlers run; rejects if it could not start. */
  async running(): Promise<this> {
    await vi.waitFor(
      () => {
        assert.equal(this.#rejected, undefined);
        assert.equal(this.#stderr, '');
        assert.ok(this.#running, `worker ${this.pid} does not run`);
      },
      { timeout: PATIENCE_MS, interval: 10 },
    );
    return this;
  }

  async status(): Promise<RedisExpiryStatus> {
    const before = this.#statuses.length;
    this.#child.kill('SIGUSR2');
    await vi.waitFor(() => assert.ok(this.#statuses.length > before), {
      timeout: PATIENCE_MS,
      interval: 5,
    });
    return this.#statuses.at(-1)!;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Kills it as a crash would. Resolves when it is gone and all it said was heard. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  /** It was killed, by itself or another. */
  async gone(): Promise<void> {
    await this.#closed;
  }

  /** Shuts it down in good order. Rejects if it is not. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    await this.#closed;
    assert.equal(this.#stderr, '');
    assert.ok(
      this.#graceful,
      `worker ${this.pid} was not closed in good order`,
    );
  }

  #hear(said: Said): void {
    if (said.event === 'running') this.#running = true;
    else if (said.event === 'rejected') this.#rejected = said.message;
    else if (said.event === 'closed') this.#graceful = true;
    else if (said.event === 'status') this.#statuses.push(said.status!);
    else if (said.event === 'log')
      this.logs.push(
        `${new Date().toISOString()} ${this.pid} ${said.level} ${said.text}`,
      );
    else if (said.event === 'began') {
      const handling = { ...said.handling!, ended: false };
      this.#began.set(said.run!, handling);
      this.history.handled(handling);
    } else if (said.event === 'ended') this.#began.get(said.run!)!.ended = true;
  }
}

/** Workers of one kind that end with the test. */
export class Fleet {
  readonly workers: Worker[] = [];
  /** All that ever were. */
  started = 0;

  constructor(
    private readonly bed: FaultBed,
    private readonly history: History,
    private readonly options: WorkerOptions,
  ) {}

  /** Starts workers. They run when it resolves. */
  start(count: number, more: Partial<WorkerOptions> = {}): Promise<Worker[]> {
    const fresh = this.spawn(count, more);
    return Promise.all(fresh.map((worker) => worker.running()));
  }

  /** Starts workers that may not live long enough to run. */
  spawn(count: number, more: Partial<WorkerOptions> = {}): Worker[] {
    const fresh = Array.from({ length: count }, () => {
      const options = { ...this.options, ...more };
      const worker = new Worker(options, this.history);
      this.bed.defer(() => worker.kill());
      this.started++;
      return worker;
    });
    this.workers.push(...fresh);
    return fresh;
  }

  /** The workers that run, and were not killed or stopped. */
  get alive(): Worker[] {
    return this.workers.filter((worker) => worker.alive);
  }

  /** The worker that watches the deadlines. */
  async leader(): Promise<Worker> {
    return vi.waitFor(
      async () => {
        for (const worker of this.alive) {
          const { groups } = await worker.status();
          if (groups.some(({ leads }) => leads)) return worker;
        }
        throw new Error('nobody leads');
      },
      { timeout: PATIENCE_MS, interval: 20 },
    );
  }
}
