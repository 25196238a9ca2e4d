/** Ms before an event is offered again to whoever takes it, at first. */
const FIRST_DELAY_MS = 50;
/** The same where no instance has a handler for it now, but one that left may be back soon. */
const FIRST_DELAY_AWAY_MS = 1_000;
/**
 * Rounds, in each of which every instance may have had it, before it waits for longer. In one round the
 * right instance may well have missed it: with two instances, half of the events need another one.
 */
const ROUNDS_PER_DELAY = 2;
/** Ms in which, in the long run, each instance is offered it once. */
const LONGEST_ROUND_MS = 5_000;
/** Ms before it is offered again, in the long run, however many instances there are. */
const LEAST_LONGEST_MS = 1_000;

/** When an event is passed on that this instance has no handler for. */
export interface Passing {
  /** Ms before it is offered again, on average. */
  readonly delay: number;
  /** It was passed on so often that it waits as long as it ever does. */
  readonly isLongest: boolean;
}

/**
 * How long an event waits that was passed on so often before: twice as long after some rounds in which
 * every instance may have had it, up to a limit. So an event for which one instance of many has a handler
 * gets there soon, and one that nobody takes costs little, however long that goes on.
 *
 * @param isAway no instance has a handler for it now, so any of them decides the same
 */
export function passing(
  passes: number,
  instances: number,
  isAway: boolean,
): Passing {
  const count = Math.max(1, isAway ? 1 : instances);
  const first = isAway ? FIRST_DELAY_AWAY_MS : FIRST_DELAY_MS;
  const perDelay = isAway ? 1 : ROUNDS_PER_DELAY * count;
  const longest = Math.max(LEAST_LONGEST_MS, LONGEST_ROUND_MS / count);
  const delay = Math.round(
    Math.min(first * 2 ** Math.floor(passes / perDelay), longest),
  );
  return { delay, isLongest: delay === Math.round(longest) };
}

/**
 * Half as long to one and a half times as long. Events that are offered all at once go to whoever waits
 * for events with the most room, again and again; one at a time they go to one instance after the other.
 */
export const scattered = (ms: number): number =>
  Math.round(ms * (0.5 + Math.random()));
