import { CommandClient } from '../connection/command-client.js';
import type { ConnectionTarget } from '../connection/connection-option.js';
import type { Log } from '../util/log.js';
import type { ClusterSeeds } from './cluster-seeds.js';
import { slotOf } from './hash-slot.js';

/** A connection that goes where one slot is served. */
interface Follower {
  readonly slot: number;
  readonly client: CommandClient;
  /** Where it is, or was last. */
  at: string | undefined;
}

export interface ClusterFollowersOptions {
  readonly target: ConnectionTarget;
  readonly seeds: ClusterSeeds;
  /** The node that serves a slot, or some node where that is not known; undefined where none is known. */
  readonly ownerOf: (slot: number) => string | undefined;
  /** The Cluster may have changed. */
  readonly onDoubt: () => void;
  readonly log: Log;
}

/**
 * Connections for commands that go where their keys live, and move with them. `ClusterTopology` opens one for
 * whoever keeps keys of its own in the Cluster, as a group does, and tells it of each change.
 */
export class ClusterFollowers {
  readonly #followers = new Set<Follower>();

  constructor(private readonly options: ClusterFollowersOptions) {}

  /** A connection to wherever a key lives. */
  open(key: string): CommandClient {
    const { target, seeds, ownerOf, onDoubt, log } = this.options;
    const slot = slotOf(key);
    const follower: Follower = {
      slot,
      at: undefined,
      client: new CommandClient({
        open: () => {
          follower.at = ownerOf(slot);
          return seeds.open(follower.at ?? '');
        },
        onElsewhere: onDoubt,
        connectTimeout: target.connectTimeout,
        retryDelay: target.retryDelay,
        log,
      }),
    };
    this.#followers.add(follower);
    return follower.client;
  }

  /** Leads each connection to where its keys live now. */
  follow(owners: readonly (string | undefined)[]): void {
    for (const follower of this.#followers) {
      const { client, at, slot } = follower;
      const owner = owners[slot];
      if (client.closed) this.#followers.delete(follower);
      else if (at !== undefined && owner !== undefined && at !== owner)
        client.reopen('its keys live elsewhere now');
    }
  }

  close(): void {
    for (const { client } of this.#followers) client.close();
  }
}
