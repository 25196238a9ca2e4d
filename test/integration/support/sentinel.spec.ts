import { Redis } from 'ioredis';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import { useSentinel } from '../../support/sentinel.js';

describe.each(inject('redisServers'))('Sentinels on $name', ({ path }) => {
  const login = { password: 's3cret' };
  const sentinel = useSentinel({ path, login });

  const client = () => {
    const { sentinels, name } = sentinel;
    const options = { sentinels, name, ...login, connectionName: 'test' };
    const redis = new Redis(options);
    redis.on('error', () => undefined);
    onTestFinished(() => redis.disconnect());
    return redis;
  };

  it('replace a primary that is killed, which comes back as a replica', async () => {
    const old = await sentinel.primary();
    expect(old).toBe(sentinel.servers[0]);
    await client().set('key', 'v');
    await sentinel.wait();

    const killedAt = await sentinel.kill(old);
    const { server, at } = await sentinel.untilPromoted();

    expect(at).toBeGreaterThan(killedAt);
    expect(await sentinel.primary()).toBe(server);
    expect(await client().get('key')).toBe('v');
    await sentinel.restart(old);
    expect(await sentinel.replicas()).toContain(old);
  });

  it('replace it by command', async () => {
    const old = await sentinel.primary();
    expect(await client().get('key')).toBeNull();

    const { server } = await sentinel.failover();

    expect(server).not.toBe(old);
    expect(await sentinel.primary()).toBe(server);
    expect(await sentinel.replicas()).toContain(old);
  });

  it('replace one that hangs', async () => {
    const old = await sentinel.primary();
    old.process.pause();

    const { server } = await sentinel.untilPromoted();

    expect(server).not.toBe(old);
    old.process.resume();
    await sentinel.settled();
    expect(await sentinel.replicas()).toContain(old);
  });
});
