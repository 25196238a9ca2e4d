import type { Redis } from 'ioredis';
import { disconnect } from '../connection/connection.js';
import { Watchdog } from '../connection/watchdog.js';
import { reasonOf } from '../errors/redis-expiry.error.js';

/** The channel on which Redis tells of keys that changed. */
export const INVALIDATIONS = '__redis__:invalidate';

/**
 * Has a server tell a listening connection of every change of keys with some prefixes: client
 * tracking, which needs no `notify-keyspace-events`. One life: it is opened once, and over when its
 * connection is, which the server forgets with it.
 */
export class KeyTracker {
  #watchdog: Watchdog | undefined;

  private constructor(private readonly client: Redis) {}

  /**
   * Rejects with the server's refusal, or because the connection failed.
   *
   * @param client not connected yet
   * @param listener the server's number of the connection that is to be told
   * @param onLost called when nothing is told any more, with the reason
   */
  static async open(
    client: Redis,
    listener: number,
    prefixes: readonly Buffer[],
    onLost: (reason: string) => void,
  ): Promise<KeyTracker> {
    const tracker = new KeyTracker(client);
    let lastError: string | undefined;
    client.on('error', (error: Error) => (lastError = reasonOf(error)));
    try {
      await client.connect();
      await client.call(
        'CLIENT',
        ...['TRACKING', 'ON', 'REDIRECT', listener, 'BCAST'],
        ...prefixes.flatMap((prefix) => ['PREFIX', prefix]),
      );
    } catch (error) {
      tracker.close();
      throw error;
    }
    client.on('close', () =>
      onLost(`tracking ended: ${lastError ?? 'the connection closed'}`),
    );
    tracker.#watchdog = new Watchdog({
      ping: () => client.ping(),
      onSilence: (error) => onLost(`tracking ended: ${error.message}`),
    });
    return tracker;
  }

  close(): void {
    this.#watchdog?.stop();
    disconnect(this.client);
  }
}
