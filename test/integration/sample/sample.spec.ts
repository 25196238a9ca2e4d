import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { Redis } from 'ioredis';
import {
  afterAll,
  afterEach,
  beforeAll,
  describe,
  expect,
  inject,
  it,
  vi,
} from 'vitest';
import { PATIENCE_MS } from '../../support/patience.js';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import {
  SampleApp,
  copyProject,
  removeProject,
} from '../../support/sample/sample-app.js';
import { type Tile, type Wall, openWall } from '../../support/sample/wall.js';

const patience = { timeout: PATIENCE_MS, interval: 50 };
const buildTime = 240_000;
const ownRedis = /private to this run: redis:\/\/127.0.0.1:(\d+)/;
const pageUrl = /Open (http:\S+:(\d+))/;
let project: string;
let app: SampleApp;
/** Starts beside the first one, as soon as that has built: both take their time. */
let several: SampleApp;

beforeAll(async () => {
  project = await copyProject();
  const env = { REDIS_SERVER: inject('redisServerPath'), PORT: '0' };
  app = new SampleApp(['npm', 'start'], project, env);
  await app.prints(ownRedis, buildTime);
  const script = 'sample/device-presence/start.mjs';
  several = new SampleApp(['node', script, '--instances', '3'], project, env);
}, buildTime);

afterAll(async () => {
  await Promise.all([app?.kill(), several?.kill()]);
  await removeProject(project);
});

const OUTAGE =
  /(\S+) went offline \(lateness (\d+) ms\), battery (\d+|\?) %, read (\d+|\?) ms/g;

/** Every outage that the sample has named so far. */
const outages = (): (Tile & { id: string; lateness: number })[] =>
  [...app.output.matchAll(OUTAGE)].map(
    ([, id = '', lateness, battery = '?', valueAge = '?']) => ({
      id,
      status: 'offline',
      lateness: Number(lateness),
      battery: known(battery),
      valueAge: known(valueAge),
    }),
  );

const known = (figure: string): number | undefined =>
  figure === '?' ? undefined : Number(figure);

async function isListening(port: string): Promise<boolean> {
  const socket = connect(Number(port), 'localhost');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** The sample kills its Redis as it leaves, and cannot wait until that has gone. */
const hasEnded = (port: string): Promise<void> =>
  vi.waitFor(async () => expect(await isListening(port)).toBe(false), patience);

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe('npm start', () => {
  let port: string;
  let redisPort: string;
  let wall: Wall;

  beforeAll(async () => {
    [redisPort = ''] = await app.prints(ownRedis);
    const [url = '', urlPort = ''] = await app.prints(pageUrl);
    port = urlPort;
    wall = await openWall(url);
  });

  afterAll(async () => {
    await wall?.close();
    await app.kill();
  });

  it('tells Prometheus the lateness that it shows', async () => {
    await vi.waitFor(
      () => expect(outages().length).toBeGreaterThan(0),
      patience,
    );
    const shown = outages().map(({ lateness }) => lateness);
    const scraped = await fetch(`http://localhost:${port}/metrics`);
    const text = await scraped.text();
    const told = (name: string) =>
      Number(
        new RegExp(`^redis_expiry_lateness_${name} (.+)$`, 'm').exec(text)![1],
      );

    // More may have gone offline since.
    expect(told('seconds_count')).toBeGreaterThanOrEqual(shown.length);
    expect(told('seconds_sum') * 1_000).toBeGreaterThanOrEqual(
      Math.floor(shown.reduce((sum, ms) => sum + ms, 0)),
    );
  });

  it('names devices that go offline within seconds', async () => {
    await vi.waitFor(
      () => expect(outages().length).toBeGreaterThan(0),
      patience,
    );

    expect(app.output.match(/http:/g)).toHaveLength(1);
  });

  it('shows on the page who is offline, and how late that was noticed', async () => {
    await vi.waitFor(async () => {
      const { id, ...tile } = outages().at(-1)!;
      expect(await wall.tile(id)).toEqual(tile);
    }, patience);
  });

  it('turns a tile grey as its device goes offline', async () => {
    const before = outages().length;
    await vi.waitFor(
      () => expect(outages().length).toBeGreaterThan(before),
      patience,
    );

    await vi.waitFor(async () => {
      const { id, ...tile } = outages().at(-1)!;
      expect(await wall.tile(id)).toEqual(tile);
    }, patience);
  });

  it('shows the battery that a device had when its key expired', async () => {
    // Three lives, of which the last one counts.
    const redis = new Redis(Number(redisPort));
    try {
      for (const battery of [44, 43, 42]) {
        const value = JSON.stringify({ battery });
        await redis.set('device:my-phone', value, 'PX', 2_000);
      }
    } finally {
      redis.disconnect();
    }

    await vi.waitFor(async () => {
      const tile = await wall.tile('my-phone');
      expect(tile).toMatchObject({ status: 'offline', battery: 42 });
      // What `values.lead` of the sample allows.
      expect(tile!.valueAge).toBeLessThanOrEqual(500);
    }, patience);
  });

  it('shows a device that is about to go', async () => {
    await vi.waitFor(async () => {
      const warned = app.output.matchAll(/(\S+) is about to go/g);
      const [, id = ''] = [...warned].at(-1)!;
      expect(await wall.tile(id)).toMatchObject({ status: 'about to go' });
    }, patience);
  });

  it('turns a tile green again as its device comes back', async () => {
    const [first] = outages();
    await app.prints(new RegExp(`${first!.id} is back online`));

    await vi.waitFor(async () => {
      expect(await wall.tile(first!.id)).toMatchObject({ status: 'online' });
    }, patience);
    expect(wall.problems).toEqual([]);
  });

  it('leaves nothing behind on SIGINT', async () => {
    expect(await isListening(port)).toBe(true);
    expect(await isListening(redisPort)).toBe(true);
    app.signal('SIGINT');

    expect(await app.ended()).toBe(0);
    expect(await isListening(port)).toBe(false);
    await hasEnded(redisPort);
  });
});

describe('npm start -- --instances 3', () => {
  const names = ['#1', '#2', '#3'];

  /** Every expiry that was handled, by whom and how late. */
  const handled = (): { by: string; id: string; lateness: number }[] =>
    [
      ...several.output.matchAll(
        /^\[(#\d)\].* (\S+) went offline \(lateness (\d+) ms/gm,
      ),
    ].map(([, by = '', id = '', lateness]) => ({
      by,
      id,
      lateness: Number(lateness),
    }));

  it('shares the work: nothing is lost or done twice though one is killed', async () => {
    await several.prints(/^#2 was killed\n[^]*^#2 was replaced$/m);
    // 20 at least; what expired last may not be handled yet.
    const tally = /^expired \d+, handled (?:[2-9]\d|\d{3,}), lost 0, /m;
    await several.prints(tally);

    expect(new Set(handled().map(({ by }) => by))).toEqual(new Set(names));
    expect(several.output).not.toMatch(/lost [1-9]/);
  }, 180_000);

  it('shows on the page who handled what, and the tally', async () => {
    const [url = ''] = await several.prints(pageUrl);
    const wall = await openWall(url);
    try {
      await vi.waitFor(async () => {
        const { id, by, lateness } = handled().at(-1)!;
        const tile = { status: 'offline', lateness, handledBy: by };
        expect(await wall.tile(id)).toMatchObject(tile);
        const { expired = 0, handled: done, lost } = (await wall.tally())!;
        expect({ done, lost }).toEqual({ done: expired, lost: 0 });
        expect(expired).toBeGreaterThanOrEqual(20);
      }, patience);
      expect(wall.problems).toEqual([]);
    } finally {
      await wall.close();
    }
  });

  it('ends every process on Ctrl-C', async () => {
    const [redisPort = ''] = await several.prints(ownRedis);
    const [, port = ''] = await several.prints(pageUrl);
    const pids = several.output.matchAll(/^\[#\d\] (\d+) /gm);
    several.interrupt();

    expect(await several.ended()).toBe(0);
    expect(await isListening(port)).toBe(false);
    await hasEnded(redisPort);
    const alive = [...pids].filter(([, pid]) => isRunning(Number(pid)));
    expect(alive).toEqual([]);
  });
});

describe('start.mjs', () => {
  const start = (env: NodeJS.ProcessEnv, ...args: string[]): SampleApp => {
    const command = ['node', 'sample/device-presence/start.mjs', ...args];
    return (app = new SampleApp(command, project, env));
  };

  afterEach(() => app.kill());

  it('uses the Redis and the port it is given, and ends on SIGTERM', async () => {
    const redis = await RedisServer.start({ path: inject('redisServerPath') });
    const neighbour = createServer().listen(0);
    const { port } = neighbour.address() as AddressInfo;
    try {
      start({ REDIS_URL: redis.url }, '--port', `${port}`);
      await app.prints(RegExp(`Port ${port} is taken`));
      await app.prints(/(\S+) went offline/);
      expect(app.output).not.toContain('private to this run');
      app.signal('SIGTERM');

      expect(await app.ended()).toBe(0);
      expect(redis.running).toBe(true);
    } finally {
      neighbour.close();
      await redis.stop();
    }
  });

  it('says what helps when there is no Redis to be had', async () => {
    start({ REDIS_SERVER: '/nonexistent' });

    expect(await app.ended()).toBe(1);
    expect(app.output).toContain('/nonexistent does not exist');
    expect(app.output).toContain('REDIS_URL=redis://HOST:PORT');
  });
});
