import type { RedisOptions } from 'ioredis';

/**
 * What every connection of the module overrides of the user's ioredis options. Those that are not
 * named here are the user's, as they are when the connection is made.
 *
 * Every connection of the module waits on purpose: for expiries, for events of a group, or for a
 * server that is away. So options that limit how long a command may take apply to none. A connection
 * that hangs is found by a PING every two seconds (`Watchdog`), and a caller who cannot wait sets a
 * deadline of its own.
 *
 * | ioredis option (5 and 6)                          | here      | why                                              |
 * | ------------------------------------------------- | --------- | ------------------------------------------------ |
 * | host, port, path, family, tls, Connector          | user's    |                                                  |
 * | username, password                                | user's    | read anew for each connection                    |
 * | db                                                | user's    | as it was at start: channels are named by it     |
 * | noDelay, keepAlive, clientInfoTag, disableClientInfo | user's |                                                  |
 * | connectTimeout                                    | user's    | limits the handshake too                         |
 * | enableReadyCheck, maxLoadingRetryTime             | user's    | INFO may be forbidden                            |
 * | sentinels, name, natMap, sentinelUsername, sentinelPassword, sentinelTLS, enableTLSForSentinelMode, updateSentinels, sentinelCommandTimeout, sentinelRetryStrategy | user's | read anew for each connection |
 * | role                                              | master    | replicas announce no expiries                    |
 * | failoverDetector (and its sentinelReconnectStrategy, sentinelMaxConnections) | off | all Sentinels are asked by the module |
 * | retryStrategy, clusterRetryStrategy               | off       | gives the delay between two connections of the module, which never gives up |
 * | reconnectOnError, autoResendUnfulfilledCommands   | off       | each connection is a client of its own           |
 * | autoResubscribe                                   | off       | a refused one would be an unhandled rejection, and says nothing of success |
 * | commandTimeout, socketTimeout, blockingTimeout, blockingTimeoutGrace | off | connections wait on purpose   |
 * | maxRetriesPerRequest                              | off       | no command is given up while Redis is away       |
 * | enableOfflineQueue, offlineQueue, commandQueue    | on        | ioredis queues what is sent in the handshake     |
 * | enableAutoPipelining, autoPipeliningIgnoredCommands | off     | commands are batched by the module               |
 * | connectionName                                    | `name`    | the option of the module                         |
 * | keyPrefix                                         | none      | channels take none, keys come with theirs: the module adds and strips it |
 * | protocol, replyMapping, stringNumbers             | RESP2     | replies have the shapes that the module reads    |
 * | readOnly, monitor                                 | off       | primaries are talked to, with ordinary commands  |
 * | scripts, himportFieldsets                         | none      | they are the user's commands, and could take the names of others |
 * | showFriendlyErrorStack                            | off       | takes a stack for each command                   |
 * | lazyConnect                                       | on        | the module connects when it is ready for what comes; the user's says whether start-up waits |
 * | disconnectTimeout                                 | 50 ms     | ioredis waits so long for a socket to close, also one that is closed already |
 * | Cluster: natMap, dnsLookup, useSRVRecords, resolveSrv, slotsRefreshTimeout | user's | find the first nodes     |
 * | Cluster: scaleReads, maxRedirections, retryDelayOn…, shardedSubscribers, slotsRefreshInterval, clusterNodeRetryStrategy | unused | each node has connections of its own |
 */
export function ownClientOptions(name: string): Partial<RedisOptions> {
  return {
    connectionName: name,
    lazyConnect: true,
    disconnectTimeout: 50,
    retryStrategy: null,
    reconnectOnError: null,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    commandTimeout: undefined,
    socketTimeout: undefined,
    blockingTimeout: undefined,
    blockingTimeoutGrace: undefined,
    maxRetriesPerRequest: null,
    enableOfflineQueue: true,
    enableAutoPipelining: false,
    keyPrefix: '',
    protocol: 2,
    replyMapping: 'legacy',
    stringNumbers: false,
    readOnly: false,
    monitor: false,
    role: 'master',
    failoverDetector: false,
    scripts: undefined,
    himportFieldsets: undefined,
    showFriendlyErrorStack: false,
  };
}
