/** The classes that the letter `A` stands for, in every version of Redis and Valkey. */
const ALL = 'g$lshzxetd';

/**
 * Classes that `CONFIG GET` does not print once `A` is complete, and the event by which each shows
 * itself: whether they are on can only be tried out.
 */
export const HIDDEN_CLASSES: Readonly<Record<string, string>> = {
  new: 'n',
  overwritten: 'o',
  type_changed: 'c',
};

/** The same where nothing of a test key shows whether they are on: arrays, and a limiter of rates. */
export const HIDDEN_UNSHOWN = 'ar';

/** Every class that may be hidden. */
export const HIDDEN = Object.values(HIDDEN_CLASSES).join('') + HIDDEN_UNSHOWN;

/** Letters that came after Redis 6.2: a server may not know them. */
const NEWER = 'dmncoaVITSr';

/** Some letters in portions, such that a server that knows one of a portion knows all, as far as it is a Redis. */
export function portionsOf(letters: string): string[] {
  const isNewer = (letter: string): boolean => NEWER.includes(letter);
  const old = Array.from(letters).filter((letter) => !isNewer(letter));
  const newer = Array.from(letters).filter(isNewer);
  return old.length > 0 ? [old.join(''), ...newer] : newer;
}

/** Every choice of some letters but none of them, the largest first. */
export function choicesOf(letters: string): string[] {
  let choices = [''];
  for (const letter of letters)
    choices = choices.flatMap((choice) => [choice + letter, choice]);
  return choices
    .filter((choice) => choice !== '')
    .toSorted((a, b) => b.length - a.length);
}

/** The letters that must be on. */
export interface NeededFlags {
  /** Classes of events, and the channel families that are listened on. Without a family, either will do. */
  readonly letters: ReadonlySet<string>;
  /** Classes that help, and are left out where the server does not know them. */
  readonly wanted: string;
}

/** A value of `notify-keyspace-events`, compared as a set: Redis prints it in an order of its own. */
export class NotificationFlags {
  readonly #letters: ReadonlySet<string>;

  constructor(readonly text: string) {
    const letters = new Set(text);
    if (letters.has('A')) for (const letter of ALL) letters.add(letter);
    this.#letters = letters;
  }

  has(letter: string): boolean {
    return this.#letters.has(letter);
  }

  /** Classes beyond those it prints may be on. */
  get hides(): boolean {
    return this.has('A');
  }

  /** Whether the server announces expiries, on channels of some family. */
  get announcesExpiry(): boolean {
    return this.has('x') && (this.has('K') || this.has('E'));
  }

  /** The letters that are needed and not on; `K` among them where neither family is on nor asked for. */
  missing(needed: NeededFlags): string {
    const missing = [...needed.letters].filter((letter) => !this.has(letter));
    const family = ['K', 'E'].some(
      (letter) => this.has(letter) || missing.includes(letter),
    );
    if (!family) missing.unshift('K');
    return missing.join('');
  }

  /** These flags and some letters more; none is dropped. */
  plus(letters: string): NotificationFlags {
    return new NotificationFlags([...new Set(this.text + letters)].join(''));
  }
}
