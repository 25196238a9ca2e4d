import { Injectable, Module } from '@nestjs/common';
import {
  type KeyExpiredEvent,
  OnKeyExpired,
  RedisExpiryModule,
} from 'nestjs-redis-expiry';

@Injectable()
export class PresenceService {
  @OnKeyExpired('device:*')
  onOffline({ captures }: KeyExpiredEvent) {
    return { offline: captures[0] };
  }
}

@Module({
  imports: [RedisExpiryModule.forRoot({ group: 'presence' })],
  providers: [PresenceService],
})
export class AppModule {}
