import { createHash } from 'node:crypto';
import {
  type Attributes,
  type Counter,
  type Histogram,
  type Meter,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  context,
  trace,
} from '@opentelemetry/api';
import { LATENESS_BOUNDARIES } from '../dispatch/lateness-histogram.js';
import type { KeyExpiredEvent } from '../dispatch/key-expired-event.js';
import type { TriedHandler } from '../dispatch/observed-try.js';

/** Seconds, as the conventions have them for `messaging.process.duration`. */
const DURATION_BOUNDARIES = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

/**
 * A span around each try of a handler, and the metrics of tries, by the semantic conventions for messaging. `openTelemetry()`
 * makes one.
 *
 * Guarantees: the span is a root, as an expiry has no parent, and is active while the handler runs, so that spans that it
 * makes are its children. Neither a span nor a metric has the key, unless `keys` is set, and then spans alone.
 */
export class TrySpans {
  readonly #duration: Histogram;
  readonly #lateness: Histogram;
  readonly #consumed: Counter;

  constructor(
    private readonly tracer: Tracer,
    meter: Meter,
    private readonly keys: boolean,
  ) {
    this.#duration = meter.createHistogram('messaging.process.duration', {
      description: 'Duration of one try of a handler.',
      unit: 's',
      advice: { explicitBucketBoundaries: DURATION_BOUNDARIES },
    });
    this.#consumed = meter.createCounter('messaging.client.consumed.messages', {
      description: 'Expiries that were handed to a handler; each try counts.',
      unit: '{message}',
    });
    this.#lateness = meter.createHistogram('redis_expiry.lateness', {
      description:
        'From the deadline of a key, or the time of its warning, to the detection.',
      unit: 's',
      advice: { explicitBucketBoundaries: [...LATENESS_BOUNDARIES] },
    });
  }

  /** For `ExpiryTelemetry`. */
  async process<T>(
    event: KeyExpiredEvent,
    handler: TriedHandler,
    run: () => Promise<T>,
  ): Promise<T> {
    const attributes = attributesOf(event, handler);
    const span = this.tracer.startSpan(`process ${handler.pattern}`, {
      kind: SpanKind.CONSUMER,
      root: true,
      attributes: { ...attributes, ...this.#detailsOf(event, handler) },
    });
    const began = performance.now();
    this.#consumed.add(1, attributes);
    // A later try is no other expiry.
    if (event.lateness !== undefined && event.attempt === 1)
      this.#lateness.record(event.lateness / 1_000, attributes);
    let failure: Attributes = {};
    try {
      return await context.with(trace.setSpan(context.active(), span), run);
    } catch (error) {
      failure = { 'error.type': typeOf(error) };
      fail(span, error, failure);
      throw error;
    } finally {
      const seconds = (performance.now() - began) / 1_000;
      this.#duration.record(seconds, { ...attributes, ...failure });
      span.end();
    }
  }

  /** What tells one event from another, and so is for spans alone. */
  #detailsOf(
    { key, id, source, attempt, lateness }: KeyExpiredEvent,
    { name }: TriedHandler,
  ): Attributes {
    return {
      'code.function.name': name,
      'redis_expiry.source': source,
      'redis_expiry.attempt': attempt,
      ...(lateness !== undefined && { 'redis_expiry.lateness_ms': lateness }),
      ...(id !== undefined && { 'messaging.message.id': digestOf(id) }),
      ...(this.keys && { 'redis_expiry.key': key }),
    };
  }
}

/** What many events have in common. */
const attributesOf = (
  { group }: KeyExpiredEvent,
  { pattern, before }: TriedHandler,
): Attributes => ({
  'messaging.system': 'redis',
  'messaging.operation.name': 'process',
  'messaging.operation.type': 'process',
  'messaging.destination.template': pattern,
  ...(before !== undefined && { 'redis_expiry.before_ms': before }),
  ...(group !== undefined && { 'messaging.consumer.group.name': group }),
});

function fail(span: Span, error: unknown, failure: Attributes): void {
  span.setAttributes(failure);
  span.recordException(error instanceof Error ? error : String(error));
  span.setStatus({
    code: SpanStatusCode.ERROR,
    message: error instanceof Error ? error.message : String(error),
  });
}

/** A code tells more than a class, where there is one. */
function typeOf(error: unknown): string {
  if (!(error instanceof Error)) return '_OTHER';
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : error.name;
}

/** The id of an event names its key. The same id gives the same digest: it tells that two spans are of one expiry. */
const digestOf = (id: string): string =>
  createHash('sha256').update(id).digest('hex').slice(0, 32);
