import type {
  BatchObservableCallback,
  BatchObservableResult,
  Meter,
  Observable,
} from '@opentelemetry/api';
import type { RedisExpiryStatus } from '../engine/status.js';
import type { ListenerState } from '../listening/node-status.js';

/** Each is told of, so that a state that no node is in any more goes back to 0. */
const STATES: readonly ListenerState[] = [
  ...(['connecting', 'subscribing', 'listening'] as const),
  ...(['refused', 'deaf', 'closed'] as const),
];

/**
 * What `status()` tells, as metrics that are read when the SDK collects. `openTelemetry()` makes one when the application has
 * started, and closes it at shutdown.
 *
 * States: observing (at first) → closed (after `close`): the SDK asks it no more.
 */
export class StatusMetrics {
  readonly #observables: readonly Observable[];
  readonly #callback: BatchObservableCallback;

  constructor(
    private readonly meter: Meter,
    read: () => RedisExpiryStatus,
  ) {
    const counter = (name: string, unit: string, description: string) =>
      meter.createObservableCounter(`redis_expiry.${name}`, {
        ...{ unit, description },
      });
    const gauge = (name: string, unit: string, description: string) =>
      meter.createObservableGauge(`redis_expiry.${name}`, {
        ...{ unit, description },
      });
    const instruments = {
      events: counter('events', '{event}', 'Events by how they ended.'),
      gaps: counter('gaps', '{gap}', 'Times without listening to a node.'),
      gapDuration: counter('gap.duration', 's', 'Time without listening.'),
      backlog: gauge('backlog', '{event}', 'What a group has to do.'),
      tracked: gauge('keys.tracked', '{key}', 'Keys whose deadline is known.'),
      nodes: gauge('nodes', '{node}', 'Nodes by how they are listened to.'),
      leading: gauge('leading', '{partition}', 'Partitions that are led here.'),
    };
    this.#observables = Object.values(instruments);
    this.#callback = (result) => tell(result, instruments, read());
    meter.addBatchObservableCallback(this.#callback, [...this.#observables]);
  }

  close(): void {
    this.meter.removeBatchObservableCallback(this.#callback, [
      ...this.#observables,
    ]);
  }
}

type Instruments = Readonly<
  Record<
    | 'events'
    | 'gaps'
    | 'gapDuration'
    | 'backlog'
    | 'tracked'
    | 'nodes'
    | 'leading',
    Observable
  >
>;

function tell(
  result: BatchObservableResult,
  instruments: Instruments,
  { counters, gaps, groups, nodes }: RedisExpiryStatus,
): void {
  const { handled, failed, superseded, dropped } = counters;
  const { recovered, retried, deadLettered } = counters;
  const outcomes = {
    ...{ handled, failed, superseded, dropped },
    ...{ recovered, retried, dead_lettered: deadLettered },
    came_back: counters.cameBack,
  };
  for (const [outcome, count] of Object.entries(outcomes))
    result.observe(instruments.events, count, { outcome });
  result.observe(instruments.gaps, gaps.count);
  result.observe(instruments.gapDuration, gaps.seconds);
  const listened = [...nodes, ...groups.flatMap((group) => group.nodes)];
  for (const state of STATES) {
    const count = listened.filter((node) => node.state === state).length;
    result.observe(instruments.nodes, count, { state });
  }
  for (const { address, tracked } of nodes)
    if (tracked !== undefined)
      result.observe(instruments.tracked, tracked, {
        'server.address': address,
      });
  for (const group of groups) tellGroup(result, instruments, group);
}

function tellGroup(
  result: BatchObservableResult,
  { backlog, tracked, leading }: Instruments,
  group: RedisExpiryStatus['groups'][number],
): void {
  const of = { 'messaging.consumer.group.name': group.group };
  const { waiting, pending, retrying, inGrace, dead } = group;
  const states = { waiting, pending, retrying, in_grace: inGrace, dead };
  for (const [state, count] of Object.entries(states))
    if (count !== undefined) result.observe(backlog, count, { ...of, state });
  if (group.tracked !== undefined) result.observe(tracked, group.tracked, of);
  const led = group.partitions.filter(({ leads }) => leads).length;
  result.observe(leading, led, of);
}
