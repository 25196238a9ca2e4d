import type { NatMap } from 'ioredis';
import type { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import { reasonOf } from '../errors/redis-expiry.error.js';
import type { Log } from '../util/log.js';
import { Pause } from '../util/pause.js';
import { sleep } from '../util/sleep.js';
import { within } from '../util/within.js';
import type { ClusterSeeds } from './cluster-seeds.js';
import {
  type ClusterView,
  type SlotRange,
  hostAndPort,
  readView,
} from './cluster-view.js';

/** Ms between two looks at who the primaries are: when all is calm, and when something speaks for a change. */
const CALM_INTERVAL_MS = 1_000;
const DOUBT_INTERVAL_MS = 100;
/** Ms for which a doubt lasts. */
const DOUBT_MS = 15_000;
/** Ms within which a node must answer. */
const ANSWER_TIMEOUT_MS = 1_000;

/** A node that can be asked who is who. */
export interface Witness {
  readonly address: string;
  readonly commands: CommandClient;
}

export interface ScoutOptions {
  readonly target: ConnectionTarget;
  readonly seeds: ClusterSeeds;
  readonly natMap: NatMap | undefined;
  /** The nodes that are known now. */
  readonly witnesses: () => readonly Witness[];
  /** A node answered with this view; it was asked at `askedAt`, in epoch ms. */
  readonly onView: (view: ClusterView, askedAt: number) => void;
  /** Neither a node that is known nor a start-up node answered. */
  readonly onSilence: () => void;
  readonly log: Log;
}

/**
 * Asks who is who in a Cluster, again and again. `ClusterTopology` runs it, and follows what it finds.
 *
 * States:
 * - *calm* (at first): one node is asked a second, each in its turn, and the next one at once where it
 *   does not answer.
 * - *doubt* (for 15 s after `doubt`): the same, ten times a second.
 * - *searching* (while no node that is known answers): the start-up nodes are asked for nodes, and those are
 *   asked, with the user's retry delay between two tries. Leaves when one answers.
 * - *closed* (after `close`): a question that is under way is the last.
 */
export class ClusterScout {
  /** Why nobody answered at the newest look. */
  lastError: string | undefined;
  readonly #closing = new AbortController();
  /** A rest that a doubt cuts short. */
  readonly #calm = new Pause();
  #doubtUntil = 0;
  #turn = 0;

  constructor(private readonly options: ScoutOptions) {}

  /** Goes on until `close`. */
  async run(): Promise<void> {
    const { seeds, target } = this.options;
    for (let failures = 0; !this.#isClosed;) {
      if (await this.#look()) {
        failures = 0;
        this.lastError = seeds.lastError = undefined;
        await this.#rest();
        continue;
      }
      // The nodes that start-up nodes name may be out of reach, too.
      const found = await seeds.find();
      if (!found) this.options.onSilence();
      // While no node is known, this is all that keeps the process alive.
      if (!found || failures > 0)
        await sleep(target.retryDelay(failures + 1), {
          signal: this.#closing.signal,
        });
      failures++;
    }
  }

  /** Something speaks for a change, so nodes are asked more often for a while. */
  doubt(): void {
    this.#doubtUntil = performance.now() + DOUBT_MS;
    this.#calm.end();
  }

  close(): void {
    this.#closing.abort();
    this.#calm.end();
  }

  get #isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Asks one node after the other until one answers. Resolves with whether one did. */
  async #look(): Promise<boolean> {
    const { witnesses, seeds, log } = this.options;
    const known = witnesses();
    const first = known.length > 0 ? ++this.#turn % known.length : 0;
    for (const { address, commands } of [
      ...known.slice(first),
      ...known.slice(0, first),
    ])
      if (await this.#ask(address, commands)) return true;
    for (const address of seeds.addresses) {
      if (known.some((witness) => witness.address === address)) continue;
      const commands = seeds.connect(address, log);
      const told = await this.#ask(address, commands);
      commands.close();
      if (told) return true;
    }
    return false;
  }

  /** Asks one node. Resolves with whether it answered. */
  async #ask(address: string, commands: CommandClient): Promise<boolean> {
    const askedAt = Date.now();
    let view: ClusterView | undefined;
    try {
      const told = commands.runNow(async (redis) => {
        const [ranges, nodes] = await Promise.all([
          redis.cluster('SLOTS') as Promise<SlotRange[]>,
          redis.cluster('NODES').catch(() => ''),
        ]);
        const { host } = hostAndPort(address);
        view = readView(ranges, String(nodes), host, this.options.natMap);
      });
      await within(ANSWER_TIMEOUT_MS, told);
    } catch (error) {
      this.lastError = `${address}: ${reasonOf(error)}`;
      this.options.log.debug(
        `${address} does not tell who the primaries are: ${reasonOf(error)}`,
      );
    }
    if (this.#isClosed) return true;
    if (!view || view.primaries.size === 0) return false;
    this.options.onView(view, askedAt);
    return true;
  }

  /** Rests until the next question. A doubt cuts the rest short, but never below 100 ms, however often it is raised. */
  async #rest(): Promise<void> {
    const { signal } = this.#closing;
    await sleep(DOUBT_INTERVAL_MS, { ref: false, signal });
    if (this.#isClosed || performance.now() < this.#doubtUntil) return;
    await this.#calm.wait(CALM_INTERVAL_MS - DOUBT_INTERVAL_MS, {
      ref: false,
    });
  }
}
