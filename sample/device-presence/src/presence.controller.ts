import { readFile } from 'node:fs/promises';
import {
  Controller,
  Get,
  Header,
  type MessageEvent,
  Sse,
} from '@nestjs/common';
import { type Observable, defer, merge } from 'rxjs';
import { Board } from './board.service.js';
import { GRACE, TTL } from './presence.service.js';

const PAGE = new URL('../page.html', import.meta.url);

/** The wall of devices, and the events that keep it up to date. */
@Controller()
export class PresenceController {
  constructor(private readonly board: Board) {}

  @Get()
  @Header('Content-Type', 'text/html; charset=utf-8')
  page(): Promise<string> {
    return readFile(PAGE, 'utf8');
  }

  /** All devices as they are now, then each one as it changes. */
  @Sse('events')
  events(): Observable<MessageEvent> {
    // Listening comes first, lest a change slip through while the snapshot is taken.
    return merge(
      this.board.events,
      defer(() => this.snapshot()),
    );
  }

  private async snapshot(): Promise<MessageEvent> {
    const devices = await this.board.devices();
    const times = { now: Date.now(), ttl: TTL, grace: GRACE };
    return { type: 'snapshot', data: { ...times, devices } };
  }
}
