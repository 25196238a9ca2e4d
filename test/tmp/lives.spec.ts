import { Injectable } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { Redis } from 'ioredis';
import { expect, it } from 'vitest';
import { OnKeyExpired, RedisExpiryModule, RedisExpirySubscriber, type KeyExpiredEvent } from '../../lib/index.js';
import { RedisServer } from '../support/redis/redis-server.mjs';
const path = process.env.SRV ?? '/tmp/redis/redis8/bin/redis-server';
it('lives', async () => {
  const server = await RedisServer.start({ path, args: ['--hz', '500'] });
  const redis = new Redis(server.url);
  const mon = await redis.monitor();
  const lines: string[] = [];
  mon.on('monitor', (time: string, args: string[]) => { if (args[0] === 'eval') args = ['eval', (args[1]!.match(/-- ([A-Z-]+):/) ?? [])[1] ?? '', ...args.slice(2)]; lines.push(time.slice(7) + ' ' + args.join(' ')); });
  const ls = await redis.duplicate(); await ls.psubscribe('__keyspace@0__:k'); ls.on('pmessage', (_p, c, m) => lines.push('EVENT ' + Date.now() + ' ' + c + ' ' + m));
  let wake: (() => void) | undefined;
  @Injectable()
  class D { @OnKeyExpired('k') on(e: KeyExpiredEvent) { lines.push('HANDLED ' + e.id + ' ' + e.source + ' late ' + e.lateness); wake?.(); } }
  const mod = await Test.createTestingModule({ imports: [RedisExpiryModule.forRoot({ connection: server.url, group: 'presence' })], providers: [D] }).compile();
  const app = mod.createNestApplication(); await app.init();
  for (let life = 0; life < 300; life++) {
    lines.length = 0;
    const p = new Promise<void>((r) => (wake = r));
    await redis.set('k', '1', 'PX', 10);
    const ok = await Promise.race([p.then(() => true), new Promise(r => setTimeout(() => r(false), 1500))]);
    if (!ok) { console.log('LOST life', life, '\n' + lines.filter(l => !/LEASE|ping|xadd.*dead|PROMOTE|config/i.test(l)).join('\n'), app.get(RedisExpirySubscriber).status().counters); break; }
  }
  await app.close(); redis.disconnect(); mon.disconnect(); ls.disconnect(); await server.stop();
}, 60000);
