import type { Commands } from '../connection/commands.js';
import { SET_ASIDE } from '../scripts/set-aside.lua.js';
import type { GroupKeys } from './group-keys.js';
import type { Partition } from './partition.js';
import type { StoredEvent } from './stored-event.js';
import type { Entry, Wait } from './stream-entry.js';

/** Events that one command asks about. */
const PAGE = 1_000;

/** Whose entries are set aside. */
export interface EntryOwner {
  readonly group: string;
  readonly consumer: string;
}

/** An event, and until when its key may have come back, in epoch ms by Redis's clock. */
export interface Absence {
  readonly event: StoredEvent;
  readonly end: number;
}

/** Where another partition keeps its record. */
export type RecordPlace = Pick<Partition, 'commands' | 'keys'>;

/**
 * What a partition keeps because some handlers have a `grace`: which events wait for it, and which expiries were
 * followed by a return of their key. SWEEP and RETURNED note the returns.
 */
export class GraceRecord {
  constructor(
    private readonly commands: Commands,
    private readonly keys: Pick<
      GroupKeys,
      'events' | 'grace' | 'runs' | 'back' | 'settled'
    >,
    private readonly owner: EntryOwner,
    /** On a Cluster: the record of the partition that watches a key now; undefined where that is not known. */
    private readonly placeOf?: (redisKey: Buffer) => RecordPlace | undefined,
  ) {}

  /**
   * Has an entry's event wait for some handlers, while others run for it. `Entry.runs` says by then that it does. Resolves
   * with whether the entry was still this instance's; if not, nothing was done.
   */
  async setAside(
    { id, runs }: Entry,
    waits: readonly Wait[],
  ): Promise<boolean> {
    const { events, grace, runs: notes } = this.keys;
    const { group, consumer } = this.owner;
    const reply = await this.commands.run((redis) =>
      SET_ASIDE.run(
        redis,
        [events, grace, notes],
        ...[group, consumer, id, runs.text],
        ...waits.flatMap(({ due, payload }) => [due, payload]),
      ),
    );
    return reply === 1;
  }

  /** Of each absence, whether its key is known to have come back before the end, whatever became of it since. */
  async ended(absences: readonly Absence[]): Promise<boolean[]> {
    const [here, armed, elsewhere] = await Promise.all([
      this.#returned(absences),
      this.#armed(absences),
      this.#endedElsewhere(absences),
    ]);
    return absences.map(
      (absence, i) =>
        here[i]! <= absence.end || armed[i]! || elsewhere.has(absence),
    );
  }

  /**
   * Whether each expiry was told by ARM, which wrote the key again in the same step; or a later one of the same key was, which
   * then had been back before.
   */
  async #armed(absences: readonly Absence[]): Promise<boolean[]> {
    const names = absences.map(({ event }) =>
      Buffer.concat([Buffer.from('e'), event.redisKey]),
    );
    const told = await scoresOf(this.commands, this.keys.settled, names);
    return absences.map(({ event, end }, i) =>
      told[i] === event.deadline
        ? event.detected <= end
        : told[i]! > (event.deadline ?? Infinity) + 1 && told[i]! <= end,
    );
  }

  /** When each key was back at the latest, as it is noted here; NaN where nothing is. */
  async #returned(absences: readonly Absence[]): Promise<number[]> {
    const { back } = this.keys;
    const names = absences.map(({ event }) => nameOf(event));
    return scoresOf(this.commands, back, names);
  }

  /** Those whose keys ran out again where another partition watches them by now. One that cannot be asked tells nothing. */
  async #endedElsewhere(
    absences: readonly Absence[],
  ): Promise<ReadonlySet<Absence>> {
    const parts = new Map<RecordPlace, Absence[]>();
    for (const absence of absences) {
      const place = this.placeOf?.(absence.event.redisKey);
      if (!place || place.keys.back === this.keys.back) continue;
      const part = parts.get(place);
      if (part) part.push(absence);
      else parts.set(place, [absence]);
    }
    const found = [...parts].map(async ([{ commands, keys }, part]) => {
      const names = part.map(({ event }) => event.redisKey);
      const ends = await scoresOf(commands, keys.ended, names).catch(() => []);
      return part.filter(
        ({ event, end }, i) => ends[i]! > event.detected && ends[i]! <= end,
      );
    });
    return new Set((await Promise.all(found)).flat());
  }
}

async function scoresOf(
  commands: Commands,
  zset: string,
  names: readonly Buffer[],
): Promise<number[]> {
  const pages: (readonly Buffer[])[] = [];
  for (let i = 0; i < names.length; i += PAGE)
    pages.push(names.slice(i, i + PAGE));
  const replies = await commands.run((redis) =>
    Promise.all(pages.map((page) => redis.call('ZMSCORE', zset, ...page))),
  );
  const scores = (replies as (string | null)[][]).flat();
  return scores.map((score) => (score === null ? Number.NaN : Number(score)));
}

/** As SWEEP and RETURNED name an expiry: by when it was detected. */
const nameOf = ({ detected, redisKey }: StoredEvent): Buffer =>
  Buffer.concat([Buffer.from(`${detected}:`), redisKey]);
