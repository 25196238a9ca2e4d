import type { ResolvedOptions } from '../engine/options.js';
import { eventId } from '../group/stored-event.js';

/** As a group names an event. */
export const idOf = (
  redisKey: Buffer,
  {
    deadline,
    before,
  }: { readonly deadline: number; readonly before?: number | undefined },
): string => eventId({ redisKey, deadline, before, detected: deadline });

/** The user's database and prefix. Where the option `connection` is a function, nobody asks that here. */
export const placeOf = ({
  source: { target },
}: ResolvedOptions): { keyPrefix: string; database: number } =>
  target ?? { keyPrefix: '', database: 0 };
