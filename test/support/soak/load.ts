import { setTimeout as delay } from 'node:timers/promises';
import type { TrackedKeys } from '../group/tracked-keys.js';
import { Random } from '../random.js';

/** Ms between two rounds. */
const ROUND_MS = 100;
/** Ms that a key lives without a heartbeat, and that one lives that is deleted before. */
const BEAT_TTL_MS = 4_000;
const DOOMED_TTL_MS = 60_000;
/** Heartbeats: so many keys, of which each is renewed every tenth round. */
const BEATING = 100;
/** Keys of each round that are deleted ten rounds later. */
const DOOMED = 50;

/**
 * What other clients of the server do, the same in every round: heartbeats, of which some end; keys
 * that run out, by the dozen; and keys that are deleted before they do. No name comes twice.
 */
export class Load {
  readonly #random = new Random(11);
  #beating: string[] = [];
  readonly #doomed: string[][] = [];
  #made = 0;
  #round = 0;
  #paused = true;
  #ended = false;
  #running: Promise<void> = Promise.resolve();
  #current: Promise<void> = Promise.resolve();
  /** Writes so far. */
  writes = 0;

  constructor(private readonly keys: TrackedKeys) {}

  begin(): void {
    this.#running = this.#run();
    this.#running.catch(() => undefined);
    this.resume();
  }

  /** When it resolves, nothing of it is under way. */
  async pause(): Promise<void> {
    this.#paused = true;
    await this.#current;
  }

  resume(): void {
    this.#paused = false;
  }

  /** Ends it. What was to be deleted is. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#running;
    await this.keys.delete(this.#doomed.splice(0).flat());
  }

  async #run(): Promise<void> {
    while (!this.#ended) {
      const due = Date.now() + ROUND_MS;
      if (!this.#paused) {
        this.#current = this.#go();
        await this.#current;
      }
      await delay(Math.max(0, due - Date.now()));
    }
  }

  async #go(): Promise<void> {
    const round = ++this.#round;
    const now = Date.now();
    const fresh = [
      ...this.#names('fresh', 4),
      ...this.#names('fail', 2),
      ...this.#names('slow', round % 5 === 0 ? 1 : 0),
      ...this.#names('dead', round % 10 === 0 ? 1 : 0),
    ];
    const doomed = this.#names('doomed', DOOMED);
    this.#doomed.push(doomed);
    await this.#set([
      ...fresh.map((key): [string, number] => [
        key,
        now + 500 + this.#random.below(2_500),
      ]),
      ...doomed.map((key): [string, number] => [key, now + DOOMED_TTL_MS]),
    ]);
    if (this.#doomed.length > 10) await this.#delete(this.#doomed.shift()!);
    await this.#beat(round);
  }

  /** Renews a tenth; every other round one of these is left to run out, and another takes its place. */
  async #beat(round: number): Promise<void> {
    const deadline = Date.now() + BEAT_TTL_MS;
    const due = this.#beating.filter((_, i) => i % 10 === round % 10);
    const left = new Set(round % 2 === 0 ? due.slice(0, 1) : []);
    const renewed = due.filter((key) => !left.has(key));
    this.writes += renewed.length;
    for (const key of await this.keys.tryToRenew(
      renewed.map((name) => [name, deadline]),
    ))
      left.add(key);
    this.#beating = this.#beating.filter((key) => !left.has(key));
    const added = this.#names('beat', BEATING - this.#beating.length);
    this.#beating.push(...added);
    await this.#set(added.map((key) => [key, deadline]));
  }

  async #set(entries: [string, number][]): Promise<void> {
    this.writes += entries.length;
    await this.keys.set(entries);
  }

  async #delete(keys: string[]): Promise<void> {
    this.writes += keys.length;
    await this.keys.delete(keys);
  }

  #names(prefix: string, count: number): string[] {
    return Array.from({ length: count }, () => `${prefix}:${++this.#made}`);
  }
}
