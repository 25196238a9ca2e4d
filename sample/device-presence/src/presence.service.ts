import { Injectable, Logger } from '@nestjs/common';
import { Redis } from 'ioredis';
import { type KeyExpiredEvent, OnKeyExpired } from 'nestjs-redis-expiry';
import { Board } from './board.service.js';

/** A device that sends no heartbeat for this long is offline. */
export const TTL = 3_000;

/** Knows which devices are online: a device is as long as its key lives. */
@Injectable()
export class PresenceService {
  private readonly logger = new Logger(PresenceService.name);

  constructor(
    private readonly redis: Redis,
    private readonly board: Board,
  ) {}

  /** A device is there: its key lives for another while. */
  async heartbeat(id: string): Promise<void> {
    await this.redis.set(`device:${id}`, 'here', 'PX', TTL);
    const deadline = Date.now() + TTL;
    const before = await this.board.find(id);
    if (before?.status === 'offline') this.logger.log(`${id} is back online`);
    const now = { id, status: 'online', deadline } as const;
    await this.board.update({ outages: 0, ...before, ...now });
  }

  /** A device fell silent: its key expired. */
  @OnKeyExpired('device:*')
  async wentOffline(event: KeyExpiredEvent): Promise<void> {
    const { captures, id: expiry, deadline, lateness, attempt } = event;
    const [id = ''] = captures;
    const again = attempt > 1 ? `, attempt ${attempt}` : '';
    this.logger.log(`${id} went offline (lateness ${lateness} ms${again})`);
    const before = await this.board.find(id);
    // At least once means now and then twice. The same id is the same outage: not counted again.
    const isNew = before?.expiry !== expiry;
    await this.board.update({
      id,
      status: 'offline',
      offlineSince: deadline?.getTime(),
      lateness,
      outages: (before?.outages ?? 0) + (isNew ? 1 : 0),
      expiry,
      attempt,
      handledBy: process.env.INSTANCE,
    });
  }
}
