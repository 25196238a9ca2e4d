import { RunCounts } from './run-counts.js';
import { type StoredEvent, fromFields } from './stored-event.js';

/** An event as it was delivered to this instance. */
export interface Entry {
  readonly id: string;
  /** What Redis has noted of its handlers' runs, and what this instance adds to it. */
  runs: RunCounts;
  readonly event: StoredEvent;
}

/** What waits for the grace of its handler. */
export interface Wait {
  /** Names the handler. */
  readonly id: string;
  /** When its grace is over, in epoch ms by Redis's clock. */
  readonly due: number;
  readonly payload: string;
}

/** What is left to do of an entry that cannot simply be acknowledged. */
export interface Leftover {
  /** To be tried again after so many ms. */
  readonly retries: readonly { delay: number; payload: string }[];
  /** To be handed over when the grace of their handlers is over. */
  readonly waits: readonly Wait[];
  /** To be given up. */
  readonly dead: readonly { payload: string; error: string }[];
}

/** An entry as Redis tells it; without fields it was deleted. */
export type RawEntry = [id: Buffer, fields: Buffer[] | null];

/** @param noted what Redis has noted of its handlers' runs, if anything */
export function toEntry(
  id: Buffer,
  fields: Buffer[],
  noted?: string | null,
): Entry {
  const event = fromFields(fields);
  // What was noted includes what the event brought along.
  const runs = noted ? RunCounts.fromText(noted) : event.runs;
  return { id: id.toString(), runs, event };
}

/** Arguments of BEGIN. Mostly the note is the same for all entries: it is sent once then. */
export function notesOf(entries: readonly Entry[]): (string | number)[] {
  const idsByRuns = new Map<RunCounts, string[]>();
  for (const { id, runs } of entries) {
    const ids = idsByRuns.get(runs);
    if (ids) ids.push(id);
    else idsByRuns.set(runs, [id]);
  }
  return [...idsByRuns].flatMap(([{ text }, ids]) => [
    text,
    ids.length,
    ...ids,
  ]);
}
