/** Writes many keys fast: plain protocol in big pieces, many of them on their way. */
import { once } from 'node:events';
import { connect } from 'node:net';

const PER_PIECE = 1_000;
/** Pieces that may wait for their answers. */
const ON_THEIR_WAY = 8;
const OK = '+OK\r\n'.length;

/** @param {readonly string[]} words ASCII */
const command = (words) =>
  `*${words.length}\r\n${words.map((w) => `$${w.length}\r\n${w}\r\n`).join('')}`;

/**
 * The commands `SET key value …` of some keys, ready to be sent again and again.
 *
 * @param {number} count
 * @param {(i: number) => string[]} words what follows SET, ASCII
 * @param {number} [perPiece]
 * @returns {Iterable<{ bytes: Buffer, count: number }>}
 */
export function* setCommands(count, words, perPiece = PER_PIECE) {
  for (let from = 0; from < count; from += perPiece) {
    const to = Math.min(count, from + perPiece);
    let text = '';
    for (let i = from; i < to; i++) text += command(['SET', ...words(i)]);
    yield { bytes: Buffer.from(text, 'latin1'), count: to - from };
  }
}

/**
 * Sends the pieces as fast as the server takes them, or no faster than `perSecond`.
 *
 * @param {number} port
 * @param {Iterable<{ bytes: Buffer, count: number }>} pieces
 * @param {number} [perSecond] commands
 */
export async function send(port, pieces, perSecond = Infinity) {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  let waitingFor = 0;
  /** @type {Error | undefined} */
  let failure;
  let wake = () => {};
  const fail = (/** @type {Error} */ error) => {
    failure ??= error;
    wake();
  };
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('The server closed the connection')));
  socket.on('data', (/** @type {Buffer} */ answers) => {
    if (answers.includes('-')) fail(new Error(answers.toString('latin1')));
    waitingFor -= answers.length;
    wake();
  });
  const untilAtMost = async (/** @type {number} */ bytes) => {
    while (!failure && waitingFor > bytes)
      await new Promise((resolve) => (wake = () => resolve(undefined)));
    if (failure) throw failure;
  };
  const began = performance.now();
  let sent = 0;
  for (const { bytes, count } of pieces) {
    const early = (sent / perSecond) * 1_000 - (performance.now() - began);
    if (early > 0) await new Promise((resolve) => setTimeout(resolve, early));
    socket.write(bytes);
    sent += count;
    waitingFor += count * OK;
    await untilAtMost((ON_THEIR_WAY - 1) * PER_PIECE * OK);
  }
  await untilAtMost(0);
  socket.removeAllListeners('close');
  socket.destroy();
}

/**
 * Sends the pieces as many clients would: each by itself, over some connections in turn.
 *
 * @param {number} port
 * @param {Iterable<{ bytes: Buffer, count: number }>} pieces
 * @param {number} perSecond pieces
 * @param {number} [connections]
 */
export async function sendApart(port, pieces, perSecond, connections = 50) {
  let waitingFor = 0;
  /** @type {Error | undefined} */
  let failure;
  const sockets = await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      socket.on('error', (error) => (failure ??= error));
      socket.on('data', (/** @type {Buffer} */ answers) => {
        if (answers.includes('-')) failure ??= new Error(answers.toString());
        waitingFor -= answers.length;
      });
      return socket;
    }),
  );
  const tick = (connections / perSecond) * 1_000;
  const began = performance.now();
  let turns = 0;
  const left = pieces[Symbol.iterator]();
  for (let done = false; !done || waitingFor > 0; turns++) {
    // One for each connection; the next one not before its time.
    for (const socket of done ? [] : sockets) {
      const next = left.next();
      done = next.done === true;
      if (next.done) break;
      socket.write(next.value.bytes);
      waitingFor += next.value.count * OK;
    }
    const early = turns * tick - (performance.now() - began);
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, early)));
    if (failure) throw failure;
  }
  for (const socket of sockets) socket.destroy();
}

/**
 * @param {number} port
 * @param {number} count
 * @param {(i: number) => string[]} words what follows SET, ASCII
 */
export const setKeys = (port, count, words) =>
  send(port, setCommands(count, words));
