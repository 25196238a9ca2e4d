import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import type { TestServer } from './servers.js';

/**
 * A port of this machine that speaks TLS for a server, with a certificate for `localhost` that
 * nobody knows. Not the server's own TLS: not every build of Redis has it.
 */
export async function tlsPort(
  server: TestServer,
): Promise<{ port: number; ca: string }> {
  const { cert, key } = await makeCertificate();
  const front = createServer({ cert, key }, (socket) => {
    const back = connect(server.port, server.host);
    socket.pipe(back).pipe(socket);
    socket.on('error', () => back.destroy());
    back.on('error', () => socket.destroy());
  });
  front.on('tlsClientError', () => undefined);
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  onTestFinished(async () => {
    front.close();
    await once(front, 'close');
  });
  return { port: (front.address() as AddressInfo).port, ca: cert };
}

async function makeCertificate(): Promise<{ cert: string; key: string }> {
  const files = await certificateFiles();
  try {
    const [cert, key] = [files.cert, files.key].map((f) => readFile(f, 'utf8'));
    return { cert: await cert!, key: await key! };
  } finally {
    await files.remove();
  }
}

/** A certificate of its own making, and its key, for a server's own TLS. */
export async function certificateFiles(): Promise<{
  cert: string;
  key: string;
  remove: () => Promise<void>;
}> {
  const dir = await mkdtemp(join(tmpdir(), 'nestjs-redis-expiry-tls-'));
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')];
  const remove = () => rm(dir, { recursive: true, force: true });
  try {
    await promisify(execFile)('openssl', [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2'],
      ...['-subj', '/CN=localhost', '-addext'],
      'subjectAltName=DNS:localhost,IP:127.0.0.1',
      ...['-keyout', key, '-out', cert],
    ]);
  } catch (error) {
    await remove();
    throw error;
  }
  return { cert, key, remove };
}
