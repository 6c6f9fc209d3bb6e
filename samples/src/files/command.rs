//! The command line: words in, what to do out.

use super::name::Name;
use super::serve::Settings;
use crate::cli;
use lexopt::prelude::*;
use rotor_fsm::{Error, Result};
use rotor_net::server::Workers;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where servers listen, and clients connect to, unless told otherwise.
pub const ADDRESS: &str = "127.0.0.1:6390";
/// The longest file that may be put, unless told otherwise: 1 GiB.
const UPLOAD_BYTES_MAX: u64 = 1 << 30;
/// How long a transfer may stand still, unless told otherwise: somebody may read a file page by page.
const IDLE_SECONDS: u64 = 300;

/// How long an answer may take that is no transfer, unless told otherwise: a disk that is woken takes a few seconds.
const TIMEOUT_SECONDS: u64 = 30;

/// How it is used.
pub const USAGE: &str = "\
usage: files serve DIR [--listen ADDR] [--workers N] [--upload-max SIZE] [--idle SECONDS]
       files list [--null]              SIZE NAME of each file; lines end with a NUL if asked for
       files size NAME [--timeout SECONDS]
       files get NAME [--offset N]      the bytes, from N on, to standard output
       files put NAME [FILE] [--replace]  standard input if there is no FILE
       files exists NAME [--timeout SECONDS]  yes (status 0) or no (status 1)
       files del NAME [--timeout SECONDS]
       files watch                      what changes, a line each, until Ctrl-C
       files demo                       a server and a client that show each other around
Clients take [--connect ADDR]. ADDR is IP:PORT or unix:PATH, 127.0.0.1:6390 if not given. A name may be in a
sub-directory, `sub/name`; one that begins with a dash comes after `--`. A timeout is 30 seconds if not given.
Status: 0 done, 1 refused or failed, 2 misused.
";

/// What to do.
#[derive(Debug)]
pub enum Command {
    /// Serve a directory.
    Serve(Settings),
    /// Ask a server.
    Ask {
        /// Which.
        connect: String,
        /// What.
        action: Action,
        /// How long the answer may take if that is no transfer.
        timeout: Duration,
    },
    /// Show what there is.
    Demo,
    /// Say how it is used.
    Help,
}

/// What a server can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// For all files.
    List {
        /// Lines end with a NUL rather than a line feed.
        is_null: bool,
    },
    /// For a file's length.
    Size(Name),
    /// For a file.
    Get {
        /// Which.
        name: Name,
        /// From where on.
        offset: u64,
    },
    /// To store a file.
    Put {
        /// As what.
        name: Name,
        /// From where; standard input if there is none.
        file: Option<PathBuf>,
        /// Whether there may be one already.
        may_replace: bool,
    },
    /// Whether there is a file.
    Exists(Name),
    /// To remove a file.
    Del(Name),
    /// For what changes.
    Watch,
}

/// The words as they came, sorted.
#[derive(Default)]
struct Given {
    values: Vec<OsString>,
    listen: Option<String>,
    connect: Option<String>,
    workers: Option<usize>,
    upload_max: Option<u64>,
    idle: Option<u64>,
    offset: Option<u64>,
    timeout: Option<u64>,
    is_null: bool,
    may_replace: bool,
    is_help: bool,
}

impl Command {
    /// Reads the program's arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_args(args: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut given = Given::read(args)?;
        if given.is_help {
            return Ok(Self::Help);
        }
        let mut values = std::mem::take(&mut given.values).into_iter();
        let verb = values.next().unwrap_or_default();
        let mut next = |what: &str| {
            let missing = || Error::msg(format!("{} needs {what}", verb.display()));
            values.next().ok_or_else(missing)
        };
        let mut name = || next("a NAME").map(Name::from);
        let action = match verb.to_str() {
            Some("serve") => {
                let settings = given.settings(next("a DIR")?.into());
                given.refuse_rest(values.next())?;
                return Ok(Self::Serve(settings));
            }
            Some("demo") => {
                given.refuse_rest(values.next())?;
                return Ok(Self::Demo);
            }
            Some("list") => Action::List {
                is_null: std::mem::take(&mut given.is_null),
            },
            Some("size") => Action::Size(name()?),
            Some("get") => Action::Get {
                name: name()?,
                offset: given.offset.take().unwrap_or(0),
            },
            Some("put") => Action::Put {
                name: name()?,
                file: values.next().map(PathBuf::from),
                may_replace: std::mem::take(&mut given.may_replace),
            },
            Some("exists") => Action::Exists(name()?),
            Some("del") => Action::Del(name()?),
            Some("watch") => Action::Watch,
            Some("") => return Err(Error::msg("what to do is missing")),
            _ => {
                let words = format!("there is no command {}", verb.display());
                return Err(Error::msg(words));
            }
        };
        let mut timeout = None;
        if matches!(action, Action::Size(_) | Action::Exists(_) | Action::Del(_)) {
            timeout = given.timeout.take();
        }
        let connect = given.connect.take().unwrap_or_else(|| ADDRESS.to_owned());
        given.refuse_rest(values.next())?;
        Ok(Self::Ask {
            connect,
            action,
            timeout: Duration::from_secs(timeout.unwrap_or(TIMEOUT_SECONDS)),
        })
    }
}

impl Given {
    fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut given = Self::default();
        let mut parser = lexopt::Parser::from_args(args);
        while let Some(arg) = parser.next()? {
            match arg {
                Long("listen") => given.listen = Some(parser.value()?.string()?),
                Long("connect") => given.connect = Some(parser.value()?.string()?),
                Long("workers") => given.workers = Some(parser.value()?.parse()?),
                Long("upload-max") => {
                    given.upload_max = Some(cli::byte_count(&parser.value()?.string()?)?);
                }
                Long("idle") => given.idle = Some(parser.value()?.parse()?),
                Long("offset") => given.offset = Some(parser.value()?.parse()?),
                Long("timeout") => given.timeout = Some(parser.value()?.parse()?),
                Long("null") => given.is_null = true,
                Long("replace") => given.may_replace = true,
                Long("help") | Short('h') => given.is_help = true,
                Value(value) => given.values.push(value),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(given)
    }

    fn settings(&mut self, dir: PathBuf) -> Settings {
        Settings {
            dir,
            listen: self.listen.take().unwrap_or_else(|| ADDRESS.to_owned()),
            workers: self.workers.take().map_or(Workers::Auto, Workers::Count),
            upload_bytes_max: self.upload_max.take().unwrap_or(UPLOAD_BYTES_MAX),
            idle: Duration::from_secs(self.idle.take().unwrap_or(IDLE_SECONDS)),
        }
    }

    /// What the command has not taken does not belong to it.
    fn refuse_rest(&self, value: Option<OsString>) -> Result<()> {
        let options = [
            ("--listen", self.listen.is_some()),
            ("--connect", self.connect.is_some()),
            ("--workers", self.workers.is_some()),
            ("--upload-max", self.upload_max.is_some()),
            ("--idle", self.idle.is_some()),
            ("--offset", self.offset.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--null", self.is_null),
            ("--replace", self.may_replace),
        ];
        let option = options.iter().find(|(_, is_given)| *is_given);
        match (option, value) {
            (Some((option, _)), _) => Err(Error::msg(format!("{option} does not belong here"))),
            (None, Some(value)) => {
                let words = format!("{} is one argument too many", value.display());
                Err(Error::msg(words))
            }
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command> {
        Command::from_args(
            line.split(' ')
                .filter(|word| !word.is_empty())
                .map(OsString::from),
        )
    }

    fn action(line: &str) -> (String, Action) {
        match command(line).unwrap() {
            Command::Ask {
                connect, action, ..
            } => (connect, action),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_command_is_read() {
        let here = |action| (ADDRESS.to_owned(), action);
        assert_eq!(action("list"), here(Action::List { is_null: false }));
        assert_eq!(action("list --null"), here(Action::List { is_null: true }));
        assert_eq!(action("size a"), here(Action::Size("a".into())));
        let (name, offset) = ("sub/a".into(), 7);
        assert_eq!(
            action("get sub/a --offset 7 --connect 10.0.0.1:5"),
            ("10.0.0.1:5".to_owned(), Action::Get { name, offset })
        );
        let put = |file: Option<&str>, may_replace| Action::Put {
            name: "a".into(),
            file: file.map(PathBuf::from),
            may_replace,
        };
        assert_eq!(action("put a"), here(put(None, false)));
        assert_eq!(action("put --replace a b"), here(put(Some("b"), true)));
        assert_eq!(action("exists -- -a"), here(Action::Exists("-a".into())));
        assert_eq!(action("del a"), here(Action::Del("a".into())));
        assert_eq!(action("watch"), here(Action::Watch));
        let Command::Serve(settings) =
            command("serve /x --workers 3 --upload-max 2kb --idle 9").unwrap()
        else {
            panic!("it serves");
        };
        assert_eq!(settings.dir, PathBuf::from("/x"));
        assert_eq!(settings.listen, ADDRESS);
        assert_eq!(settings.workers, Workers::Count(3));
        assert_eq!(settings.upload_bytes_max, 2048);
        assert_eq!(settings.idle, Duration::from_secs(9));
        let seconds = |line: &str| match command(line).unwrap() {
            Command::Ask { timeout, .. } => timeout.as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([seconds("del a"), seconds("size a --timeout 5")], [30, 5]);
        assert!(matches!(command("demo"), Ok(Command::Demo)));
        assert!(matches!(command("get --help"), Ok(Command::Help)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("", "what to do is missing"),
            ("fetch a", "no command fetch"),
            ("get", "get needs a NAME"),
            ("serve", "serve needs a DIR"),
            ("size a b", "b is one argument too many"),
            ("put a b c", "c is one argument too many"),
            ("list --offset 3", "--offset does not belong here"),
            ("list --timeout 3", "--timeout does not belong here"),
            ("serve x --timeout 3", "--timeout does not belong here"),
            ("get a --replace", "--replace does not belong here"),
            ("watch --listen 1.2.3.4:5", "--listen does not belong here"),
            (
                "serve x --connect 1.2.3.4:5",
                "--connect does not belong here",
            ),
            ("get a --offset -3", "-3"),
            ("serve x --workers many", "many"),
            ("serve x --upload-max 5tb", "5tb"),
            ("list --colour", "colour"),
        ] {
            let error = command(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
