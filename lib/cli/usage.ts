/** What `--help` prints. */
export const USAGE = `Usage: nestjs-redis-expiry <command> <url> [options]

  doctor <url>                 looks at a Redis server: whether expiries will be handled on time, and if not, what mends it
    --pattern 'device:*'       a pattern of your handlers; may be given several times
    --group presence           what a group of this name needs is looked at as well
    --measure 20s              for how long lateness is measured (500ms to 10m)
    --read-only                writes nothing, also no keys of its own: no self-test, no measuring
    --strict                   exit code 1 for warnings

  status <url>                 how a group is doing: its leaders, its backlog, its instances
    --group presence           which group
    --strict                   exit code 1 for warnings

  dead-letters list <url>      the letters of a group, the oldest first
    --group presence           which group
    --count 20                 how many at most (1 to 1000)
    --after <id>               those after this letter
  dead-letters show <url> <id>
  dead-letters redrive <url> <id>...   puts letters back, to be tried as if for the first time
  dead-letters discard <url> <id>...   deletes letters
    --all --group presence     instead of ids: all letters that the group has now

  --namespace rx               the module's option namespace
  --key-prefix app:            the keyPrefix of the module's connection
  --primary mymaster           the URL is that of a Sentinel of several primaries: which one
  --cluster                    it is a Cluster, also where it does not say so
  --json                       one JSON document instead of text
  --help, --version

Exit codes: 0 fine, 1 warnings with --strict, 2 it will not work, it is not there, or it cannot be asked.
The password may stand in the URL, or in REDISCLI_AUTH; it is never printed. NO_COLOR is honoured.
`;
