import { metrics, trace } from '@opentelemetry/api';
import type { ExpiryTelemetry } from '../engine/telemetry.js';
import { checkOtelOptions, type OpenTelemetryOptions } from './options.js';
import { StatusMetrics } from './status-metrics.js';
import { TrySpans } from './try-spans.js';

export type { OpenTelemetryOptions } from './options.js';

/** The name by which OpenTelemetry knows this library: the instrumentation scope. */
const NAME = 'nestjs-redis-expiry';

/**
 * Spans and metrics by OpenTelemetry: `RedisExpiryModule.forRoot({ telemetry: openTelemetry() })`. It uses the API alone, so
 * that without an SDK that the application starts, nothing happens. Names and attributes are those of the semantic conventions
 * for messaging, version 1.44, as far as these have any.
 *
 * The SDK must be started before the application has started: instruments that are made before it belong to nobody.
 *
 * @throws RedisExpiryError `INVALID_OPTION_KEYS`, or with the name of an option that does not exist
 */
export function openTelemetry(
  options: OpenTelemetryOptions = {},
): ExpiryTelemetry {
  const { keys = false } = checkOtelOptions(options);
  let spans: TrySpans | undefined;
  return {
    process(event, handler, run) {
      // Not when the module is imported: the SDK may be started after that.
      spans ??= new TrySpans(
        ...([trace.getTracer(NAME), metrics.getMeter(NAME), keys] as const),
      );
      return spans.process(event, handler, run);
    },
    observe(read) {
      const status = new StatusMetrics(metrics.getMeter(NAME), read);
      return () => status.close();
    },
  };
}
