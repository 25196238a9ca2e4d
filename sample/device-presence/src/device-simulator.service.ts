import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type BeforeApplicationShutdown,
  Injectable,
  Logger,
} from '@nestjs/common';
import { PresenceService } from './presence.service.js';

const DEVICES = [
  'kitchen-thermostat',
  'garage-door',
  'porch-camera',
  'hallway-lamp',
  'cellar-pump',
  'attic-fan',
  'bedroom-blinds',
  'garden-sprinkler',
  'study-printer',
  'bathroom-scale',
  'nursery-monitor',
  'pantry-freezer',
  'laundry-dryer',
  'balcony-awning',
  'driveway-charger',
  'rooftop-solar',
  'patio-heater',
  'kitchen-kettle',
  'lounge-speaker',
  'greenhouse-vent',
  'pool-robot',
  'workshop-drill',
  'front-doorbell',
  'letterbox-sensor',
];

const HEARTBEAT_EVERY = 1_000;

/** Stands in for real devices: each sends heartbeats, falls silent for a while, and comes back; now and then within the grace. */
@Injectable()
export class DeviceSimulator implements BeforeApplicationShutdown {
  private readonly logger = new Logger(DeviceSimulator.name);
  private readonly stopped = new AbortController();

  constructor(private readonly presence: PresenceService) {}

  start(): void {
    setMaxListeners(DEVICES.length, this.stopped.signal);
    DEVICES.forEach((id, i) => {
      // The first few fall silent at once, so that there is something to see.
      const talksFor = i < 3 ? 0 : between(1_000, 18_000);
      this.live(id, talksFor).catch(() => undefined);
    });
  }

  beforeApplicationShutdown(): void {
    this.stopped.abort();
  }

  /** Ends with a rejection when the simulation is stopped. */
  private async live(id: string, talksFor: number): Promise<never> {
    let battery = Math.ceil(between(10, 100));
    await this.wait(between(0, HEARTBEAT_EVERY));
    for (;;) {
      const until = Date.now() + talksFor;
      do {
        await this.heartbeat(id, battery);
        // When it is empty, somebody charges it.
        battery = battery > 1 ? battery - 1 : 100;
        await this.wait(HEARTBEAT_EVERY);
      } while (Date.now() < until);
      // From the last heartbeat on: its key lives for 3 s of that.
      const isTunnel = Math.random() < 0.4;
      await this.wait(
        isTunnel ? between(2_800, 3_600) : between(8_000, 16_000),
      );
      talksFor = between(10_000, 40_000);
    }
  }

  private async heartbeat(id: string, battery: number): Promise<void> {
    try {
      await this.presence.heartbeat(id, { battery });
    } catch (error) {
      this.logger.warn(`No heartbeat of ${id}: ${(error as Error).message}`);
    }
  }

  private wait(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: this.stopped.signal });
  }
}

const between = (least: number, most: number): number =>
  least + Math.random() * (most - least);
