//! Commands on keys: existence, time to live, iteration.

use super::super::glob;
use super::super::number::Decimal;
use super::super::reply::{self, Out};
use super::super::resp::Args;
use super::super::server::Shard;
use super::{Call, Effect, Outcome, Refusal, SYNTAX, integer, is, quoted};

/// Keys that a `SCAN` without `COUNT` looks at, as in Redis.
const SCAN_COUNT: u64 = 10;

impl<'r, O: Out> Call<'r, '_, O> {
    pub(super) fn del(&mut self) -> Outcome<'r> {
        let keys = self.args.from(1);
        let removed = keys
            .iter()
            .filter(|key| self.server.store.remove(key, self.now_ms))
            .count();
        self.count(removed)
    }

    pub(super) fn exists(&mut self) -> Outcome<'r> {
        let keys = self.args.from(1);
        let found = keys
            .iter()
            .filter(|key| self.server.store.contains(key, self.now_ms))
            .count();
        self.count(found)
    }

    pub(super) fn type_of(&mut self) -> Outcome<'r> {
        let exists = self.server.store.contains(self.args.at(1), self.now_ms);
        reply::simple(self.out, if exists { "string" } else { "none" })?;
        Ok(Effect::None)
    }

    pub(super) fn dbsize(&mut self) -> Outcome<'r> {
        self.count(self.server.store.len())
    }

    pub(super) fn flush(&mut self) -> Outcome<'r> {
        match (self.args.len(), self.args.at(1)) {
            (1, _) => {}
            // Both the same here: there is no other thread to do it in.
            (2, how) if is(how, "async") || is(how, "sync") => {}
            _ => return Err(SYNTAX),
        }
        self.server.store.clear();
        self.ok()
    }

    /// `EXPIRE` and its kin.
    pub(super) fn expire(&mut self, unit_ms: i64, relative: bool) -> Outcome<'r> {
        let when = When::parse(self.args.from(3))?;
        let due = self.due(integer(self.args.at(2))?, unit_ms, relative)?;
        let (key, store) = (self.args.at(1), &mut self.server.store);
        let Some(old) = store.due(key, self.now_ms) else {
            return self.integer(0);
        };
        if !when.allows(old, due) {
            return self.integer(0);
        }
        match u64::try_from(due) {
            Ok(due) if due > self.now_ms => store.set_due(key, Some(due), self.now_ms),
            _ => store.remove(key, self.now_ms),
        };
        self.integer(1)
    }

    pub(super) fn persist(&mut self) -> Outcome<'r> {
        let store = &mut self.server.store;
        let had = store.due(self.args.at(1), self.now_ms).flatten().is_some();
        if had {
            store.set_due(self.args.at(1), None, self.now_ms);
        }
        self.count(had.into())
    }

    /// What is left of the time to live, rounded to the unit.
    pub(super) fn ttl(&mut self, unit_ms: u64) -> Outcome<'r> {
        let now = self.now_ms;
        self.time(|due| due.saturating_sub(now).saturating_add(unit_ms / 2) / unit_ms)
    }

    /// The Unix time at which the key goes, rounded to the unit.
    pub(super) fn expiretime(&mut self, unit_ms: u64) -> Outcome<'r> {
        self.time(|due| due.saturating_add(unit_ms / 2) / unit_ms)
    }

    /// -2 without the key, -1 without a time to live.
    fn time(&mut self, of: impl FnOnce(u64) -> u64) -> Outcome<'r> {
        match self.server.store.due(self.args.at(1), self.now_ms) {
            None => self.integer(-2),
            Some(None) => self.integer(-1),
            Some(Some(due)) => self.integer(of(due).try_into().unwrap_or(i64::MAX)),
        }
    }

    pub(super) fn keys(&mut self) -> Outcome<'r> {
        self.matching(0, u64::MAX, Some(self.args.at(1)))
    }

    pub(super) fn scan(&mut self) -> Outcome<'r> {
        let cursor = cursor(self.args.at(1)).ok_or(Refusal::Error("ERR invalid cursor"))?;
        let options = ScanOptions::parse(self.args.from(2))?;
        // The shards take turns in the numbers, so that a cursor tells its shard; they are scanned one after another.
        let Shard { index, count } = self.server.shard;
        let cursor = cursor / count;
        let end = self.server.store.page_end(cursor, options.count);
        let next = if end < self.server.store.cursor_end() {
            end * count + index
        } else {
            (index + 1) % count
        };
        reply::array(self.out, 2)?;
        reply::bulk(self.out, Decimal::unsigned(next).as_bytes())?;
        if options.other_type {
            reply::array(self.out, 0)?;
            return Ok(Effect::None);
        }
        self.matching(cursor, end, options.pattern)
    }

    /// The keys between two cursors that match. Two passes, as their number comes first:
    /// cheaper than a list, and nothing changes in between.
    fn matching(&mut self, from: u64, to: u64, pattern: Option<&[u8]>) -> Outcome<'r> {
        let all = || self.server.store.keys(from..to, self.now_ms);
        let fits = |key: &&[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, key));
        reply::array(self.out, all().filter(fits).count())?;
        for key in all().filter(fits) {
            reply::bulk(self.out, key)?;
        }
        Ok(Effect::None)
    }
}

/// The number that a `SCAN` goes on from; its remainder by the number of shards is the shard.
pub(super) fn cursor(text: &[u8]) -> Option<u64> {
    match text {
        b"" => Some(0),
        text => str::from_utf8(text).ok()?.parse().ok(),
    }
}

/// The condition of an `EXPIRE`.
#[derive(Default)]
struct When {
    /// `NX`: only without a time to live.
    none: bool,
    /// `XX`: only with one.
    some: bool,
    /// `GT`: only to later; none counts as the latest.
    later: bool,
    /// `LT`: only to earlier.
    earlier: bool,
}

impl When {
    fn parse(args: Args<'_>) -> Result<When, Refusal> {
        let mut when = When::default();
        for option in args.iter() {
            match option {
                _ if is(option, "nx") => when.none = true,
                _ if is(option, "xx") => when.some = true,
                _ if is(option, "gt") => when.later = true,
                _ if is(option, "lt") => when.earlier = true,
                other => {
                    let text = [b"ERR Unsupported option ", quoted(other)].concat();
                    return Err(Refusal::Quoting(text));
                }
            }
        }
        if when.none && (when.some || when.later || when.earlier) {
            return Err(Refusal::Error(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        if when.later && when.earlier {
            return Err(Refusal::Error(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(when)
    }

    fn allows(&self, old: Option<u64>, new: i64) -> bool {
        let old_ms = old.and_then(|due| i64::try_from(due).ok());
        !(self.none && old.is_some()
            || self.some && old.is_none()
            || self.later && old_ms.is_none_or(|old| new <= old)
            || self.earlier && old_ms.is_some_and(|old| new >= old))
    }
}

/// The options of `SCAN`.
struct ScanOptions<'r> {
    count: u64,
    pattern: Option<&'r [u8]>,
    /// `TYPE` with a type that is not `string`: nothing matches.
    other_type: bool,
}

impl<'r> ScanOptions<'r> {
    fn parse(args: Args<'r>) -> Result<Self, Refusal> {
        let mut options = ScanOptions {
            count: SCAN_COUNT,
            pattern: None,
            other_type: false,
        };
        for (option, value) in args.pairs() {
            match option {
                _ if is(option, "count") => {
                    options.count = integer(value)?.try_into().map_err(|_| SYNTAX)?;
                    if options.count == 0 {
                        return Err(SYNTAX);
                    }
                }
                _ if is(option, "match") => options.pattern = Some(value),
                _ if is(option, "type") => options.other_type = !is(value, "string"),
                _ => return Err(SYNTAX),
            }
        }
        if !args.len().is_multiple_of(2) {
            return Err(SYNTAX);
        }
        Ok(options)
    }
}
