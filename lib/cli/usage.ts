/** What `--help` prints. */
export const USAGE = `Usage: nestjs-redis-expiry <command> <url> [options]

  doctor <url>                 looks at a Redis server: whether expiries will be handled on time, and if not, what mends it
    --pattern 'device:*'       a pattern of your handlers; may be given several times
    --group presence           what a group of this name needs is looked at as well
    --measure 20s              for how long lateness is measured (500ms to 10m)
    --read-only                writes nothing, also no keys of its own: no self-test, no measuring
    --cluster                  it is a Cluster, also where it does not say so
    --strict                   exit code 1 for warnings

  --namespace rx               the module's option namespace
  --json                       one JSON document instead of text
  --help, --version

Exit codes: 0 fine, 1 warnings with --strict, 2 it will not work or cannot be asked.
The password may stand in the URL, and is never printed. NO_COLOR is honoured.
`;
