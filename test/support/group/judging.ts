import type { Redis } from 'ioredis';
import { expect } from 'vitest';
import type { CommandClient } from '../../../lib/connection/command-client.js';
import {
  RedisIndex,
  type SettleRequest,
  type SweepReply,
  type SweepRequest,
} from '../../../lib/group/redis-index.js';
import {
  type StoredEvent,
  fromFields,
} from '../../../lib/group/stored-event.js';
import { eventually } from '../eventually.js';
import type { TestServer } from '../servers.js';
import { KEYS } from './parts.js';

/** The index, with what a test wants to happen around a settling. */
export class ObservedIndex extends RedisIndex {
  before: () => Promise<void> = () => Promise.resolve();
  after: () => Promise<void> = () => Promise.resolve();

  override async send(request: SettleRequest): Promise<boolean[]> {
    await this.before();
    const applied = await super.send(request);
    await this.after();
    return applied;
  }

  override async sweep(
    commands: CommandClient,
    request: SweepRequest,
  ): Promise<SweepReply> {
    await this.before();
    const reply = await super.sweep(commands, request);
    await this.after();
    return reply;
  }
}

/** The events that were appended and not handled. */
export async function eventsOf({ redis }: TestServer): Promise<StoredEvent[]> {
  const entries = await redis.xrangeBuffer(KEYS.events, '-', '+');
  return entries.map(([, fields]) => fromFields(fields));
}

/** Writes a key that has run out, unnoticed, when it resolves. Returns when that was. */
export async function lapsed(redis: Redis, key: string): Promise<number> {
  const [seconds, micros] = (await redis.time()).map(Number);
  const deadline = seconds! * 1_000 + Math.floor(micros! / 1_000) + 20;
  await redis.set(key, '1', 'PXAT', deadline);
  await eventually(async () => {
    const [s, m] = (await redis.time()).map(Number);
    expect(s! * 1_000 + m! / 1_000).toBeGreaterThan(deadline + 1);
  });
  return deadline;
}
