/** How long does it take to learn the deadlines of many keys, and how do other clients fare meanwhile? */
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { RedisServer } from '../../support/redis/redis-server.mjs';
import { setKeys } from '../bulk.mjs';
import { Contender } from '../contender.mjs';
import { serverCpu } from '../redis-info.mjs';
import { median, quantile, round } from '../stats.mjs';

const HOUR = 3_600_000;
const MB = 2 ** 20;

/**
 * @param {import('../run.mjs').BenchOptions} options
 * @returns {Promise<import('../results.mjs').Enrolment>}
 */
export async function enrol({ path, quick, log }) {
  const keys = quick ? 100_000 : 1_000_000;
  const rounds = quick ? 1 : 5;
  const server = await RedisServer.start({ path });
  const redis = new Redis(server.port, '127.0.0.1');
  const { port } = server;
  try {
    const { contender: idle } = await Contender.start('library', {
      port,
      expected: 1,
    });
    const empty = await idle.sample({ collectGarbage: true });
    await idle.stop();
    await setKeys(port, keys, (i) => [
      `due:${i}`,
      '1',
      'PX',
      `${2 * HOUR + Math.floor(Math.random() * 8 * HOUR)}`,
    ]);
    await delay(500);

    const pings = await Pings.begin(port);
    await delay(5_000);
    const without = pings.take();
    const during = [];
    const scans = [];
    const ready = [];
    const cpu = [];
    let sample = empty;
    for (let i = 0; i < rounds; i++) {
      const before = await serverCpu(redis);
      const { contender, started } = await Contender.start('library', {
        port,
        expected: 1,
      });
      cpu.push((await serverCpu(redis)) - before);
      const [node] = started.status.nodes;
      if (node.tracked !== keys) throw new Error(`${node.tracked} tracked`);
      const { at, duration } = node.lastScan;
      const from = at.getTime();
      during.push(
        ...pings
          .take()
          .filter(({ sent }) => sent >= from && sent <= from + duration),
      );
      scans.push(duration);
      ready.push(started.readyAfter);
      sample = await contender.sample({ collectGarbage: true });
      log(
        `round ${i + 1} of ${rounds}: scan ${duration} ms, ready after ${round(started.readyAfter)} ms`,
      );
      await contender.stop();
      await delay(500);
      pings.take();
    }
    pings.end();
    return {
      keys,
      scan: scans,
      scanMedian: median(scans),
      ready: round(median(ready)),
      redisCpu: round(median(cpu), 2),
      pingWithout: percentiles(without),
      pingDuring: percentiles(during),
      rss: round(sample.rss / MB, 1),
      rssEmpty: round(empty.rss / MB, 1),
      bytesPerKey: round((sample.heap - empty.heap) / keys),
    };
  } finally {
    redis.disconnect();
    await server.stop();
  }
}

/** @param {{ took: number }[]} answers */
function percentiles(answers) {
  const sorted = answers.map(({ took }) => took).toSorted((a, b) => a - b);
  return {
    count: sorted.length,
    p50: round(quantile(sorted, 0.5), 2),
    p99: round(quantile(sorted, 0.99), 2),
    max: round(quantile(sorted, 1), 2),
  };
}

/** Another client, which sends a PING every millisecond whether or not the last one was answered. */
class Pings {
  /** @type {number[]} */
  #sent = [];
  /** @type {{ sent: number, took: number }[]} */
  #answers = [];

  /** @param {import('node:net').Socket} socket */
  constructor(socket) {
    this.socket = socket;
    let bytes = 0;
    socket.on('data', (/** @type {Buffer} */ data) => {
      const now = performance.now();
      bytes += data.length;
      for (; bytes >= 7; bytes -= 7) {
        const sent = this.#sent.shift() ?? now;
        this.#answers.push({
          sent: performance.timeOrigin + sent,
          took: now - sent,
        });
      }
    });
    this.timer = setInterval(() => {
      this.#sent.push(performance.now());
      socket.write('PING\r\n');
    }, 1);
  }

  /** @param {number} port */
  static async begin(port) {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new Pings(socket);
  }

  /** The answers since the last call. */
  take() {
    return this.#answers.splice(0);
  }

  end() {
    clearInterval(this.timer);
    this.socket.destroy();
  }
}
