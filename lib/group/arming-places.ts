import type { CommandClient } from '../connection/command-client.js';
import { isRedirect } from '../connection/server-error.js';
import type { Topology } from '../topology/topology.js';
import type { Log } from '../util/log.js';
import { type GroupKeys, groupKeys, homeKeys } from './group-keys.js';
import { PartitionMap } from './partition-map.js';
import { PartitionRegistry } from './partition-registry.js';
import {
  type PartitionName,
  PartitionTags,
  partitionName,
} from './partition-tags.js';

/** A partition, as whoever writes keys uses it: its keys, and a connection to the server that has it. */
export interface ArmingPlace {
  readonly client: CommandClient;
  readonly keys: GroupKeys;
  /** On a Cluster: notes of which expiries were told, and of entries that are on their way, count. */
  readonly isAmongOthers: boolean;
  /** The key is on its way there: each command needs an `ASKING` before it. */
  readonly isAsking?: boolean;
}

/** Where keys and their deadlines are to be written. `ArmedKeys` has one: of one server, or of a Cluster. */
export interface ArmingPlaces {
  /** Why no place is known, while none is. */
  readonly lastError: string | undefined;
  /** Begins to find out which places there are, unless that is under way. */
  prepare(): void;
  /** The place of a key, as far as is known. */
  placeOf(redisKey: Buffer): ArmingPlace | undefined;
  /** The place of a key that was not where `placeOf` said; undefined while that is not known. Rejects as the connection does. */
  whereabouts(redisKey: Buffer): Promise<ArmingPlace | undefined>;
  close(): void;
}

/** What places are made from. */
export interface ArmingParts {
  readonly group: string;
  readonly ownPrefix: string;
  readonly topology: Topology;
  readonly log: Log;
}

/** The only partition of one server. */
export class OnePlace implements ArmingPlaces {
  readonly #place: ArmingPlace;
  #isPrepared = false;

  constructor(private readonly parts: ArmingParts) {
    const { group, ownPrefix, topology } = parts;
    const keys = groupKeys(ownPrefix, group);
    const client = topology.openCommands(keys.index);
    this.#place = { client, keys, isAmongOthers: false };
  }

  get lastError(): string | undefined {
    return this.#place.client.lastError;
  }

  prepare(): void {
    if (this.#isPrepared) return;
    this.#isPrepared = true;
    // At once for one server, and it does not fail.
    void this.parts.topology.start();
  }

  placeOf(): ArmingPlace {
    return this.#place;
  }

  whereabouts(): Promise<ArmingPlace> {
    return Promise.resolve(this.#place);
  }

  close(): void {
    this.#place.client.close();
  }
}

/**
 * The partitions of a Cluster. A key belongs to the one that watches the node which serves it.
 *
 * States: new → `prepare` → finding out → following the list of partitions and the topology. Finding out that
 * failed is begun anew by the next `prepare`.
 */
export class ClusterPlaces implements ArmingPlaces {
  readonly #places = new Map<number, ArmingPlace>();
  readonly #map: PartitionMap;
  #isPreparing = false;
  #isReady = false;
  #lastError: string | undefined;

  constructor(private readonly parts: ArmingParts) {
    const { group, ownPrefix, topology, log } = parts;
    const home = this.#placeAt(partitionName(group, 0)).client;
    this.#map = new PartitionMap(
      new PartitionRegistry(home, homeKeys(ownPrefix, group), group),
      new PartitionTags(group, ownPrefix, topology),
      ...([topology, log] as const),
    );
  }

  get lastError(): string | undefined {
    return this.#lastError ?? this.parts.topology.lastError;
  }

  prepare(): void {
    if (this.#isPreparing || this.#isReady) return;
    this.#isPreparing = true;
    void this.#prepare();
  }

  async #prepare(): Promise<void> {
    try {
      await this.parts.topology.start();
      await this.#map.start();
      this.#isReady = true;
      this.#lastError = undefined;
    } catch (error) {
      this.#lastError = error instanceof Error ? error.message : String(error);
    }
    this.#isPreparing = false;
  }

  placeOf(redisKey: Buffer): ArmingPlace | undefined {
    if (!this.#isReady) return undefined;
    const node = this.parts.topology.nodeOf(redisKey);
    return node && this.#watching(node.address);
  }

  async whereabouts(redisKey: Buffer): Promise<ArmingPlace | undefined> {
    const { topology } = this.parts;
    try {
      await topology
        .nodeOf(redisKey)
        ?.commands.runNow((redis) => redis.exists(redisKey));
      return this.placeOf(redisKey);
    } catch (error) {
      if (!isRedirect(error)) throw error;
      const { node, asking = false } = topology.redirect(error) ?? {};
      const place = node && this.#watching(node.address);
      return place && { ...place, isAsking: asking };
    }
  }

  close(): void {
    this.#map.stop();
    for (const { client } of this.#places.values()) client.close();
  }

  #watching(address: string): ArmingPlace | undefined {
    const name = this.#map.watchingAt(address);
    if (!name) this.#map.refresh();
    return name && this.#placeAt(name);
  }

  #placeAt({ tag, number }: PartitionName): ArmingPlace {
    const present = this.#places.get(number);
    if (present) return present;
    const { ownPrefix, topology } = this.parts;
    const keys = groupKeys(ownPrefix, tag, number);
    const client = topology.openCommands(keys.index);
    const place = { client, keys, isAmongOthers: true };
    this.#places.set(number, place);
    return place;
  }
}
