import { Injectable } from '@nestjs/common';
import { OnKeyExpired } from 'nestjs-redis-expiry';
import type { KeyExpiredEvent } from 'nestjs-redis-expiry';

/** What is tested: it notes which devices are offline. */
@Injectable()
export class PresenceService {
  readonly offline = new Map<string, Date | undefined>();

  @OnKeyExpired('device:*')
  wentOffline({ captures: [id = ''], deadline }: KeyExpiredEvent): string {
    this.offline.set(id, deadline);
    return id;
  }
}
