/** How an event ended for one handler. */
export type Outcome =
  'handled' | 'failed' | 'superseded' | 'cameBack' | 'dropped';
/** Called once, when an event has ended for a handler: with the error if it failed, and with what the handler returned if it was handled. */
export type OnEnd = (
  outcome: Outcome,
  error?: unknown,
  result?: unknown,
) => void;

/** What the consumer of a group hands along with an event. */
export interface Delivery {
  /** Has the last word before the handler runs. */
  readonly gate: RunGate;
  /** The event has killed a process before, for all that is known, so it is checked and begun apart from others. */
  readonly isAlone?: boolean;
  readonly ended: OnEnd;
}

/** Deliveries whose handlers must not run, and how they end. */
export type Refusals = ReadonlyMap<Delivery, 'dropped' | 'cameBack'>;

/** Decides which handlers run, at the moment at which they are about to. */
export interface RunGate {
  /** Resolves with the deliveries whose handlers must not run. Rejects only once it was closed. */
  admit(deliveries: readonly Delivery[]): Promise<Refusals>;
}

/** Asks each gate once for all that are to pass it. Resolves with the deliveries whose handlers must not run. */
export async function refusedOf(
  deliveries: readonly Delivery[],
): Promise<Refusals> {
  const byGate = new Map<RunGate, Delivery[]>();
  for (const delivery of deliveries) {
    const waiting = byGate.get(delivery.gate);
    if (waiting) waiting.push(delivery);
    else byGate.set(delivery.gate, [delivery]);
  }
  const refused = await Promise.all(
    [...byGate].map(([gate, waiting]) => gate.admit(waiting)),
  );
  return refused.length === 1
    ? refused[0]!
    : new Map(refused.flatMap((map) => [...map]));
}
