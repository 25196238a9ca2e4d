import { describe, expect, it } from 'vitest';
import { aclRules } from '../../../lib/cli/acl-rules.js';
import { Output } from '../../../lib/cli/output.js';
import type { PartitionView } from '../../../lib/group/group-view.js';
import { main } from '../../../lib/cli/main.js';
import { run } from '../../support/cli/command.js';
import { ownServer, statusOf } from '../../support/cli/group.js';
import { deferred, eventually } from '../../support/eventually.js';
import { groupApp, handler } from '../../support/group/app.js';
import { names } from '../../support/group/history.js';
import { useSentinel } from '../../support/sentinel.js';
import { useServer } from '../../support/servers.js';

const idle = [handler('k*', () => undefined)];

describe('status', () => {
  const server = useServer();

  it('tells the leader, the instances, and that there is nothing to do', async () => {
    await groupApp(server, idle);
    await groupApp(server, idle);
    await server.redis.set('k1', '', 'PX', 60_000);
    const { code, data } = await eventually(async () => {
      const ran = await statusOf(server.url, '--strict');
      expect(ran.data.total.tracked).toBe(1);
      return ran;
    });
    expect(code).toBe(0);
    expect(data).toMatchObject({
      ...{ group: 'presence', address: server.address, database: 0 },
      total: { waiting: 0, pending: 0, retrying: 0, dead: 0, leaders: 1 },
      partitions: [{ tag: 'presence', node: server.address, lag: 0 }],
      warnings: [],
    });
    const living = data.instances.map(({ name, state }) => [name, state]);
    expect(living).toHaveLength(2);
    expect(living).toContainEqual([data.partitions[0]!.leader, 'living']);
  });

  it('tells what waits, what is worked on, and for how long', async () => {
    const gate = deferred();
    const app = await groupApp(server, [handler('k*', () => gate.promise)], {
      concurrency: 1,
    });
    await app.subscriber.ready();
    await server.expire(...names('k', 3));
    const { partitions } = await eventually(async () => {
      const { data } = await statusOf(server.url);
      expect(data.total).toMatchObject({ pending: 1, waiting: 2 });
      return data;
    });
    const [{ leader, ...partition }] = partitions as [PartitionView];
    expect(partition.pendingOf).toEqual({ [leader!]: 1 });
    expect(partition.oldestPending).toBeGreaterThanOrEqual(0);
    expect(partition.oldestWaiting).toBeGreaterThanOrEqual(0);
    gate.resolve();
  });

  it('warns where nobody watches, and ends with 1 for that with --strict', async () => {
    const app = await groupApp(server, idle);
    await server.redis.set('k1', '', 'PX', 60_000);
    await app.close();
    const { code, data } = await statusOf(server.url, '--strict');
    expect(code).toBe(1);
    expect(data.instances).toMatchObject([{ state: 'left' }]);
    expect(data.partitions).toMatchObject([{ watchedAgo: expect.any(Number) }]);
    expect(data.partitions[0]!.leader).toBeUndefined();
    expect(data.warnings).toEqual([
      expect.stringMatching(/^no instance lives/),
      expect.stringMatching(/^partition presence has no leader.*, for \d/),
    ]);
    expect((await statusOf(server.url)).code).toBe(0);
  });

  it('is plain text with tabs in a pipe, and lines up on a terminal', async () => {
    await groupApp(server, idle);
    const plain = await run('status', server.url, '--group', 'presence');
    expect(plain.text).toMatch(
      /^group presence, .*\n\npartition\tnode\tleader\tlag\t/,
    );
    expect(plain.text).toMatch(
      new RegExp(`\npresence\t${server.address}\t.+\t0 ms\t0\t-\t0\t-\t0\t0\t`),
    );
    expect(plain.text).toMatch(/\ninstance\tstate\tseen\tleads\tpending\n/);

    let shown = '';
    const out = { isTTY: true, write: (more: string) => (shown += more) };
    const argv = ['status', server.url, '--group', 'presence'];
    await main(argv, { out, errors: out }, { NO_COLOR: '1' });
    expect(shown).toMatch(/\npartition {2}node {2,}leader {2,}lag {2,}waiting/);
    expect(shown).not.toContain('\t');
    expect(new Output(out).isTerminal).toBe(true);
  });

  it('says what to give where there is no such group', async () => {
    await groupApp(server, idle, { namespace: 'mine' });
    const { code, data } = await statusOf(server.url);
    expect(code).toBe(2);
    expect(data).toEqual({
      error: expect.stringMatching(
        /There is no group "presence" in database 0 of .*, namespace "rx"\..*--namespace and --key-prefix/,
      ),
    });
    expect((await statusOf(server.url, '--namespace', 'mine')).code).toBe(0);
  });

  it('finds a group behind a key prefix and in another database', async () => {
    const { host, port } = server;
    const connection = { host, port, db: 3, keyPrefix: 'app:' };
    await groupApp(server, idle, { connection });
    const url = `${server.url}/3`;
    const { code, data } = await statusOf(url, '--key-prefix', 'app:');
    expect([code, data.database]).toEqual([0, 3]);
    expect((await statusOf(url)).code).toBe(2);
  });

  it('needs no more rights than the group', async () => {
    await groupApp(server, idle);
    const needs = {
      ...{ patterns: ['k*'], database: 0, namespace: 'rx' },
      ...{ isGroup: true, isCluster: false },
    };
    const rules = aclRules(needs);
    await server.redis.acl('SETUSER', 'app', 'on', '>s3cret', ...rules);
    const url = `redis://app@${server.address}`;
    const asked = await run('status', url, '--group', 'presence');
    expect(asked.code).toBe(2);
    process.env['REDISCLI_AUTH'] = 's3cret';
    try {
      expect((await statusOf(url)).code).toBe(0);
    } finally {
      delete process.env['REDISCLI_AUTH'];
    }
  });

  it('says which right is missing', async () => {
    await groupApp(server, idle);
    await server.redis.acl(
      ...(['SETUSER', 'app', 'on', '>s3cret', '~*', '+ping', '+info'] as const),
    );
    const { code, errors } = await run(
      ...['status', `redis://app:s3cret@${server.address}`],
      ...['--group', 'presence'],
    );
    expect(code).toBe(2);
    expect(errors).toMatch(
      /does not let this user do that with group "presence": NOPERM.*xpending.*docs\/07/,
    );
    expect(errors).not.toContain('s3cret');
  });

  it('refuses a replica, and names its primary', async () => {
    const replica = await ownServer({
      args: ['--replicaof', `127.0.0.1 ${server.port}`],
    });
    const ran = await run('status', replica.url, '--group', 'presence');
    expect([ran.code, ran.errors]).toEqual([
      2,
      `${replica.address} is a replica of ${server.address}; give the URL of that one.\n`,
    ]);
  });

  it('does not wait for a server that falls silent', async () => {
    const silent = await ownServer();
    silent.process.pause();
    const { code, errors } = await run(
      ...['status', silent.url, '--group', 'presence'],
    );
    silent.process.resume();
    expect([code, errors]).toEqual([
      2,
      expect.stringMatching(/cannot be asked/),
    ]);
  });
});

describe('status by a Sentinel', () => {
  const sentinel = useSentinel();

  it('asks the primary that it names', async () => {
    const [first] = sentinel.sentinelServers;
    const primary = await sentinel.primary();
    await groupApp(primary, idle);
    const { code, data } = await statusOf(first!.url);
    expect(code).toBe(0);
    expect(data.partitions).toMatchObject([{ tag: 'presence' }]);
    const named = await statusOf(first!.url, '--primary', sentinel.name);
    expect(named.code).toBe(0);
    const other = await statusOf(first!.url, '--primary', 'another');
    expect([other.code, other.data]).toEqual([
      2,
      { error: 'Option --primary is "another"; accepted: expiring.' },
    ]);
  });
});
