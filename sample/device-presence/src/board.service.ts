import {
  Injectable,
  type MessageEvent,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import { Redis } from 'ioredis';
import { Subject } from 'rxjs';
import type { Device } from './device.js';

/** A hash: what is known of each device. */
const DEVICES = 'presence:devices';
/** A channel: each event for the page. */
const PAGE = 'presence:page';

/** What all instances share: it is in Redis, for the one that serves the page and the ones to come. */
@Injectable()
export class Board implements OnModuleInit, OnApplicationShutdown {
  private readonly listener: Redis;
  private readonly received = new Subject<MessageEvent>();

  /** Each event for the page, whichever process it is from. */
  readonly events = this.received.asObservable();

  constructor(private readonly redis: Redis) {
    // A connection that is subscribed can do nothing else.
    this.listener = redis.duplicate().on('error', () => undefined);
  }

  async onModuleInit(): Promise<void> {
    this.listener.on('message', (_channel, event) =>
      this.received.next(JSON.parse(event) as MessageEvent),
    );
    await this.listener.subscribe(PAGE);
  }

  async devices(): Promise<Device[]> {
    const all = await this.redis.hvals(DEVICES);
    return all.map((device) => JSON.parse(device) as Device);
  }

  async find(id: string): Promise<Device | undefined> {
    const device = await this.redis.hget(DEVICES, id);
    return device === null ? undefined : (JSON.parse(device) as Device);
  }

  async update(device: Device): Promise<void> {
    const event: MessageEvent = { type: 'device', data: device };
    // Both or neither, though this process be killed in between.
    await this.redis
      .multi()
      .hset(DEVICES, device.id, JSON.stringify(device))
      .publish(PAGE, JSON.stringify(event))
      .exec();
  }

  onApplicationShutdown(): void {
    this.listener.disconnect();
    this.redis.disconnect();
  }
}
