import { once } from 'node:events';
import { createServer } from 'node:net';
import { describe, it } from 'vitest';
import {
  type Diagnosis,
  doctor,
  paste,
  run,
} from '../../support/cli/command.js';
import { useCluster } from '../../support/cluster.js';
import { groupApp, handler } from '../../support/group/app.js';
import { paced } from '../../support/paced.js';
import { useSentinel } from '../../support/sentinel.js';
import {
  TestServer,
  type TestServerOptions,
  useServer,
} from '../../support/servers.js';

const QUICK = ['--measure', '500ms'];

/** A server of a test's own: these tests run side by side. */
async function started(
  { onTestFinished }: { onTestFinished: (work: () => Promise<void>) => void },
  options?: TestServerOptions,
): Promise<TestServer> {
  const server = await new TestServer(options).start();
  onTestFinished(() => server.stop());
  return server;
}

/** The URL of a user with these rules. */
async function urlOf(server: TestServer, ...rules: string[]): Promise<string> {
  await server.redis.acl('SETUSER', 'app', 'on', '>s3cret', ...rules);
  return `redis://app:s3cret@${server.address}`;
}

/** What is wrong, but for what this machine may be too busy for. */
const wrong = ({ report }: Diagnosis): string[] =>
  report.areas
    .filter(({ area }) => area !== 'lateness')
    .flatMap(({ findings }) => findings)
    .filter(({ level, figures }) => isBad(level) && !figures?.['pingP50Ms'])
    .map(({ saw }) => saw);

const isBad = (level: string): boolean =>
  level === 'warning' || level === 'failure';

const mendOf = (diagnosis: Diagnosis, area: Parameters<Diagnosis['of']>[0]) =>
  diagnosis.of(area).find(({ level }) => level !== 'ok')?.mend;

describe.concurrent('doctor', () => {
  it('tells which flags are missing, and its command mends that', async (context) => {
    const { expect } = context;
    const server = await started(context);
    const ask = () => doctor(server.url, ...QUICK, '--pattern', 'device:*');

    const before = await ask();
    expect(before.of('notifications')[0]).toMatchObject({
      level: 'warning',
      mend: expect.stringContaining('notify-keyspace-events K'),
    });
    expect(before.code).toBe(0);
    await paste(server.redis, mendOf(before, 'notifications'));

    const after = await ask();
    expect(wrong(after)).toEqual([]);
    expect(after.of('notifications')[1]!.saw).toMatch(/was heard on K/);
    expect(after.of('lateness')[2]!.saw).toMatch(/150 of 150/);
    // What it wrote has gone.
    expect(await server.redis.keys('*')).toEqual([]);
  });

  it('ends with 1 for warnings with --strict', async (context) => {
    const { expect } = context;
    const server = await started(context);
    const strict = await doctor(server.url, '--read-only', '--strict');
    expect([strict.code, strict.report.verdict]).toEqual([1, 'warnings']);
  });

  it('writes nothing with --read-only', async (context) => {
    const { expect } = context;
    const server = await started(context);
    await server.redis.set('device:1', '', 'PX', 60_000);
    const { text } = await run(
      ...['doctor', server.url, '--read-only', '--pattern', 'device:*'],
      ...['--group', 'presence'],
    );
    expect(text).toMatch(/\[skipped\] keys are not scanned/);
    expect(await server.redis.keys('*')).toEqual(['device:1']);
    const calls = await server.commandCalls();
    expect(calls['del'] ?? 0).toBe(0);
  });

  it('measures how late Redis is among 100,000 keys with a TTL', async (context) => {
    const { expect } = context;
    const server = await started(context, {
      args: ['--hz', '10', '--notify-keyspace-events', 'Kxn'],
    });
    await server.redis.eval(
      "for i = 1, 100000 do redis.call('SET', 'fill:' .. i, '', 'PX', 3600000) end",
      0,
    );
    const diagnosis = await doctor(server.url, '--measure', '1s');
    const [model, untouched, touched] = diagnosis.of('lateness');
    expect(model!.figures).toMatchObject({
      volatile: 100_000,
      modelWorstS: 500,
    });
    expect(untouched!.figures!['heard']).toBeLessThan(50);
    expect(touched!.figures!['heard']).toBe(150);
  });

  it('refuses a replica, and names its primary', async (context) => {
    const { expect } = context;
    const primary = await started(context);
    const replica = await started(context, {
      args: ['--replicaof', `127.0.0.1 ${primary.port}`],
    });
    const diagnosis = await doctor(replica.url, ...QUICK);
    expect(diagnosis.code).toBe(2);
    expect(diagnosis.of('topology')).toMatchObject([
      { level: 'failure', mend: expect.stringContaining(`${primary.port}`) },
    ]);
  });

  it('tells without CONFIG by a key of its own whether expiries are announced', async (context) => {
    const { expect } = context;
    const server = await started(context);
    const url = await urlOf(server, '~*', '&*', '+@all', '-config', '-acl');
    const deaf = await doctor(url, ...QUICK);
    expect(deaf.code).toBe(2);
    expect(deaf.of('notifications')[0]).toMatchObject({
      level: 'failure',
      saw: expect.stringContaining('not announced'),
    });
    await paste(server.redis, mendOf(deaf, 'notifications'));

    const hearing = await doctor(url, ...QUICK);
    expect(hearing.of('notifications')[0]).toMatchObject({ level: 'ok' });
    // Found by trial, as it may not ask ACL.
    expect(hearing.of('permissions')[0]!.saw).toMatch(/may not: config\|get/);
    expect(hearing.code).toBe(0);
  });

  it.for([
    { how: 'by trial', more: [] },
    { how: 'by ACL DRYRUN', more: ['+acl|dryrun', '+acl|whoami'] },
  ])(
    'tells $how what a user may not, and its command mends that',
    async ({ more }, context) => {
      const { expect } = context;
      const server = await started(context, {
        args: ['--notify-keyspace-events', 'Kgxn'],
      });
      const url = await urlOf(
        server,
        ...['-@all', '+ping', '+info', '+exists', '~device:*', ...more],
      );
      const options = ['--pattern', 'device:*', '--group', 'presence'];
      const before = await doctor(url, ...QUICK, ...options);
      expect(before.code).toBe(2);
      const [refused] = before.of('permissions');
      expect(refused).toMatchObject({
        level: 'failure',
        saw: expect.stringMatching(/xreadgroup/),
      });
      expect(refused!.saw).not.toMatch(/s3cret/);
      await paste(server.redis, refused!.mend);

      const after = await doctor(url, ...QUICK, ...options);
      expect(after.of('permissions')[0]!.level).not.toBe('failure');
      expect(after.code).toBe(0);
    },
  );

  it.for([
    ['~*', '&*', '+@all', '-xadd', '-config'],
    ['~*', 'resetchannels', '+@all'],
    ['~other:*', '&*', '+@all'],
    ['~other:*', 'resetchannels', '+@all', '-acl'],
  ])('mends a user with the rules %j', async (rules, context) => {
    const { expect } = context;
    const server = await started(context, {
      args: ['--notify-keyspace-events', 'Kgxn'],
    });
    const url = await urlOf(server, ...rules);
    const options = ['--pattern', 'device:*', '--group', 'presence'];
    const ask = () => doctor(url, '--read-only', ...options);
    const before = await ask();
    const [refused] = before.of('permissions');
    expect(refused!.saw).toMatch(/^user app may not: /);
    await paste(server.redis, refused!.mend);
    const after = await ask();
    expect(after.of('permissions')[0]).toMatchObject({
      ...{ level: 'ok', saw: 'user app may do all that the module does' },
    });
  });

  it('tells that the operator took CONFIG away', async (context) => {
    const { expect } = context;
    const server = await started(context, {
      args: [
        ...['--notify-keyspace-events', 'Kgxn'],
        ...['--rename-command', 'CONFIG', ''],
      ],
    });
    const diagnosis = await doctor(server.url, ...QUICK);
    expect(diagnosis.code).toBe(0);
    expect(diagnosis.of('notifications')).toMatchObject([
      { level: 'ok', saw: expect.stringMatching(/expiries are announced/) },
      { level: 'ok', saw: expect.stringMatching(/was heard on K/) },
    ]);
    const [lacking] = diagnosis.of('permissions');
    expect(lacking).toMatchObject({
      level: 'warning',
      saw: 'the server does not have: config|get, config|set',
    });
    expect(lacking!.mend).toBeUndefined();
  });

  it('needs no more than the rules that it prints', async (context) => {
    const { expect } = context;
    const server = await started(context, {
      args: ['--notify-keyspace-events', 'Kgxn'],
    });
    const options = ['--pattern', 'device:*', '--group', 'presence'];
    const first = await doctor(server.url, ...QUICK, ...options);
    await paste(server.redis, first.of('permissions')[1]!.mend);
    const url = `redis://expiry:PASSWORD@${server.address}`;
    const as = await doctor(url, ...QUICK, ...options);
    expect(as.of('permissions')[0]).toMatchObject({ level: 'ok' });
    expect(as.of('notifications')[1]!.saw).toMatch(/was heard on K/);
    expect(as.of('lateness')[2]!.saw).toMatch(/150 of 150/);
    expect(as.text).not.toContain('PASSWORD@');
  });

  it('warns of what may take the keys of a group away', async (context) => {
    const { expect } = context;
    const server = await started(context, {
      args: ['--maxmemory-policy', 'allkeys-lru', '--appendonly', 'no'],
    });
    const options = ['--read-only', '--group', 'presence'];
    const before = await doctor(server.url, ...options);
    const warned = before.of('data safety');
    expect(warned.map(({ level }) => level)).toEqual(['warning', 'warning']);
    for (const { mend } of warned) await paste(server.redis, mend);
    const after = await doctor(server.url, ...options);
    expect(after.of('data safety').map(({ level }) => level)).toEqual([
      'ok',
      'ok',
    ]);
  });

  it('warns that keys which match have no TTL', async (context) => {
    const { expect } = context;
    const server = await started(context);
    await server.redis.mset('device:1', '', 'device:2', '');
    const diagnosis = await doctor(
      server.url,
      ...QUICK,
      '--pattern',
      'device:*',
    );
    expect(diagnosis.of('keys')).toMatchObject([
      { level: 'warning', figures: { sampled: 2, volatile: 0 } },
    ]);
  });

  it('says so where nothing listens, and does not show the password', async ({
    expect,
  }) => {
    const { code, errors } = await run(
      'doctor',
      'redis://app:s3cret@127.0.0.1:1',
    );
    expect([code, errors]).toEqual([
      2,
      '127.0.0.1:1 cannot be asked: connect ECONNREFUSED 127.0.0.1:1.\n',
    ]);
  });

  it('does not wait for a server that is silent', async (context) => {
    const { expect } = context;
    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    context.onTestFinished(() => void silent.close());
    const { port } = silent.address() as { port: number };
    const asked = Date.now();
    const { code, errors } = await run(
      'doctor',
      `redis://app:s3cret@127.0.0.1:${port}`,
    );
    expect([code, errors]).toEqual([
      2,
      expect.stringMatching(/cannot be asked/),
    ]);
    expect(errors).not.toContain('s3cret');
    expect(Date.now() - asked).toBeLessThan(paced(15_000));
  });

  it('ends where a server falls silent meanwhile', async (context) => {
    const { expect } = context;
    const server = await started(context, {
      args: ['--notify-keyspace-events', 'Kxn'],
    });
    const running = run('doctor', server.url, '--measure', '2s');
    while (!(await server.redis.keys('rx:doctor:*')).length);
    server.process.pause();
    const { code, errors } = await running;
    server.process.resume();
    expect([code, errors]).toEqual([
      2,
      expect.stringMatching(/cannot be asked/),
    ]);
  });

  it('refuses a wrong password', async (context) => {
    const { expect } = context;
    const server = await started(context);
    await urlOf(server, '+@all');
    const { code, errors } = await run(
      ...['doctor', `redis://app:wr0ng@${server.address}`],
    );
    expect([code, errors]).toEqual([2, expect.stringMatching(/WRONGPASS/)]);
    expect(errors).not.toContain('wr0ng');
  });
});

describe('doctor of a group', () => {
  const server = useServer();

  it('tells how it is doing, and warns of what is wrong', async ({
    expect,
  }) => {
    const options = ['--read-only', '--group', 'presence'];
    const before = await doctor(server.url, ...options);
    expect(before.of('group')).toMatchObject([
      {
        level: 'skipped',
        saw: expect.stringMatching(/no group "presence" yet/),
      },
    ]);
    const connection = { host: server.host, port: server.port };
    const app = await groupApp(server, [handler('k*', () => undefined)], {
      connection: { ...connection, keyPrefix: 'app:' },
    });
    const prefixed = [...options, '--key-prefix', 'app:'];
    const well = await doctor(server.url, ...prefixed);
    expect(well.of('group')).toMatchObject([
      { level: 'ok', figures: { instances: 1, partitions: 1, leaders: 1 } },
    ]);
    await app.close();
    const alone = await doctor(server.url, ...prefixed);
    expect(alone.of('group').map(({ level }) => level)).toEqual([
      ...['ok', 'warning', 'warning'],
    ]);
  });

  it('grants what is needed behind a key prefix', async ({ expect }) => {
    const prefix = ['--key-prefix', 'app*:'];
    const { report } = await doctor(
      ...[server.url, '--read-only', '--pattern', 'k*', ...prefix],
    );
    const acl = report.areas.find(({ area }) => area === 'permissions')!;
    const { mend } = acl.findings[1]!;
    expect(mend).toContain(String.raw`~app\*:k*`);
    expect(mend).toContain('~app*:rx:self-test:*');
  });

  it('counts the events of keys that match', async ({ expect }) => {
    await server.redis.config('SET', 'notify-keyspace-events', 'K$gx');
    let isOver = false;
    const beating = (async () => {
      while (!isOver) await server.redis.set('k1', '', 'EX', 60);
    })();
    const options = ['--read-only', '--pattern', 'k*'];
    const diagnosis = await doctor(server.url, ...options);
    isOver = true;
    await beating;
    const rate = diagnosis.of('pub/sub').at(-1)!;
    expect(rate.saw).toMatch(/events a second of keys that match: .* set/);
    expect(rate.figures!['eventsPerSecond']).toBeGreaterThan(0);
  });
});

describe('doctor by a Sentinel', () => {
  const sentinel = useSentinel({ replicas: 1 });

  it('looks at the primary and its replica, and its commands mend both', async ({
    expect,
  }) => {
    const { url } = sentinel.sentinelServers[0]!;
    const before = await doctor(url, ...QUICK);
    const [place, watched, replica] = before.of('topology');
    expect(place!.saw).toBe('one server, a primary');
    expect(watched).toMatchObject({
      level: 'ok',
      saw: expect.stringContaining('expiring'),
    });
    expect(replica).toMatchObject({ level: 'warning' });
    for (const { node, mend } of [
      ...before.of('notifications').filter((finding) => finding.mend),
      replica!,
    ]) {
      const server = sentinel.servers.find((one) => one.address === node);
      await paste(server!.redis, mend);
    }
    expect(wrong(await doctor(url, ...QUICK))).toEqual([]);
  });

  it('warns of a replica that is silent', async ({ expect }) => {
    const [replica] = await sentinel.replicas();
    const { url } = sentinel.sentinelServers[0]!;
    replica!.process.pause();
    const diagnosis = await doctor(url, '--read-only');
    replica!.process.resume();
    expect(diagnosis.of('topology')).toContainEqual(
      expect.objectContaining({
        ...{ level: 'warning', node: replica!.address },
        saw: expect.stringContaining('cannot be asked: no answer within'),
      }),
    );
  });
});

describe('doctor of a Cluster', () => {
  const cluster = useCluster(3, { replicas: 1 });

  it('looks at each primary, and its commands mend each', async ({
    expect,
  }) => {
    const [first] = await cluster.primaries();
    const before = await doctor(first!.url, ...QUICK);
    const [place, ...replicas] = before.of('topology');
    expect(place).toMatchObject({
      ...{ level: 'ok', figures: { primaries: 3, slots: 16_384 } },
    });
    const flags = before.of('notifications').filter(({ mend }) => mend);
    expect([flags.length, replicas.length]).toEqual([3, 3]);
    for (const { node, mend } of [...flags, ...replicas]) {
      const server = cluster.servers.find(({ address }) => address === node);
      await paste(server!.redis, mend);
    }
    const after = await doctor(first!.url, ...QUICK, '--cluster');
    expect(after.of('notifications').map(({ level }) => level)).toEqual(
      Array(6).fill('ok'),
    );
    expect(wrong(after)).toEqual([]);
  });
});
