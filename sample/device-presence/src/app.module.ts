import { Module } from '@nestjs/common';
import { RedisExpiryModule } from 'nestjs-redis-expiry';
import { Board } from './board.service.js';
import { DeviceSimulator } from './device-simulator.service.js';
import { MetricsController } from './metrics.controller.js';
import { PresenceController } from './presence.controller.js';
import { PresenceService } from './presence.service.js';
import { redisProvider } from './redis.provider.js';

@Module({
  imports: [
    RedisExpiryModule.forRoot({
      connection: process.env.REDIS_URL,
      group: 'presence',
      // What a killed instance was handling goes to another one after this.
      leaseDuration: 2_000,
      // A busy machine may be late: the battery is read so many ms before the end.
      values: { lead: 500 },
    }),
  ],
  controllers: [PresenceController, MetricsController],
  providers: [PresenceService, Board, DeviceSimulator, redisProvider],
})
export class AppModule {}
