import { execFile } from 'node:child_process';
import { chmodSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inject } from 'vitest';
import type { FaultBed } from '../faults/bed.js';

const SHIM = fileURLToPath(new URL('./shim.c', import.meta.url));

/**
 * The wall clock of one server, which a test can set and slew while the server runs: see `shim.c`. It
 * takes a C compiler (`cc`) and Linux.
 */
export class ServerClock {
  #ahead = 0;
  #rate = 0;
  #since = 0;

  private constructor(
    /** The server program with this clock, for `FaultBed.server({ path })`. */
    readonly path: string,
    private readonly file: number,
  ) {}

  static async make(bed: FaultBed): Promise<ServerClock> {
    const dir = await mkdtemp(join(tmpdir(), 'server-clock-'));
    bed.defer(() => rm(dir, { recursive: true, force: true }));
    const shim = join(dir, 'shim.so');
    const compile = ['-shared', '-fPIC', '-O1', '-o', shim, SHIM];
    await promisify(execFile)('cc', compile);
    const settings = join(dir, 'settings');
    writeFileSync(settings, Buffer.alloc(24));
    const path = join(dir, 'server');
    writeFileSync(
      path,
      `#!/bin/sh\nexport CLOCK_FILE='${settings}' LD_PRELOAD='${shim}'\nexec '${inject('redisServerPath')}' "$@"\n`,
    );
    chmodSync(path, 0o755);
    return new ServerClock(path, openSync(settings, 'r+'));
  }

  /** What the server's clock shows, in epoch ms. */
  now(): number {
    const now = Date.now();
    return now + this.#ahead + (now - this.#since) * this.#rate;
  }

  /** Sets it forward, or back, by so many ms. */
  step(ms: number): void {
    this.#ahead += ms;
    this.#write(0, this.#ahead * 1_000);
  }

  /** Has it run too fast from now on, by so many ms per ms, or too slow. */
  slew(rate: number): void {
    this.#ahead = this.now() - Date.now();
    this.#since = Date.now();
    this.#rate = rate;
    // At no moment may a new rate go with an old time.
    this.#write(8, 0);
    this.#write(0, this.#ahead * 1_000);
    this.#write(16, this.#since * 1_000);
    this.#write(8, rate * 1_000_000);
  }

  #write(at: number, value: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(Math.round(value)));
    writeSync(this.file, bytes, 0, 8, at);
  }
}
