/** Whether keys that one look found gone may still be announced because of that look. */
export interface Announcements {
  over: boolean;
}

/**
 * The announcements that a look caused. They come by another connection than its answer, and are over
 * once so many ms have passed and the process has read what had come to its sockets by then. The time
 * alone would tell nothing: a process that was held up finds its timers due before it has read anything.
 */
export function announcementsWithin(ms: number): Announcements {
  const announcements = { over: false };
  const end = (): void => {
    announcements.over = true;
  };
  // The timer may not keep the process alive, but what it begins must not wait for the next event.
  setTimeout(() => setImmediate(end), ms).unref();
  return announcements;
}
