import 'reflect-metadata';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  type INestApplicationContext,
  Injectable,
  Module,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { vi } from 'vitest';
import {
  type KeyExpiredEvent,
  type ListenerState,
  type NodeStatus,
  OnKeyExpired,
  RedisExpiryModule,
  type RedisExpiryModuleOptions,
  type RedisExpiryStatus,
  RedisExpirySubscriber,
} from '../../../lib/index.js';
import { PATIENCE_MS } from '../patience.js';
import { type LogLine, forget, linesOf, logger } from './log-recorder.js';

/** A time that the module said it may not have listened in; epoch ms. */
export interface ReportedGap {
  readonly from: number;
  readonly to: number;
}

export interface ExpiryAppOptions extends RedisExpiryModuleOptions {
  pattern?: string;
  /** Runs in the handler, after the key was counted. */
  work?: (event: KeyExpiredEvent) => unknown;
}

/** A real Nest application with one handler, which counts how often it ran for each key. */
export class ExpiryApp {
  private constructor(
    readonly name: string,
    /** How often the handler was called for each key. */
    readonly calls: ReadonlyMap<string, number>,
    private readonly context: INestApplicationContext,
  ) {}

  /** Rejects with what the module rejects with. */
  static async start(options: ExpiryAppOptions): Promise<ExpiryApp> {
    const { pattern = '*', work, ...moduleOptions } = options;
    const name = options.name ?? `fault-${randomUUID()}`;
    const calls = new Map<string, number>();

    @Injectable()
    class Handlers {
      @OnKeyExpired(pattern)
      onExpired(event: KeyExpiredEvent): unknown {
        calls.set(event.key, (calls.get(event.key) ?? 0) + 1);
        return work?.(event);
      }
    }

    @Module({
      imports: [
        RedisExpiryModule.forRoot({ punctual: false, ...moduleOptions, name }),
      ],
      providers: [Handlers],
    })
    class AppModule {}

    const context = await NestFactory.createApplicationContext(AppModule, {
      logger,
      abortOnError: false,
    });
    return new ExpiryApp(name, calls, context);
  }

  get subscriber(): RedisExpirySubscriber {
    return this.context.get(RedisExpirySubscriber, { strict: false });
  }

  get status(): RedisExpiryStatus {
    return this.subscriber.status();
  }

  /** The one server's. */
  get node(): NodeStatus {
    return this.status.nodes[0]!;
  }

  get state(): ListenerState {
    return this.node.state;
  }

  get log(): LogLine[] {
    return linesOf(this.name);
  }

  /** Every gap that was reported: those closed are in the log, each with both of its ends. */
  get gaps(): ReportedGap[] {
    const closed = this.log.flatMap(({ level, text }) => {
      const times = text.match(/\d{4}-\d\d-\d\dT[\d:.]+Z/g);
      return level === 'warn' && times?.length === 2
        ? [{ from: Date.parse(times[0]), to: Date.parse(times[1]!) }]
        : [];
    });
    const last = this.node.lastGap;
    return last && !last.to
      ? [...closed, { from: last.from.getTime(), to: Infinity }]
      : closed;
  }

  async reaches(state: ListenerState, timeout = PATIENCE_MS): Promise<void> {
    await vi.waitFor(() => assert.equal(this.state, state, this.#summary()), {
      timeout,
      interval: 10,
    });
  }

  /** Resolves once a gap beyond those counted before was closed. */
  async recovers(gapsBefore: number, timeout = PATIENCE_MS): Promise<void> {
    await vi.waitFor(
      () => {
        const { gaps, state, lastGap } = this.node;
        const recovered =
          gaps > gapsBefore && state === 'listening' && lastGap?.to;
        assert.ok(recovered, `has not recovered: ${this.#summary()}`);
      },
      { timeout, interval: 10 },
    );
  }

  #summary(): string {
    return JSON.stringify(this.node);
  }

  async close(): Promise<void> {
    await this.context.close();
  }

  forgetLog(): void {
    forget(this.name);
  }
}
