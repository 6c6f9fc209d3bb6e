//! Where a command is executed when the keys are shared out among workers.
//!
//! This only decides; it is made from the same table as execution. A command that will be refused for its form is
//! routed to the client's own worker, which refuses it as ever.

use super::super::resp::Args;
use super::super::shard::{Join, Sharding};
use super::table::{self, Id, Spec};
use super::{is, keys};

/// Who executes a command, and how the replies of several become one.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Route {
    /// The client's own worker: no key is involved.
    Here,
    /// The client's own worker, when all earlier replies are out: what the connection is changes.
    Alone,
    /// The worker that holds all its keys.
    At(usize),
    /// Each worker that holds some of its keys gets these, with the arguments that follow each (`step` of them, the
    /// key included).
    Split { step: usize, join: Join },
    /// Every worker.
    All(Join),
}

/// Decides for one request, which must not be empty.
pub(in super::super) fn route(args: Args<'_>, sharding: &Sharding) -> Route {
    let Some(spec) = table::find(args.at(0)).filter(|spec| spec.takes(args.len())) else {
        return Route::Here;
    };
    match spec.id {
        Id::Dbsize | Id::Publish => Route::All(Join::Sum),
        Id::Flushall | Id::Flushdb => Route::All(Join::Ok),
        Id::Keys => Route::All(Join::Arrays),
        Id::Info => Route::All(Join::info(args.from(1))),
        Id::Config if is(args.at(1), "resetstat") && args.len() == 2 => Route::All(Join::Ok),
        Id::Scan => match keys::cursor(args.at(1)) {
            Some(cursor) => Route::At((cursor % sharding.workers() as u64) as usize),
            None => Route::Here,
        },
        Id::Subscribe | Id::Unsubscribe | Id::Psubscribe | Id::Punsubscribe | Id::Reset => {
            Route::Alone
        }
        _ => by_keys(spec, args, sharding),
    }
}

#[inline]
fn by_keys(spec: &Spec, args: Args<'_>, sharding: &Sharding) -> Route {
    match spec.keys {
        [0, ..] => Route::Here,
        [first, last, _] if first == last => Route::At(sharding.of(args.at(1))),
        [.., step] => {
            let step = usize::from(step.unsigned_abs()).max(1);
            // All commands of several keys begin with the first.
            let keys = args.from(1);
            if !keys.len().is_multiple_of(step) {
                return Route::Here;
            }
            let mut workers = keys.iter().step_by(step).map(|key| sharding.of(key));
            let first = workers.next().unwrap_or(0);
            if workers.all(|worker| worker == first) {
                return Route::At(first);
            }
            let join = match spec.id {
                Id::Mget => Join::Values,
                Id::Mset => Join::Ok,
                _ => Join::Sum,
            };
            Route::Split { step, join }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Limits;
    use super::super::super::resp::{Parsed, Parser, Resume};
    use super::*;

    fn route_of(line: &str, workers: usize) -> Route {
        let mut parser = Parser::new(&Limits::default());
        let line = format!("{line}\n");
        let sharding = Sharding::new(workers, [1, 2]);
        match parser.parse(&mut Resume::default(), line.as_bytes()) {
            Parsed::Complete { args, .. } => route(args, &sharding),
            other => panic!("not a request: {other:?}"),
        }
    }

    #[test]
    fn a_key_decides_whatever_the_command() {
        let at = Sharding::new(5, [1, 2]).of(b"some key");
        for line in [
            "get 'some key'",
            "SET 'some key' x EX 5",
            "incr 'some key'",
            "expire 'some key' 5",
            "del 'some key'",
            "mget 'some key' 'some key'",
            "mset 'some key' 1 'some key' 2",
        ] {
            assert_eq!(route_of(line, 5), Route::At(at), "{line}");
        }
    }

    #[test]
    fn keys_of_several_shards_part() {
        let split = |step, join| Route::Split { step, join };
        for (line, expected) in [
            ("mget a b c d e f", split(1, Join::Values)),
            ("mset a 1 b 2 c 3 d 4 e 5 f 6", split(2, Join::Ok)),
            ("del a b c d e f", split(1, Join::Sum)),
            ("unlink a b c d e f", split(1, Join::Sum)),
            ("exists a b c d e f", split(1, Join::Sum)),
            ("touch a b c d e f", split(1, Join::Sum)),
        ] {
            assert_eq!(route_of(line, 3), expected, "{line}");
        }
        assert!(matches!(route_of("mget {t}a {t}b {t}c", 3), Route::At(_)));
    }

    #[test]
    fn what_has_no_key_and_what_is_wrong_stays_here() {
        for line in [
            "ping",
            "echo a",
            "client id",
            "config get x",
            "command",
            "select 0",
            "hello",
            "quit",
            "nonsense a b",
            "get",
            "get a b",
            "mset a 1 b",
            "scan x",
            "dbsize x",
        ] {
            assert_eq!(route_of(line, 3), Route::Here, "{line}");
        }
        assert_eq!(route_of("subscribe a", 3), Route::Alone);
        assert_eq!(route_of("reset", 3), Route::Alone);
    }

    #[test]
    fn what_concerns_all_keys_goes_to_all() {
        assert_eq!(route_of("dbsize", 3), Route::All(Join::Sum));
        assert_eq!(route_of("publish c x", 3), Route::All(Join::Sum));
        assert_eq!(route_of("flushall", 3), Route::All(Join::Ok));
        assert_eq!(route_of("config resetstat", 3), Route::All(Join::Ok));
        assert_eq!(route_of("keys *", 3), Route::All(Join::Arrays));
        assert_eq!(route_of("scan 7", 3), Route::At(1));
        assert_eq!(route_of("scan 0", 3), Route::At(0));
    }

    /// Every command of the table that has keys is one of the kinds that `by_keys` knows.
    #[test]
    fn every_command_with_keys_begins_with_one() {
        for spec in &table::COMMANDS {
            let known = matches!(spec.keys, [0, 0, 0] | [1, 1, 1] | [1, -1, 1 | 2]);
            assert!(known, "{}", spec.name);
        }
    }
}
