import type { Redis } from 'ioredis';
import { main } from '../../../lib/cli/main.js';
import type { Area, DoctorReport, Finding } from '../../../lib/cli/finding.js';

/** What a command wrote, and its exit code. */
export interface Ran {
  readonly code: number;
  readonly text: string;
  /** What went to the other stream. */
  readonly errors: string;
}

/** Runs a command line in this process, as if its output went to a pipe. */
export async function run(...argv: string[]): Promise<Ran> {
  let [text, errors] = ['', ''];
  const code = await main(argv, {
    out: { write: (more) => (text += more) },
    errors: { write: (more) => (errors += more) },
  });
  return { code, text, errors };
}

/** What the doctor says of a server. */
export interface Diagnosis extends Ran {
  readonly report: DoctorReport;
  of(area: Area): readonly Finding[];
}

export async function doctor(
  url: string,
  ...options: string[]
): Promise<Diagnosis> {
  const ran = await run('doctor', url, '--json', ...options);
  const report = JSON.parse(ran.text) as DoctorReport;
  return {
    ...ran,
    report,
    of: (area) =>
      report.areas.find((each) => each.area === area)?.findings ?? [],
  };
}

/** Does what a line to paste says, by a client in place of redis-cli. */
export async function paste(
  redis: Redis,
  line: string | undefined,
): Promise<unknown> {
  const words = Array.from(
    (line ?? '').matchAll(/'([^']*)'|(\S+)/g),
    ([, quoted, plain]) => quoted ?? plain!,
  );
  if (words[0] !== 'redis-cli') throw new Error(`not to be pasted: ${line}`);
  const [command, ...args] = words.slice(5);
  return redis.call(command!, ...args);
}
