import { describe, expect, it } from 'vitest';
import { paced } from '../../support/paced.js';
import { startCluster } from '../../support/punctual/cluster.js';
import {
  ALL_WELL,
  PunctualApp,
  Scene,
  clockShows,
  names,
  openBed,
} from '../../support/punctual/scene.js';

/** Ms for which writes are paused, as they are while a failover is prepared. */
const PAUSE = 5_000;

// Redis says of keys that are due while writes are paused that they are gone, and keeps them.
describe.concurrent('keys that fall due while writes are paused', () => {
  it('are touched when they are not any more', async (context) => {
    const scene = await Scene.open(context);
    const { admin } = scene;
    await scene.user('app', '~*', '&*', '+@all');
    const app = await scene.readyApp({
      connection: {
        host: '127.0.0.1',
        port: scene.server.port,
        username: 'app',
        password: 'app',
      },
    });
    const start = Date.now() + paced(2_000);
    const deadlines = await scene.giveAt(names(100), (i) => start + i * 5);
    await app.tracks(100);
    await clockShows(start - 200);
    await admin.client('PAUSE', PAUSE, 'WRITE');
    await clockShows(start + 700);
    expect(await admin.dbsize()).toBe(100);
    await admin.client('UNPAUSE');
    await app.hears(100);
    await app.fence();

    expect(app.check(deadlines, 100)).toEqual(ALL_WELL);
  });

  it('are touched on the primary of a Cluster when they are not any more', async (context) => {
    const bed = openBed(context);
    const cluster = await startCluster(bed);
    const { admin } = cluster.nodes[0]!;
    const app = await PunctualApp.start(bed, admin, {
      connection: { nodes: cluster.addresses },
    });
    await app.ready();
    const due = Date.now() + paced(4_000);
    const deadlines = new Map(names(150).map((key) => [key, due]));
    await Promise.all(
      names(150).map((key) => cluster.client.set(key, '', 'PXAT', due)),
    );
    await app.tracks(150);
    for (const node of cluster.nodes)
      await node.admin.client('PAUSE', PAUSE, 'WRITE');
    expect(Date.now()).toBeLessThan(due);
    await clockShows(due + 300);
    for (const node of cluster.nodes) await node.admin.client('UNPAUSE');
    await app.hears(150);

    expect(app.check(deadlines, 100)).toEqual(ALL_WELL);
  });
});
