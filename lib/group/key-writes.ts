import type { Redis } from 'ioredis';
import type { Script } from '../connection/script.js';
import { ARM } from '../scripts/arm.lua.js';
import { CANCEL } from '../scripts/cancel.lua.js';
import { ENROL } from '../scripts/enrol.lua.js';
import { RENEW } from '../scripts/renew.lua.js';
import type { ArmingPlace } from './arming-places.js';

/** What is to be done with one key. The key is told as Redis knows it, `keyPrefix` included. */
export interface KeyWrite {
  readonly redisKey: Buffer;
}

/** A key that is to be written. */
export interface Arming extends KeyWrite {
  /** Ms from 1 on. */
  readonly ttl: number;
  readonly value: string | Buffer;
}

/** A key that is to be given another time to live. */
export interface Renewal extends KeyWrite {
  /** Ms from 1 on. */
  readonly ttl: number;
  /** Undefined: it keeps its value. */
  readonly value: string | Buffer | undefined;
}

/** What became of one key. */
export type KeyAnswer =
  | { readonly said: string }
  | { readonly refusal: string }
  /** It is on another node of a Cluster, or on its way there. */
  | 'elsewhere';

/** A script that works on keys one by one. */
export interface KeyScript<T extends KeyWrite> {
  readonly script: Script;
  /** What it uses of a partition. */
  readonly names: (place: ArmingPlace) => readonly string[];
  readonly words: (write: T) => readonly (string | number | Buffer)[];
}

export const ARMING: KeyScript<Arming> = {
  script: ARM,
  names: ({ keys, isAmongOthers }) => [
    ...[keys.index, keys.events, keys.lease, keys.settled],
    ...(isAmongOthers ? [keys.told] : []),
  ],
  words: ({ redisKey, ttl, value }) => [redisKey, ttl, value],
};

export const RENEWAL: KeyScript<Renewal> = {
  script: RENEW,
  names: ({ keys }) => [keys.index],
  words: ({ redisKey, ttl, value }) => [
    ...[redisKey, ttl],
    ...(value === undefined ? ['', ''] : ['1', value]),
  ],
};

export const CANCELLATION: KeyScript<KeyWrite> = {
  script: CANCEL,
  names: ({ keys, isAmongOthers }) => [
    ...[keys.index, keys.lease, keys.settled],
    ...(isAmongOthers ? [keys.away] : []),
  ],
  words: ({ redisKey }) => [redisKey],
};

export const ENROLMENT: KeyScript<KeyWrite> = {
  script: ENROL,
  names: ({ keys }) => [keys.index],
  words: ({ redisKey }) => [redisKey],
};

/** Runs such a script where the keys are. Resolves with what it says of each of them, in their order. */
export async function runKeyScript<T extends KeyWrite>(
  redis: Redis,
  { script, names, words }: KeyScript<T>,
  place: ArmingPlace,
  writes: readonly T[],
): Promise<KeyAnswer[]> {
  const answer = (await (place.isAsking ? script.arriving : script).run(
    ...([redis, names(place)] as const),
    ...writes.flatMap(words),
  )) as string[];
  return writes.map((_, i): KeyAnswer => {
    const [kind, said] = [answer[2 * i], answer[2 * i + 1]!];
    if (kind === '0') return 'elsewhere';
    return kind === '1' ? { said } : { refusal: said };
  });
}
