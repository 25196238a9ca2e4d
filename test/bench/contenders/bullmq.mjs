/** The queue that Nest applications usually take for timers: delayed jobs. */
import { Worker } from 'bullmq';
import { serve } from './child.mjs';

serve(async ({ port, concurrency = 100 }, handled) => {
  const worker = new Worker(
    'due',
    async (job) => {
      handled(job.data.n);
    },
    { connection: { host: '127.0.0.1', port }, concurrency },
  );
  worker.on('error', (error) => console.error(error));
  await worker.waitUntilReady();
  return { stop: () => worker.close(true) };
});
