import type { RedisOptions } from 'ioredis';

/**
 * What every connection of the module overrides of the user's options, and why.
 */
export function ownClientOptions(name: string): Partial<RedisOptions> {
  return {
    connectionName: name,
    lazyConnect: true,
    // Channels take no prefix and keys come with theirs: the module adds and strips it by itself.
    keyPrefix: '',
    // A rejected resubscription would be an unhandled rejection, and says nothing of success.
    autoResubscribe: false,
    // Nothing is given up while Redis is away; whoever asks has a deadline of his own.
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    // Replies in the shapes of RESP2, whatever the user's client prefers.
    protocol: 2,
    replyMapping: 'legacy',
    stringNumbers: false,
    readOnly: false,
    monitor: false,
    // Ms for which ioredis waits for a socket to close, also one that is closed already.
    disconnectTimeout: 50,
    reconnectOnError: null,
    retryStrategy: null,
  };
}
