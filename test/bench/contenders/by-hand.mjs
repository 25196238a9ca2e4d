/** What everyone writes first: Redis's own notifications, as they come. */
import { Redis } from 'ioredis';
import { numberOf, serve } from './child.mjs';

serve(async ({ port }, handled) => {
  const redis = new Redis(port, '127.0.0.1');
  await redis.config('SET', 'notify-keyspace-events', 'Ex');
  redis.on('pmessage', (_pattern, _channel, key) => {
    if (key.startsWith('due:')) handled(numberOf(key));
  });
  await redis.psubscribe('__keyevent@0__:expired');
  return {
    stop: async () => {
      await redis.quit();
    },
  };
});
