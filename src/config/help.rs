//! What `--help` and `--version` print.

/// One line with the version, in a form that tools made for redis-server can read.
pub fn version() -> String {
    let bits = usize::BITS;
    format!("tandem server v={} bits={bits} malloc=jemalloc\n", env!("CARGO_PKG_VERSION"))
}

/// The help page.
pub fn help() -> String {
    format!(
        "\
tandem {version}: a cache sidecar that speaks the Redis protocol

Usage
  tandem                           sidecar.yaml of this directory if there, else defaults
  tandem FILE [--SETTING VALUE …]  *.yaml has the form of sidecar.yaml, others redis.conf
  tandem - [--SETTING VALUE …]     read the configuration from standard input
  tandem --SETTING VALUE …         defaults, except for these settings
  tandem top [--socket PATH]       watch a running server in the terminal; tandem top --help

Every setting is a flag of the same name, with the values of redis.conf. Flags win over the file;
the last one wins, except that --save and --rename-command add up.

  --config FILE                    the same as FILE in first place
  --check-config                   read everything, say what it would listen on, and leave:
                                   0 if it could start, 1 with the error otherwise
  --dump-default-config            print sidecar.yaml: every setting and what it does
  -v, --version                    print the version
  -h, --help                       print this page

Settings that most people touch
  --unixsocket PATH                listen on a unix socket (the fastest way in)
  --unixsocketperm 660             who may connect to it
  --port 6379                      TCP port; 0 turns TCP off
  --bind '127.0.0.1 -::1'          addresses for TCP; by default this machine only
  --requirepass SECRET             password (safer in a file: others can see flags)
  --workers auto                   threads: as many as the cgroup grants, at most 4
  --maxclients 10000               clients at the same time
  --notify-keyspace-events KEA     publish what happens to keys, expiry to the millisecond
  --loglevel notice                debug, verbose, notice, warning, nothing
  --daemonize no --pidfile PATH --logfile PATH --dir PATH

Examples
  tandem --port 0 --unixsocket /run/app/cache.sock
  tandem /etc/redis/redis.conf --daemonize no
  echo 'port 7000' | tandem - --loglevel verbose
  redis-cli -s /run/app/cache.sock config get 'max*'

All settings, with defaults and ranges: docs/configuration.md, or tandem --dump-default-config
",
        version = env!("CARGO_PKG_VERSION")
    )
}
