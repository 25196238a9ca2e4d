import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { vi } from 'vitest';
import { PATIENCE_MS } from '../patience.js';

const root = resolve(import.meta.dirname, '../../..');

/**
 * A copy of what the sample needs of this project: to build here would take `dist` away under
 * whoever else is using it.
 */
export async function copyProject(): Promise<string> {
  const copy = await mkdtemp(join(tmpdir(), 'sample-spec-'));
  const parts = [
    'package.json',
    'tsconfig.json',
    'tsconfig.build.json',
    'lib',
    'sample',
    'test/support/redis',
  ];
  for (const part of parts)
    await cp(join(root, part), join(copy, part), { recursive: true });
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

export const removeProject = (copy: string): Promise<void> =>
  rm(copy, { recursive: true, force: true });

/** The sample as a process, started as a user starts it. */
export class SampleApp {
  output = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  constructor(command: string[], cwd: string, env: NodeJS.ProcessEnv) {
    const [program = '', ...args] = command;
    this.#child = spawn(program, args, {
      cwd,
      env: { ...process.env, REDIS_URL: '', NO_COLOR: '1', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that `kill` reaches npm and what npm started.
      detached: true,
    });
    this.#ended = once(this.#child, 'close');
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text) => (this.output += text));
  }

  /** Waits for some output; resolves with what the expression captures. */
  async prints(expression: RegExp, timeout = PATIENCE_MS): Promise<string[]> {
    return vi.waitFor(
      () => {
        const found = expression.exec(this.output);
        if (!found) throw new Error(`${expression} is not in:\n${this.output}`);
        return found.slice(1);
      },
      { timeout, interval: 20 },
    );
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ctrl-C, as a terminal sends it: to every process of the group. */
  interrupt(): void {
    if (this.#child.pid) process.kill(-this.#child.pid, 'SIGINT');
  }

  /** Resolves with the exit code, or with the signal that ended it. */
  async ended(): Promise<number | NodeJS.Signals | null> {
    await this.#ended;
    return this.#child.exitCode ?? this.#child.signalCode;
  }

  /** Whatever state it is in. */
  async kill(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#child;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    process.kill(-pid, 'SIGKILL');
    await this.#ended;
  }
}
