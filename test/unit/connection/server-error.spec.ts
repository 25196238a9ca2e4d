import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import {
  type ReplyCode,
  codeOfText,
  isElsewhere,
  isForbidden,
  isHopeless,
  isReadOnly,
  isRedirect,
  isReplyError,
  isRetriable,
  isUnknownCommand,
  isWriteRefused,
  redirectOf,
  refusedCommand,
  replyCode,
} from '../../../lib/connection/server-error.js';
import { TestServer, connect, onEveryServer } from '../../support/servers.js';

/** What a command, or a connection, was answered with. */
async function refusal(work: Promise<unknown>): Promise<Error> {
  const answer = await work.then(
    (reply) => `was not refused: ${JSON.stringify(reply)}`,
    (error: unknown) => error as Error,
  );
  if (typeof answer === 'string') throw new Error(answer);
  return answer;
}

const PTTL = "return redis.call('PTTL', ARGV[1])";
const SET = "return redis.call('SET', KEYS[1], '1')";
const SET_BY_PCALL = "return redis.pcall('SET', KEYS[1], '1')";
const UNKNOWN_DIGEST = '0'.repeat(40);

/** A command, and the same by scripts that let its error through or hand it on. */
async function writes(redis: Redis): Promise<Error[]> {
  return [
    await refusal(redis.set('key', '1')),
    await refusal(redis.eval(SET, 1, 'key')),
    await refusal(redis.eval(SET_BY_PCALL, 1, 'key')),
  ];
}

onEveryServer('What a server refuses', (server) => {
  it('by its ACL is NOPERM: a command, a subcommand, a key, a channel; in scripts too', async () => {
    const { redis } = server;
    const rules = ['~ok:*', '&ok', '+@all', '-dbsize', '-config|set'];
    await redis.call('ACL', 'SETUSER', 'some', 'on', 'nopass', ...rules);
    const user = await connect(server, { username: 'some', password: '' });
    const handedOn = "local r = redis.pcall('PTTL', ARGV[1]) return r";
    const errors = {
      command: await refusal(user.dbsize()),
      subcommand: await refusal(user.config('SET', 'hz', '10')),
      key: await refusal(user.exists('ok:1', 'no')),
      declared: await refusal(user.eval('return 1', 1, 'no')),
      channel: await refusal(user.psubscribe('no*')),
      byScript: await refusal(user.eval("return redis.call('DBSIZE')", 0)),
      keyByScript: await refusal(user.eval(PTTL, 0, 'no')),
      handedOn: await refusal(user.eval(handedOn, 0, 'no')),
      discarded: await refusal(user.multi().dbsize().set('ok:1', '').exec()),
    };

    for (const [name, error] of Object.entries(errors))
      expect([name, replyCode(error)]).toEqual([name, 'NOPERM']);
    expect(refusedCommand(errors.command)).toBe('dbsize');
    expect(refusedCommand(errors.subcommand)).toBe('config|set');
    expect(refusedCommand(errors.key)).toBeUndefined();
    expect(isForbidden(errors.keyByScript)).toBe(true);
    expect(isRetriable(errors.key)).toBe(false);
  });

  it('is UNKNOWN_COMMAND where it has no such command; a wrong use of one is none', async () => {
    const { redis } = server;
    const unknown = await refusal(redis.call('NOSUCH', 'NOPERM', 'x'));
    const subcommand = await refusal(redis.call('CLIENT', 'NOSUCH'));
    const script = "return redis.call('NOSUCH')";
    const byScript = await refusal(redis.eval(script, 0));
    const handedOn = await refusal(
      redis.eval("return redis.pcall('NOSUCH')", 0),
    );

    for (const error of [unknown, subcommand, byScript, handedOn])
      expect(replyCode(error)).toBe('UNKNOWN_COMMAND');
    expect(isUnknownCommand(byScript)).toBe(true);
    expect(refusedCommand(unknown)).toBe('nosuch');
    expect(refusedCommand(byScript)).toBeUndefined();
    expect(replyCode(await refusal(redis.call('GET')))).toBe('ERR');
    expect(replyCode(await refusal(redis.call('SET', 'a', 'b', 'NO')))).toBe(
      'ERR',
    );
  });

  it('names its code: scripts, streams, types, and what the own scripts say', async () => {
    const { redis } = server;
    await redis.set('text', '1');
    const say = (reply: string): Promise<Error> =>
      refusal(redis.eval(`return redis.error_reply('${reply}')`, 0));
    const xread = ['GROUP', 'g', 'c', 'STREAMS', 'none', '>'];
    await redis.xgroup('CREATE', 'events', 'g', '0', 'MKSTREAM');
    const again = await refusal(
      redis.xgroup('CREATE', 'events', 'g', '0', 'MKSTREAM'),
    );
    const claim = "return redis.call('XAUTOCLAIM', 'none', 'g', 'c', 0, '0')";
    const codes: [Error, ReplyCode][] = [
      [await refusal(redis.evalsha(UNKNOWN_DIGEST, 0)), 'NOSCRIPT'],
      [await refusal(redis.call('XREADGROUP', ...xread)), 'NOGROUP'],
      [await refusal(redis.eval(claim, 0)), 'NOGROUP'],
      [again, 'BUSYGROUP'],
      [await refusal(redis.lpush('text', '1')), 'WRONGTYPE'],
      [await say('LEASE lost'), 'LEASE'],
      [await say('STALE request'), 'STALE'],
      [await refusal(redis.select(99)), 'NO_DATABASE'],
      [await refusal(redis.call('AUTH', 'no', 'one')), 'WRONGPASS'],
      [await refusal(redis.call('AUTH', 'pw')), 'WRONGPASS'],
    ];

    for (const [error, code] of codes) expect(replyCode(error)).toBe(code);
  });

  it('where writes are refused is one of three, in scripts too; reads go on', async () => {
    const { redis } = server;
    await redis.set('key', '1');
    const refuse = async (
      name: 'maxmemory' | 'min-replicas-to-write',
      code: ReplyCode,
    ): Promise<void> => {
      await redis.config('SET', name, '1');
      const errors = await writes(redis);
      const read = await redis.eval("return redis.call('GET', 'key')", 0);
      await redis.config('SET', name, '0');
      expect(errors.map(replyCode)).toEqual([code, code, code]);
      expect(errors.every(isWriteRefused)).toBe(true);
      expect(errors.every(isRetriable)).toBe(true);
      expect(read).toBe('1');
    };

    await refuse('maxmemory', 'OOM');
    await refuse('min-replicas-to-write', 'NOREPLICAS');
  });

  it('while a script runs for long is BUSY', async () => {
    const { redis } = server;
    await redis.config('SET', 'lua-time-limit', '20');
    const other = await connect(server);
    const loop = other.eval('while true do end', 0).catch(() => undefined);
    const busy = async (): Promise<ReplyCode | undefined> =>
      redis.get('key').then(() => undefined, replyCode);
    let code = await busy();
    while (code === undefined) code = await busy();
    await redis.call('SCRIPT', 'KILL');
    await loop;

    expect(code).toBe('BUSY');
  });
});

describe('What other states of a server are refused with', () => {
  const path = inject('redisServerPath');

  async function start(...args: string[]): Promise<TestServer> {
    const server = new TestServer({ path, args });
    await server.start();
    onTestFinished(() => server.stop());
    return server;
  }

  /** What a connection is told while it logs in. */
  async function told(
    server: TestServer,
    login: { username?: string; password?: string },
  ): Promise<Error> {
    const client = server.client({ ...login, retryStrategy: () => null });
    const [error] = (await once(client, 'error')) as [Error];
    client.disconnect();
    return error;
  }

  it('a login that is wrong or missing', async () => {
    const server = await start();
    await server.redis.config('SET', 'requirepass', 'right');
    const errors = [
      await told(server, { password: 'wrong' }),
      await told(server, { username: 'nobody', password: 'x' }),
      await told(server, {}),
    ];

    expect(errors.map(replyCode)).toEqual(['WRONGPASS', 'WRONGPASS', 'NOAUTH']);
    expect(errors.every(({ message }) => isHopeless(message))).toBe(true);
  });

  it('a replica, and one that lost its primary', async () => {
    const primary = await start('--repl-diskless-sync-delay', '0');
    const { redis } = await start(
      '--replicaof',
      '127.0.0.1',
      `${primary.port}`,
    );
    while (!(await redis.info('replication')).includes('link_status:up'))
      await delay(10);
    const errors = await writes(redis);
    await redis.config('SET', 'replica-serve-stale-data', 'no');
    await primary.kill();
    let read: unknown;
    while (read === undefined)
      read = await redis.get('key').then(() => undefined, replyCode);

    expect(errors.map(replyCode)).toEqual(['READONLY', 'READONLY', 'READONLY']);
    expect(errors.every(isReadOnly)).toBe(true);
    expect(errors.every(isElsewhere)).toBe(true);
    expect(read).toBe('MASTERDOWN');
  });

  it('a node of a Cluster: slots that nobody serves, another one serves, or that are on their way', async () => {
    const clustered = ['--cluster-enabled', 'yes'];
    const [{ redis: a }, other] = [
      await start(...clustered),
      await start(...clustered),
    ];
    const b = other.redis;
    const down = await refusal(a.get('foo'));
    const isUp = async (redis: Redis): Promise<boolean> =>
      (await redis.cluster('INFO')).includes('cluster_state:ok');
    // Key `foo` has slot 12182, `b` 3300.
    await a.call('CLUSTER', 'ADDSLOTSRANGE', 0, 8000);
    await b.call('CLUSTER', 'ADDSLOTSRANGE', 8001, 16_383);
    await a.call('CLUSTER', 'MEET', other.host, other.port);
    while (!((await isUp(a)) && (await isUp(b)))) await delay(10);
    const [idA, idB] = [
      (await a.call('CLUSTER', 'MYID')) as string,
      (await b.call('CLUSTER', 'MYID')) as string,
    ];
    await b.call('CLUSTER', 'SETSLOT', 3300, 'IMPORTING', idA);
    await a.call('CLUSTER', 'SETSLOT', 3300, 'MIGRATING', idB);
    const moved = await refusal(a.get('foo'));
    const ask = await refusal(a.get('b'));

    expect(replyCode(down)).toBe('CLUSTERDOWN');
    expect(redirectOf(moved)).toEqual({
      endpoint: other.address,
      asking: false,
    });
    expect(redirectOf(ask)).toEqual({ endpoint: other.address, asking: true });
    expect(redirectOf(down)).toBeUndefined();
    expect([moved, ask].every(isRedirect)).toBe(true);
    expect([moved, ask, down].every(isElsewhere)).toBe(true);
    expect(replyCode(await refusal(a.eval(PTTL, 0, 'foo')))).toBe('NOT_LOCAL');
    expect(replyCode(await refusal(a.eval(PTTL, 0, 'b')))).toBe('NOT_LOCAL');
    expect(replyCode(await refusal(a.mget('b', 'c')))).toBe('CROSSSLOT');
  });
});

it.each<[server: string, reply: string, code: ReplyCode, command?: string]>([
  [
    'Redis 6.2',
    "ERR Error running script (call to f_0a9f75e991483d02789696e4c90d26c10395863e): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica. ",
    'READONLY',
  ],
  [
    'Redis 6.2',
    "ERR Error running script (call to f_0a9f75e991483d02789696e4c90d26c10395863e): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'. ",
    'OOM',
  ],
  [
    'Redis 6.2',
    "ERR Error running script (call to f_0a9f75e991483d02789696e4c90d26c10395863e): @user_script:1: @user_script: 1: The user executing the script can't access at least one of the keys mentioned in the command arguments",
    'NOPERM',
  ],
  [
    'Redis 6.2',
    'ERR Error running script (call to f_0a9f75e991483d02789696e4c90d26c10395863e): @user_script:1: @user_script: 1: Unknown Redis command called from Lua script',
    'UNKNOWN_COMMAND',
  ],
  [
    'Redis 6.2',
    'ERR unknown command `psubscribe`, with args beginning with: `a*`, ',
    'UNKNOWN_COMMAND',
    'psubscribe',
  ],
  [
    'Redis 6.2',
    "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
    'NOPERM',
    'evalsha',
  ],
  [
    'Redis 7.0',
    "ERR The user executing the script can't run this command or subcommand script: ca2ee89b72d7d2dca958fd9ce25333acf78348bf, on @user_script:1.",
    'NOPERM',
  ],
  [
    'Redis 7.0',
    "NOPERM this user has no permissions to run the 'evalsha' command",
    'NOPERM',
    'evalsha',
  ],
  [
    'Redis 7.0',
    "OOM command not allowed when used memory > 'maxmemory'. script: 0a9f75e991483d02789696e4c90d26c10395863e, on @user_script:1.",
    'OOM',
  ],
  [
    'Redis 7.0',
    'ERR Script attempted to execute a command while the cluster is down script: b4b66c20ea866f472341f7ab02f588f03771bc1e, on @user_script:1.',
    'CLUSTERDOWN',
  ],
  [
    'Redis 8.0',
    "ERR ACL failure in script: User u has no permissions to run the 'dbsize' command script: ca2ee89b72d7d2dca958fd9ce25333acf78348bf, on @user_script:1.",
    'NOPERM',
    'dbsize',
  ],
  ['Redis 8.6', "ERR unknown command 'dbsize'", 'UNKNOWN_COMMAND', 'dbsize'],
  ['Redis', 'LOADING Redis is loading the dataset in memory', 'LOADING'],
  [
    'Redis',
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled. script: 0a9f75e991483d02789696e4c90d26c10395863e, on @user_script:1.",
    'MISCONF',
  ],
  ['Redis', 'ERR max number of clients reached', 'MAX_CLIENTS'],
  [
    'Valkey 8',
    'ERR Unknown command called from script script: b74c2007bf562eac51c04b305c6289302dc89964, on @user_script:1.',
    'UNKNOWN_COMMAND',
  ],
  [
    'Valkey 9',
    'ERR This Valkey command is not allowed from script script: on @user_script:1.',
    'UNKNOWN_COMMAND',
  ],
  [
    'Valkey 9',
    'ERR Attempted to access a non local key in a cluster node script: on @user_script:1.',
    'NOT_LOCAL',
  ],
  [
    'Valkey 9',
    "ERR Can not execute a command 'set' while the cluster is down script: on @user_script:1.",
    'CLUSTERDOWN',
  ],
  ['Valkey 9', 'LOADING Valkey is loading the dataset in memory', 'LOADING'],
  [
    'ElastiCache Serverless',
    "ERR unknown command 'psubscribe', with args beginning with: __keyevent@*__:expired",
    'UNKNOWN_COMMAND',
    'psubscribe',
  ],
  [
    'Upstash',
    "ERR Command is not available: 'BITFIELD'. See https://docs.upstash.com/overall/rediscompatibility for details",
    'UNKNOWN_COMMAND',
    'bitfield',
  ],
  [
    'Alibaba',
    'ERR command eval not support for your account',
    'UNKNOWN_COMMAND',
    'eval',
  ],
  ['any', 'ERR wrong number of arguments for NOPERM command', 'ERR'],
  ['any', 'OOMS and BUSYNESS are no codes', 'ERR'],
])('%s: %s', (_, reply, code, command) => {
  const error = Object.assign(new Error(reply), { name: 'ReplyError' });
  expect(codeOfText(reply)).toBe(code);
  expect(replyCode(error)).toBe(code);
  expect(refusedCommand(error)).toBe(command);
});

it('says nothing of an error that is no reply', () => {
  const error = new Error('NOPERM is what somebody else says');
  expect(isReplyError(error)).toBe(false);
  expect(replyCode(error)).toBeUndefined();
  expect(isForbidden(error)).toBe(false);
  expect(replyCode('NOPERM')).toBeUndefined();
});
