import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { RedisExpiryStatus } from '../../../lib/index.js';
import type { Handling, History } from '../group/history.js';
import { programOf } from '../program-of.js';

export interface InstanceOptions {
  readonly connection: string;
  /** Ms that the slow handler takes. */
  readonly slowMs: number;
}

/** What an instance tells of itself. */
export interface Measure {
  /** Bytes, after garbage collection. */
  readonly heapUsed: number;
  readonly rss: number;
  /** How often subscriptions came and went. */
  readonly rounds: number;
  readonly status: RedisExpiryStatus;
}

/** A time in which the instance says that it may not have listened; epoch ms. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

interface Done {
  readonly run?: string;
  readonly began?: Omit<Handling, 'ended'>;
  readonly ended?: true;
  readonly heard?: string;
  readonly dead?: string;
}

interface Said {
  readonly running?: true;
  readonly done?: Done[];
  readonly measure?: Measure;
  readonly log?: string;
}

/** An application under soak in a process of its own, and what its handlers of broadcast heard. */
export class Instance {
  /** How often its handler of broadcast ran, by key. */
  readonly heard = new Map<string, number>();
  /** Dead letters that it discarded, by key: how often. */
  readonly dead = new Map<string, number>();
  readonly logs: string[] = [];
  readonly #runs = new Map<string, { ended: boolean }>();
  readonly #gaps = new Map<number, Gap>();
  readonly #child: ChildProcess;
  #stderr = '';

  private constructor(
    options: InstanceOptions,
    private readonly history: History,
  ) {
    this.#child = fork(programOf('soak-instance'), [JSON.stringify(options)], {
      execArgv: ['--expose-gc'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // Dates come as dates.
      serialization: 'advanced',
    });
    this.#child.on('message', (said: Said) => this.#hear(said));
    this.#child
      .stderr!.setEncoding('utf8')
      .on('data', (text: string) => (this.#stderr += text));
  }

  static async start(
    options: InstanceOptions,
    history: History,
  ): Promise<Instance> {
    const instance = new Instance(options, history);
    await instance.#answer('running');
    return instance;
  }

  /** All gaps of broadcast that it told of when it was measured; one that lasts has no end. */
  get gaps(): Gap[] {
    return [...this.#gaps.values()];
  }

  async measure(): Promise<Measure> {
    const answer = this.#answer('measure');
    this.#child.send('measure');
    const { measure } = await answer;
    for (const { lastGap } of measure!.status.nodes)
      if (lastGap) {
        const from = lastGap.from.valueOf();
        this.#gaps.set(from, { from, to: lastGap.to?.valueOf() ?? Infinity });
      }
    return measure!;
  }

  /** Makes it discard the group's dead letters. */
  discardDeadLetters(): void {
    this.#child.send('discard');
  }

  async close(): Promise<void> {
    if (!this.#child.connected) return;
    const closed = once(this.#child, 'close');
    this.#child.send('close');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 15_000);
    const [code] = (await closed) as [number | null];
    clearTimeout(timer);
    assert.equal(code, 0, `ended with ${code}: ${this.#stderr}`);
  }

  /** The next that it says of a kind; rejects when it ends before. */
  #answer(kind: keyof Said): Promise<Said> {
    const child = this.#child;
    return new Promise((resolve, reject) => {
      const settle = (said?: Said): void => {
        if (said && !(kind in said)) return;
        child.off('message', settle).off('close', gone);
        if (said) resolve(said);
        else reject(new Error(`the instance ended: ${this.#stderr}`));
      };
      const gone = (): void => settle();
      child.on('message', settle).on('close', gone);
    });
  }

  #hear({ done = [], log }: Said): void {
    if (log) this.logs.push(`${new Date().toISOString()} ${log}`);
    for (const { run, began, ended, heard, dead } of done) {
      if (began) {
        const handling = { ...began, ended: false };
        this.#runs.set(run!, handling);
        this.history.handled(handling);
      }
      if (ended) {
        this.#runs.get(run!)!.ended = true;
        this.#runs.delete(run!);
      }
      if (heard) count(this.heard, heard);
      if (dead) count(this.dead, dead);
    }
  }
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
