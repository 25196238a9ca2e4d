import { Inject, Injectable } from '@nestjs/common';
import { RedisExpiryEngine } from './engine/engine.js';
import type { ExpiryEngine } from './engine/expiry-engine.js';
import {
  type ArmEntry,
  type ArmOptions,
  type KeyGroup,
  type RenewOptions,
  readArming,
  readEntries,
  readKey,
  readKeyGroup,
  readKeys,
  readRenewal,
} from './engine/key-checks.js';

/** What became of a key that was armed. */
export interface ArmedKey {
  /** When it runs out, by Redis's clock. */
  readonly deadline: Date;
  /** Whether the key did not live before: it was not there, or had run out. */
  readonly created: boolean;
}

/**
 * Writes keys whose expiries cannot be lost: their group knows each of them from the step on in which it is written,
 * whether some instance of the group runs or not.
 *
 * If `arm` resolved and no `cancel` followed, the expiry is handed over at least once, whatever was down in between, as
 * long as the primary's data suffers no rollback, eviction or FLUSH. The group must have a handler whose pattern
 * matches the key.
 *
 * It works in every process, also with `enabled: false`, and until the module's connections close. A call waits for
 * Redis for `connectTimeout`. A call that rejected may or may not have taken effect.
 *
 * Every method rejects with a `RedisExpiryError`: `INVALID_OPTION_…`, `NO_GROUP` where no group is named and none is
 * configured, `CONNECT_FAILED`, `CONNECTION_LOST`, `KEYS_REFUSED`, `CLOSED`.
 */
@Injectable()
export class RedisExpiryKeys {
  /** Nest calls it. @internal */
  constructor(
    @Inject(RedisExpiryEngine) private readonly engine: ExpiryEngine,
  ) {}

  /**
   * Writes a key with a time to live, as `SET … PX` does. A key that lives is given the new value and the new time to
   * live. Where it had run out and nobody knew yet, that expiry is an event all the same.
   */
  async arm(key: string | Buffer, options: ArmOptions): Promise<ArmedKey> {
    const { group, ...arming } = readArming(key, options);
    const keys = await this.engine.keys(group);
    const [{ deadline, created }] = (await keys.arm([arming])) as [
      { deadline: number; created: boolean },
    ];
    return { deadline: new Date(deadline), created };
  }

  /** Arms many keys at once, in this order. Resolves with what became of each; rejects where one of them could not be armed, and others may have been. */
  async armMany(entries: readonly ArmEntry[]): Promise<ArmedKey[]> {
    const armings = readEntries(entries);
    const groups = new Set(armings.map(({ group }) => group));
    const armed: ArmedKey[] = Array.from({ length: armings.length });
    // None of them is written where one names no group.
    const named = [...groups].map(
      async (group) => [group, await this.engine.keys(group)] as const,
    );
    for (const [group, keys] of await Promise.all(named)) {
      const places = armings.flatMap((one, i) =>
        one.group === group ? [i] : [],
      );
      const answers = await keys.arm(places.map((i) => armings[i]!));
      answers.forEach(({ deadline, created }, n) => {
        armed[places[n]!] = { deadline: new Date(deadline), created };
      });
    }
    return armed;
  }

  /** Gives a key that lives another time to live. Resolves with false where it had run out, or was not there: nothing is written then. */
  async renew(key: string | Buffer, options: RenewOptions): Promise<boolean> {
    const { group, ttl, value, key: bytes } = readRenewal(key, options);
    return (await this.engine.keys(group)).renew(bytes, ttl, value);
  }

  /**
   * Deletes a key that lives, and what the group knows of it: it does not expire. Resolves with false where it came too
   * late: the key had run out, and that expiry is handed over; or there was no such key.
   */
  async cancel(key: string | Buffer, options: KeyGroup = {}): Promise<boolean> {
    const bytes = readKey(key);
    return (await this.engine.keys(readKeyGroup(options))).cancel(bytes);
  }

  /**
   * Lets the group know keys that others wrote, as `SET … EX` does. Resolves with how many of them live and have a
   * deadline: those are as safe from now on as if they had been armed.
   */
  async enrol(
    keys: readonly (string | Buffer)[],
    options: KeyGroup = {},
  ): Promise<number> {
    const bytes = readKeys(keys);
    return (await this.engine.keys(readKeyGroup(options))).enrol(bytes);
  }
}
