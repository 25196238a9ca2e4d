import { isUtf8 } from 'node:buffer';
import {
  type DeadLetter,
  type DeadLetters,
  readLetterId,
} from '../group/dead-letters.js';
import type { Arguments } from './arguments.js';
import { CliError, notAccepted } from './cli-error.js';
import { GroupSession } from './group-session.js';
import type { Output } from './output.js';
import { counted, oneLine } from './output.js';

const AN_ID =
  'the id of a letter, as dead-letters list tells it, as presence/1764417600000-0';
/** Letters that are asked for at a time where all of them are meant. */
const PAGE = 500;
/** Characters of a key or an error that a table on a terminal shows. */
const CELL = 60;

/** Prints a page of a group's letters, the oldest first, and resolves with the exit code. */
export async function listLetters(
  url: string,
  group: string,
  args: Arguments,
  output: Output,
): Promise<number> {
  const { count, after } = args;
  if (after !== undefined) checkGroup('Option --after', after, group);
  return withLetters(url, group, args, async (ask) => {
    // One more tells whether there is another page.
    const found = await ask((letters) => letters.list(count + 1, after));
    const page = found.slice(0, count);
    const next = found.length > count ? page.at(-1)!.id : undefined;
    if (args.json) {
      const letters = page.map(plain);
      output.json({ group, letters, ...(next !== undefined && { next }) });
      return 0;
    }
    output.table(
      ['id', 'given up', 'handler', 'key', 'attempts', 'error'],
      page.map((letter) => rowOf(letter, output.isTerminal)),
    );
    if (output.isTerminal) {
      if (page.length === 0) output.line('There are no dead letters.');
      if (next !== undefined) output.line(`The next page: --after ${next}`);
    }
    return 0;
  });
}

/** Prints all that is known of one letter. */
export async function showLetter(
  url: string,
  id: string,
  args: Arguments,
  output: Output,
): Promise<number> {
  const { group } = readId(id);
  return withLetters(url, group, args, async (ask) => {
    const letter = await ask((letters) => letters.get(id));
    if (!letter) throw new CliError(missing(id));
    if (args.json) output.json(plain(letter));
    else
      for (const [name, value] of Object.entries(plain(letter)))
        output.line(`${name}: ${oneLine(textOf(value))}`);
    return 0;
  });
}

/** What may be done with letters, and the word for letters with which it was done. */
const DONE = { redrive: 'redriven', discard: 'discarded' } as const;

/** Redrives or discards letters by their ids. The exit code is 2 where one of them was not there. */
export async function endLetters(
  verb: keyof typeof DONE,
  url: string,
  ids: readonly string[],
  args: Arguments,
  output: Output,
): Promise<number> {
  const group = args.group ?? readId(ids[0]!).group;
  for (const id of ids) checkGroup('The id', id, group);
  return withLetters(url, group, args, async (ask) => {
    const absent: string[] = [];
    for (const id of ids) {
      const isDone = await ask((letters) => letters[verb](id));
      if (!isDone) absent.push(id);
      if (!args.json) output.line(isDone ? `${DONE[verb]} ${id}` : missing(id));
    }
    const done = ids.length - absent.length;
    if (args.json) output.json({ [DONE[verb]]: done, missing: absent });
    return absent.length > 0 ? 2 : 0;
  });
}

/** Redrives or discards all letters that a group has now. */
export async function endAllLetters(
  verb: keyof typeof DONE,
  url: string,
  group: string,
  args: Arguments,
  output: Output,
): Promise<number> {
  return GroupSession.use(url, group, args, async (session) => {
    const { total } = await session.ask((view) => view.look());
    let done = 0;
    // What fails again meanwhile is a letter once more, and not among these.
    for (let left = total.dead; left > 0;) {
      const count = Math.min(PAGE, left);
      const page = await session.ask(({ letters }) => letters.list(count));
      if (page.length === 0) break;
      left -= page.length;
      for (const { id } of page)
        if (await session.ask(({ letters }) => letters[verb](id))) done++;
    }
    if (args.json) output.json({ [DONE[verb]]: done, missing: [] });
    else output.line(`${DONE[verb]} ${counted(done, 'letter')}`);
    return 0;
  });
}

type Ask = <T>(work: (letters: DeadLetters) => Promise<T>) => Promise<T>;

const withLetters = (
  url: string,
  group: string,
  args: Arguments,
  work: (ask: Ask) => Promise<number>,
): Promise<number> =>
  GroupSession.use(url, group, args, (session) =>
    work((question) => session.ask(({ letters }) => question(letters))),
  );

function readId(id: string): { readonly group: string } {
  const name = readLetterId(id);
  if (!name) throw notAccepted('The id', id, AN_ID);
  return name;
}

function checkGroup(what: string, id: string, group: string): void {
  if (readLetterId(id)?.group !== group)
    throw notAccepted(what, id, `${AN_ID}, of group ${JSON.stringify(group)}`);
}

const missing = (id: string): string =>
  `There is no letter ${id}: it was redriven or discarded, or it was deleted because of the option deadLetters.`;

/** The fields of a hash are told as JSON. */
const textOf = (value: unknown): string =>
  typeof value === 'string' ? value : JSON.stringify(value);

/** A letter as JSON tells it. The bytes of a key or a value are told where they are no text. */
const plain = ({ keyBuffer, valueBuffer, ...letter }: DeadLetter): object => ({
  ...letter,
  ...(!isUtf8(keyBuffer) && { keyBase64: keyBuffer.toString('base64') }),
  ...(valueBuffer &&
    !isUtf8(valueBuffer) && { valueBase64: valueBuffer.toString('base64') }),
  ...(letter.deadline && { deadline: letter.deadline.toISOString() }),
  at: letter.at.toISOString(),
});

function rowOf(letter: DeadLetter, isShort: boolean): string[] {
  const cell = (text: string): string => {
    const line = oneLine(text);
    return isShort && line.length > CELL ? `${line.slice(0, CELL - 1)}…` : line;
  };
  return [
    ...[letter.id, letter.at.toISOString(), letter.handler ?? '-'].map(oneLine),
    ...[cell(letter.key), String(letter.attempts), cell(letter.error)],
  ];
}
