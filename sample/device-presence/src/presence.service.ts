import { Injectable, Logger } from '@nestjs/common';
import { Redis } from 'ioredis';
import {
  type KeyExpiredEvent,
  type KeyExpiringEvent,
  OnKeyExpired,
  OnKeyExpiring,
} from 'nestjs-redis-expiry';
import { Board } from './board.service.js';
import type { Heartbeat } from './device.js';

/** A device that sends no heartbeat for this long is silent. */
export const TTL = 3_000;
/** One whose key has this much left is about to go. A heartbeat each second leaves about 2 s, so it is not warned of. */
const BEFORE = 1_000;
/** One that is silent for this much longer is offline; one that is back before was in a tunnel, say. */
export const GRACE = 2_500;

/** Knows which devices are online: a device is as long as its key lives. */
@Injectable()
export class PresenceService {
  private readonly logger = new Logger(PresenceService.name);

  constructor(
    private readonly redis: Redis,
    private readonly board: Board,
  ) {}

  /** A device is there: its key lives for another while. */
  async heartbeat(id: string, heartbeat: Heartbeat): Promise<void> {
    const value = JSON.stringify(heartbeat);
    await this.redis.set(`device:${id}`, value, 'PX', TTL);
    const deadline = Date.now() + TTL;
    const before = await this.board.find(id);
    if (before?.status === 'offline') this.logger.log(`${id} is back online`);
    const wasSilent = before?.status === 'online' && isOver(before.deadline);
    if (wasSilent) this.logger.log(`${id} is back in time`);
    const backInTime = (before?.backInTime ?? 0) + (wasSilent ? 1 : 0);
    const now = { id, status: 'online', deadline, backInTime } as const;
    const expiring = false;
    await this.board.update({ outages: 0, ...before, ...now, expiring });
  }

  /** No heartbeat came in time, and its key has a second left. */
  @OnKeyExpiring('device:*', { before: BEFORE })
  async isAboutToGo(event: KeyExpiringEvent): Promise<void> {
    const [id = ''] = event.captures;
    const deadline = event.deadline.getTime();
    this.logger.log(`${id} is about to go (${event.remaining} ms left)`);
    const before = await this.board.find(id);
    const now = { id, status: 'online', deadline, expiring: true } as const;
    await this.board.update({ outages: 0, ...before, ...now });
  }

  /** A device fell silent, its key expired, and it did not come back in time. */
  @OnKeyExpired('device:*', { grace: GRACE, value: 'json' })
  async wentOffline(event: KeyExpiredEvent<Heartbeat>): Promise<void> {
    const { captures, id: expiry, deadline, lateness, attempt } = event;
    // Unknown if nobody looked in time, as when it expired while nothing ran.
    const { value, valueAge } = event;
    const battery = value?.battery;
    const atEnd = `battery ${battery ?? '?'} %, read ${valueAge ?? '?'} ms before`;
    const [id = ''] = captures;
    const again = attempt > 1 ? `, attempt ${attempt}` : '';
    this.logger.log(
      `${id} went offline (lateness ${lateness} ms${again}), ${atEnd}`,
    );
    const before = await this.board.find(id);
    // At least once means now and then twice. The same id is the same outage: not counted again.
    const isNew = before?.expiry !== expiry;
    await this.board.update({
      id,
      status: 'offline',
      offlineSince: deadline?.getTime(),
      lateness,
      battery,
      valueAge,
      outages: (before?.outages ?? 0) + (isNew ? 1 : 0),
      backInTime: before?.backInTime,
      expiry,
      attempt,
      handledBy: process.env.INSTANCE,
    });
  }
}

const isOver = (deadline = 0): boolean => deadline < Date.now();
