/** One instance of several. It does not outlive the process that started it. */
process.once('disconnect', () => process.exit());
await import(new URL('dist/main.js', import.meta.url).href);
process.send?.('up');
