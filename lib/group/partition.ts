import type { CommandClient } from '../connection/command-client.js';
import type { Commands } from '../connection/commands.js';
import type { Topology } from '../topology/topology.js';
import { type GroupKeys, groupKeys } from './group-keys.js';
import type { WriteRefusals } from './write-refusals.js';

/**
 * One partition of a group: all that the group keeps about the keys of one primary, on that primary.
 * A partition has a hash tag, which every name of its keys contains, and goes with the slot of that tag. The
 * *home* partition's tag is the group's name; one server has no other.
 *
 * It owns the names of its keys, and two connections to the node that serves them, wherever that is: one
 * for commands, and one for a read that waits.
 *
 * States:
 * - open (at first): it connects with the first command. After `release` it does without a connection
 *   until the next one.
 * - closed, by `close`: for good; commands under way reject.
 */
export class Partition {
  readonly keys: GroupKeys;
  /** What the server refuses to write is noticed. */
  readonly commands: Commands;
  /** For a read that waits at Redis: no other command may wait behind it. */
  readonly reader: CommandClient;
  readonly #client: CommandClient;

  /**
   * @param tag hash tag of its keys
   * @param number 0 for the home partition; names the partition in the ids of its dead letters
   */
  constructor(
    readonly tag: string,
    readonly number: number,
    ownPrefix: string,
    private readonly topology: Topology,
    private readonly refusals: WriteRefusals,
  ) {
    this.keys = groupKeys(ownPrefix, tag, number);
    this.#client = topology.openCommands(this.keys.index);
    this.reader = topology.openCommands(this.keys.index);
    this.commands = refusals.watch(this.#client);
  }

  /** The node that serves it, as far as is known: an address. */
  get node(): string | undefined {
    return this.topology.nodeOf(Buffer.from(this.keys.index))?.address;
  }

  /** Why it cannot be reached, while it cannot. */
  get lastError(): string | undefined {
    return this.#client.lastError;
  }

  /** Another connection to the same server; what the server refuses to write is noticed. */
  watch(connection: Commands): Commands {
    return this.refusals.watch(connection);
  }

  release(): void {
    this.#client.release();
    this.reader.release();
  }

  close(): void {
    this.#client.close();
    this.reader.close();
  }
}
