import { onTestFinished } from 'vitest';
import { MemoryWarnings } from '../../../lib/deadlines/memory-warnings.js';
import { RedisClock } from '../../../lib/deadlines/redis-clock.js';
import { ValueMemory } from '../../../lib/deadlines/value-memory.js';
import { TtlReader } from '../../../lib/deadlines/ttl-reader.js';
import { commandsOn } from '../../support/group/parts.js';
import { useServer } from '../../support/servers.js';
import { warningBookConformance } from '../../support/warning-book.conformance.js';

const server = useServer();

warningBookConformance('MemoryWarnings', async (before) => {
  const commands = commandsOn(server);
  onTestFinished(() => commands.close());
  const clock = new RedisClock();
  const reader = new TtlReader(commands, clock, false);
  await reader.readTime();
  const told: string[] = [];
  const book = new MemoryWarnings(before, {
    ...{ reader, clock },
    values: { read: () => Promise.resolve(new ValueMemory()) },
    patterns: {
      warnings: { befores: new Set([before]) },
      warns: (key) => key.toString().startsWith('k'),
    },
    warn: ({ redisKey, deadline, source }) =>
      void told.push(`${redisKey.toString()} ${deadline} ${source}`),
  });
  const { redis } = server;
  const warned = () => Promise.resolve(told.splice(0));
  return { book, redis, warned };
});
