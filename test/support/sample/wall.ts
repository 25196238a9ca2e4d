import { type Browser, type Page, chromium } from 'playwright-core';
import { findChromium } from './chromium.js';

/** What the wall shows of one device. */
export interface Tile {
  /** `online`, `about to go` or `offline`. */
  readonly status: string;
  /** In ms, of a device that is offline. */
  readonly lateness?: number;
  /** Per cent, of a device that is offline, if it is known. */
  readonly battery?: number;
  /** How many ms before its key expired the battery was read. */
  readonly valueAge?: number;
  /** Of several instances, the one that handled it. */
  readonly handledBy?: string;
}

/** What the wall shows of several instances: how many expired, were handled, and so on. */
export type Tally = Record<string, number>;

/** The sample's page as someone sees it. */
export interface Wall {
  /** Undefined while it does not show that device. */
  tile(id: string): Promise<Tile | undefined>;
  /** Undefined while it shows none. */
  tally(): Promise<Tally | undefined>;
  /** Whatever a page must not do: script errors, requests to other hosts. */
  readonly problems: readonly string[];
  close(): Promise<void>;
}

/** In Chromium; where none is to be had, as the event stream that feeds the page. */
export async function openWall(url: string): Promise<Wall> {
  const executablePath = await findChromium();
  if (executablePath !== undefined)
    return BrowserWall.open(url, executablePath);
  console.log(
    'No Chromium: the sample was looked at through its event stream only',
  );
  return StreamWall.open(url);
}

const chromiumArguments = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic'],
  ...['--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
];

class BrowserWall implements Wall {
  readonly problems: string[] = [];

  private constructor(
    private readonly browser: Browser,
    private readonly page: Page,
    url: string,
  ) {
    page.on('pageerror', ({ message }) => this.problems.push(message));
    page.on('console', (line) => {
      if (line.type() === 'error') this.problems.push(line.text());
    });
    page.on('request', (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol !== 'data:' && origin !== new URL(url).origin)
        this.problems.push(`asked for ${request.url()}`);
    });
  }

  static async open(url: string, executablePath: string): Promise<BrowserWall> {
    // With a profile of its own, which starts empty and is removed at the end.
    const browser = await chromium.launch({
      executablePath,
      args: chromiumArguments,
    });
    const page = await browser.newPage();
    const wall = new BrowserWall(browser, page, url);
    await page.goto(url);
    return wall;
  }

  async tile(id: string): Promise<Tile | undefined> {
    const tile = this.page.locator(`[data-device="${id}"]`);
    if ((await tile.count()) === 0) return undefined;
    const text = await tile.innerText();
    const number = (expression: RegExp): number | undefined => {
      const found = expression.exec(text)?.[1];
      return found === undefined ? undefined : Number(found);
    };
    return {
      status: /^(online|about to go|offline)\b/m.exec(text)?.[1] ?? text,
      lateness: number(/(\d+) ms late/),
      battery: number(/^battery (\d+) %/m),
      valueAge: number(/ %, (\d+) ms old/),
      handledBy: / late · (#\d)/.exec(text)?.[1],
    };
  }

  async tally(): Promise<Tally | undefined> {
    const text = await this.page.locator('#tally p').innerText();
    if (text === '') return undefined;
    const each = [...text.matchAll(/(\w+) (\d+)/g)];
    return Object.fromEntries(each.map(([, what, n]) => [what, Number(n)]));
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}

type Device = Tile & { readonly id: string; readonly expiring?: boolean };
/** The data of any event. */
type Told = Device & { readonly devices?: Device[]; readonly counts?: Tally };

class StreamWall implements Wall {
  readonly problems: string[] = [];
  readonly #tiles = new Map<string, Tile>();
  #tally: Tally | undefined;
  readonly #leaving = new AbortController();

  static async open(url: string): Promise<StreamWall> {
    const wall = new StreamWall();
    const page = await fetch(url);
    if (!(await page.text()).includes("new EventSource('events')"))
      wall.problems.push('the page does not use the event stream');
    const events = await fetch(new URL('events', url), {
      signal: wall.#leaving.signal,
    });
    wall.#read(events).catch((error: unknown) => {
      if (!wall.#leaving.signal.aborted) wall.problems.push(String(error));
    });
    return wall;
  }

  async tile(id: string): Promise<Tile | undefined> {
    return this.#tiles.get(id);
  }

  async tally(): Promise<Tally | undefined> {
    return this.#tally;
  }

  async close(): Promise<void> {
    this.#leaving.abort();
  }

  async #read({ body }: Response): Promise<void> {
    let text = '';
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
      const events = (text + chunk).split('\n\n');
      text = events.pop() ?? '';
      for (const event of events) this.#take(event);
    }
  }

  #take(event: string): void {
    const data = /^data: (.*)$/m.exec(event)?.[1];
    if (data === undefined) return;
    const type = /^event: (.*)$/m.exec(event)?.[1];
    const told = JSON.parse(data) as Told;
    if (type === 'tally') this.#tally = told.counts;
    if (type !== 'snapshot' && type !== 'device') return;
    for (const { id, expiring, ...device } of told.devices ?? [told]) {
      const status = expiring ? 'about to go' : device.status;
      const { lateness, battery, valueAge, handledBy } = device;
      const tile = { status, lateness, battery, valueAge, handledBy };
      this.#tiles.set(id, tile);
    }
  }
}
