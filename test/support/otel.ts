import { context, metrics, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  type DataPoint,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { onTestFinished } from 'vitest';

/** OpenTelemetry's SDK for one test: what it exports stays in memory. */
export class OtelBed {
  readonly #spans = new InMemorySpanExporter();
  readonly #metrics = new InMemoryMetricExporter(
    AggregationTemporality.CUMULATIVE,
  );
  readonly #meters = new MeterProvider({
    readers: [
      new PeriodicExportingMetricReader({
        exporter: this.#metrics,
        exportIntervalMillis: 3_600_000,
      }),
    ],
  });
  readonly #tracers = new BasicTracerProvider({
    spanProcessors: [new SimpleSpanProcessor(this.#spans)],
  });

  /** Until the test is over, whoever uses the API uses this. */
  static use(): OtelBed {
    const bed = new OtelBed();
    context.setGlobalContextManager(
      new AsyncLocalStorageContextManager().enable(),
    );
    trace.setGlobalTracerProvider(bed.#tracers);
    metrics.setGlobalMeterProvider(bed.#meters);
    onTestFinished(async () => {
      for (const api of [context, trace, metrics]) api.disable();
      await bed.#meters.shutdown();
      await bed.#tracers.shutdown();
    });
    return bed;
  }

  /** All spans that have ended, in that order. */
  get spans(): ReadableSpan[] {
    return this.#spans.getFinishedSpans();
  }

  /** The data points of a metric, as of now. */
  async points<T = number>(name: string): Promise<DataPoint<T>[]> {
    this.#metrics.reset();
    await this.#meters.forceFlush();
    const all = this.#metrics
      .getMetrics()
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .flatMap((scope) => scope.metrics);
    const metric = all.find(({ descriptor }) => descriptor.name === name);
    return (metric?.dataPoints ?? []) as DataPoint<T>[];
  }

  /** The values of a metric by one attribute, or by nothing. */
  async values(name: string, by = ''): Promise<Record<string, number>> {
    const points = await this.points(name);
    return Object.fromEntries(
      points.map(({ attributes, value }) => [
        String(attributes[by] ?? ''),
        value,
      ]),
    );
  }
}
