import { ConsoleLogger, Logger } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AppModule } from './app.module.js';
import { DeviceSimulator } from './device-simulator.service.js';

/** `#1`, `#2` and so on, where several instances share the work. */
const { INSTANCE } = process.env;

async function bootstrap(): Promise<void> {
  const app = await NestFactory.create(AppModule, {
    logger: new ConsoleLogger({ prefix: INSTANCE }),
    // A browser keeps the event stream open for ever; shutdown must not wait for it.
    forceCloseConnections: true,
  });
  // On SIGINT and SIGTERM: stop listening, let handlers finish, close the connections, exit.
  app.enableShutdownHooks([], { useProcessExit: true });

  // Of several instances, one serves the page and stands in for the devices.
  if (INSTANCE && INSTANCE !== '#1') {
    await app.init();
    return;
  }
  await app.listen(process.env.PORT ?? 3000);
  const { port } = new URL(await app.getUrl());
  new Logger('DevicePresence').log(`Open http://localhost:${port}`);

  // Handlers listen from here on, so no device can go offline unnoticed.
  app.get(DeviceSimulator).start();
}

await bootstrap();
