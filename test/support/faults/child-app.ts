import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { vi } from 'vitest';
import type { RedisExpiryModuleOptions } from '../../../lib/index.js';
import { PATIENCE_MS } from '../patience.js';
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

const root = fileURLToPath(new URL('../../..', import.meta.url));
const script = fileURLToPath(new URL('./child-app.mjs', import.meta.url));

/** The library, compiled as it is now: `dist` may be of yesterday. */
export class CompiledLibrary {
  private constructor(private readonly dir: string) {}

  static async make(): Promise<CompiledLibrary> {
    // Inside the project, so that it finds the same packages.
    const cache = join(root, 'node_modules/.cache/nestjs-redis-expiry');
    await mkdir(cache, { recursive: true });
    const dir = await mkdtemp(join(cache, 'faults-'));
    const tsc = join(root, 'node_modules/typescript/bin/tsc');
    await promisify(execFile)(
      process.execPath,
      [
        ...[tsc, '-p', join(root, 'tsconfig.build.json')],
        ...['--outDir', join(dir, 'dist'), '--declaration', 'false'],
      ],
      { cwd: root },
    );
    // The command tells its version by it.
    await copyFile(join(root, 'package.json'), join(dir, 'package.json'));
    return new CompiledLibrary(dir);
  }

  get url(): string {
    return pathToFileURL(join(this.dir, 'dist/index.js')).href;
  }

  /** The program of the command. */
  get command(): string {
    return join(this.dir, 'dist/cli/bin.js');
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}

/** An application in a process of its own. */
export class ChildApp {
  readonly events: ChildEvent[] = [];
  stderr = '';
  readonly #exited: Promise<unknown>;

  constructor(
    bed: FaultBed,
    library: CompiledLibrary,
    options: ChildAppOptions,
  ) {
    const argument = JSON.stringify({ library: library.url, ...options });
    const child = spawn(process.execPath, [script, argument], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
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
