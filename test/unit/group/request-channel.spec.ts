import { describe, expect, it, onTestFinished } from 'vitest';
import { type Refusal, refusals } from '../../support/group/write-refusals.js';
import { closed, eventsOf, judgeOn } from '../../support/group/judging.js';
import { KEYS } from '../../support/group/parts.js';
import { type TestServer, useServer } from '../../support/servers.js';

const [A, B, NONE] = ['a', 'b', 'none'].map((key) => Buffer.from(key)) as [
  Buffer,
  Buffer,
  Buffer,
];

/** Names of the keys of which an event was appended. */
const expired = async (server: TestServer): Promise<string[]> =>
  (await eventsOf(server)).map(({ redisKey }) => redisKey.toString());

/** The server refuses writes until the function that it resolves with is called. */
async function refusing(
  server: TestServer,
  { begin, end }: Refusal,
): Promise<() => Promise<unknown>> {
  let ended: Promise<unknown> | undefined;
  const accept = () => (ended ??= end(server));
  onTestFinished(async () => void (await accept()));
  await begin(server);
  return accept;
}

describe.for(refusals)('a request that is refused with $code', (refusal) => {
  const server = useServer();

  it('was not done, and holds up no other', async () => {
    const { judge, index, evidence } = await judgeOn(server);
    await index.enrol([{ key: B, at: 5 }]);
    evidence.announce('a');
    const accept = await refusing(server, refusal);
    await expect(judge.judge([A])).rejects.toThrow(refusal.code);

    // It goes by what is known by now, and not by what was known then.
    evidence.settle('a', 1);
    await accept();
    await judge.judge([NONE]);

    expect(await expired(server)).toEqual([]);
    evidence.announce('b');
    await judge.judge([B]);
    expect(await expired(server)).toEqual(['b']);
  });

  it('may still be done where it was sent before, and so is asked again', async () => {
    const { judge, send, index, evidence } = await judgeOn(server);
    evidence.announce('a');
    index.before = closed;
    await expect(judge.judge([A])).rejects.toThrow('closed');
    index.before = () => Promise.resolve();
    const accept = await refusing(server, refusal);
    await expect(judge.judge([A])).rejects.toThrow(refusal.code);
    await accept();

    // It comes at last, by the connection that was lost.
    await send(1, { keys: [A], known: 'e' });
    await judge.judge([A]);

    expect(await expired(server)).toEqual(['a']);
    expect(evidence.isProven('a')).toBe(false);
  });

  it('keeps a lost one from being done, though it was refused at first', async () => {
    const { sweep, send, index, evidence } = await judgeOn(server);
    await index.enrol([{ key: A, at: 5 }]);
    evidence.announce('a');
    await sweep.prepare();
    index.before = closed;
    await expect(sweep.find([A])).rejects.toThrow('closed');
    index.before = () => Promise.resolve();
    evidence.forget();
    const accept = await refusing(server, refusal);

    await expect(sweep.prepare()).rejects.toThrow(refusal.code);
    await accept();
    await sweep.prepare();

    const lost = send(1, { keys: [A], known: 'e' });
    await expect(lost).rejects.toThrow('STALE');
    expect(await expired(server)).toEqual([]);
    expect(await server.redis.zscore(KEYS.index, 'a')).toBe('5');
  });
});
