import type { ResolvedOptions } from '../engine/options.js';
import { eventId } from '../group/stored-event.js';
import type { MemoryExpiry } from './memory-expiry.js';

/** As a group names an event. */
export const idOf = (
  redisKey: Buffer,
  { deadline, before }: Pick<MemoryExpiry, 'deadline' | 'before'>,
): string => eventId({ redisKey, deadline, before, detected: deadline });

/** The user's database and prefix. Where the option `connection` is a function, nobody asks that here. */
export const placeOf = ({
  source: { target },
}: ResolvedOptions): { keyPrefix: string; database: number } =>
  target ?? { keyPrefix: '', database: 0 };

/** A key with the user's prefix. */
export const redisKeyOf = (options: ResolvedOptions, key: Buffer): Buffer =>
  Buffer.concat([Buffer.from(placeOf(options).keyPrefix), key]);
