//! What a user may set on the command line of `kv`.

use super::Limits;
use crate::cli;
use lexopt::prelude::*;
use rotor_fsm::{Addr, Error, Result};
use std::time::Duration;

/// How to start the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Addr,
    /// Threads, each with its part of the keys and of the clients. Default 1.
    pub workers: usize,
    /// A client that is silent for one to two times as long is hung up on. Default never, as in Redis.
    pub idle: Duration,
    /// The limits.
    pub limits: Limits,
}

/// More workers than that do not fit into any machine that this was made for.
const WORKERS_MAX: usize = 256;

/// The text of `--help`.
pub const USAGE: &str = "\
usage: kv [OPTIONS]
A key-value server that speaks RESP2. Nothing is kept on disk. SIGTERM or Ctrl-C ends it.
  --listen ADDR      IP:PORT, [IPv6]:PORT or unix:PATH (default 127.0.0.1:6380)
  --workers N        share keys and clients out among N threads (default 1)
  --maxmemory SIZE   refuse writes when keys and values take more: bytes, or 100mb, 2gb (default 0: no limit);
                     each of several threads has an equal part
  --maxclients N     tell further clients so and hang up (default 10000, or what the limit on descriptors allows)
  --timeout SECONDS  hang up on a client that is silent for so long (default 0: never)
";

impl Settings {
    /// The defaults, listening at `listen`.
    pub fn new(listen: Addr) -> Self {
        Self {
            listen,
            workers: 1,
            idle: Duration::MAX,
            limits: Limits::default(),
        }
    }

    /// From the command line; `None` if it asks for help.
    ///
    /// # Errors
    /// What is not known or cannot be read; the message says which and what was expected.
    pub fn parse(mut args: lexopt::Parser) -> Result<Option<Self>> {
        let mut settings = Self::new("127.0.0.1:6380".parse()?);
        while let Some(arg) = args.next()? {
            match arg {
                Long("listen") => settings.listen = args.value()?.string()?.parse()?,
                Long("workers") => match args.value()?.parse()? {
                    workers @ 1..=WORKERS_MAX => settings.workers = workers,
                    _ => {
                        return Err(Error::msg(format!(
                            "--workers must be from 1 to {WORKERS_MAX}"
                        )));
                    }
                },
                Long("maxmemory") => {
                    settings.limits.store_bytes_max =
                        match cli::byte_count(&args.value()?.string()?)? {
                            0 => u64::MAX,
                            bytes => bytes,
                        };
                }
                Long("maxclients") => match args.value()?.parse()? {
                    0 => return Err(Error::msg("--maxclients must be at least 1")),
                    clients => settings.limits.clients_max = clients,
                },
                Long("timeout") => {
                    settings.idle = match args.value()?.parse()? {
                        0 => Duration::MAX,
                        seconds => Duration::from_secs(seconds),
                    };
                }
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Option<Settings>> {
        Settings::parse(lexopt::Parser::from_args(args))
    }

    #[test]
    fn options() {
        let none = parse(&[]).unwrap().unwrap();
        assert_eq!(none.listen.to_string(), "127.0.0.1:6380");
        assert_eq!(
            (none.limits.store_bytes_max, none.limits.clients_max),
            (u64::MAX, 10_000)
        );
        assert_eq!(none.workers, 1);
        let args = "--listen unix:/tmp/kv --maxmemory 2mb --maxclients=7 --timeout 3 --workers 4";
        let all = parse(&args.split(' ').collect::<Vec<_>>())
            .unwrap()
            .unwrap();
        assert_eq!(all.listen.to_string(), "unix:/tmp/kv");
        assert_eq!(
            (all.limits.store_bytes_max, all.limits.clients_max),
            (2 << 20, 7)
        );
        assert_eq!((all.idle, all.workers), (Duration::from_secs(3), 4));
        assert!(parse(&["--help"]).unwrap().is_none());
    }

    #[test]
    fn mistakes_are_named() {
        for (args, expected) in [
            (
                &["--listen", "nowhere"][..],
                "\"nowhere\" is not an address: expected IP:PORT, [IPv6]:PORT or unix:PATH",
            ),
            (&["--listen"], "missing argument for option '--listen'"),
            (
                &["--maxmemory", "1xb"],
                "\"1xb\" is not a size: expected bytes, or a number with kb, mb or gb",
            ),
            (&["--maxclients", "0"], "--maxclients must be at least 1"),
            (&["--workers", "0"], "--workers must be from 1 to 256"),
            (&["--workers", "257"], "--workers must be from 1 to 256"),
            (&["--port", "1"], "invalid option '--port'"),
        ] {
            assert_eq!(parse(args).unwrap_err().to_string(), expected);
        }
    }
}
