//! Commands on values: get, set and their kin, counters, append.

use super::super::number::{Decimal, parse_i64};
use super::super::reply::{self, Out};
use super::super::resp::Args;
use super::super::store::{StoreFull, Ttl};
use super::{Call, Effect, NOT_INTEGER, Outcome, Refusal, SYNTAX, integer, is};

const OVERFLOW: Refusal = Refusal::Error("ERR increment or decrement would overflow");
const TOO_LONG: Refusal =
    Refusal::Error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");

impl<'r, O: Out> Call<'r, '_, O> {
    #[inline]
    pub(super) fn get(&mut self) -> Outcome<'r> {
        let value = self.server.store.get(self.args.at(1), self.now_ms);
        reply::bulk_or_null(self.out, value)?;
        Ok(Effect::None)
    }

    #[inline]
    pub(super) fn set(&mut self) -> Outcome<'r> {
        if self.args.len() == 3 {
            return self.store_value(2, Ttl::Clear);
        }
        self.set_with_options()
    }

    fn set_with_options(&mut self) -> Outcome<'r> {
        let options = SetOptions::parse(self.args.from(3))?;
        let ttl = match options.expire {
            None if options.keep_ttl => Ttl::Keep,
            None => Ttl::Clear,
            Some((value, unit, relative)) => Ttl::At(self.expiry(value, unit, relative)?),
        };
        let (key, value) = (self.args.at(1), self.args.at(2));
        let store = &mut self.server.store;
        let set = match options.only_if {
            None => true,
            Some(exists) => store.contains(key, self.now_ms) == exists,
        };
        if options.get {
            // The old value goes out first, so it must be sure that the new one fits.
            if set && !store.has_room([(key, value)].into_iter(), self.now_ms) {
                return Err(StoreFull.into());
            }
            reply::bulk_or_null(self.out, store.get(key, self.now_ms))?;
        } else if !set {
            reply::null(self.out)?;
        }
        if set {
            store.set(key, value, ttl, self.now_ms)?;
            if !options.get {
                return self.ok();
            }
        }
        Ok(Effect::None)
    }

    pub(super) fn setex(&mut self, unit_ms: i64) -> Outcome<'r> {
        let due = self.expiry(self.args.at(2), unit_ms, true)?;
        self.store_value(3, Ttl::At(due))
    }

    pub(super) fn setnx(&mut self) -> Outcome<'r> {
        if self.server.store.contains(self.args.at(1), self.now_ms) {
            return self.integer(0);
        }
        self.server
            .store
            .set(self.args.at(1), self.args.at(2), Ttl::Clear, self.now_ms)?;
        self.integer(1)
    }

    pub(super) fn getset(&mut self) -> Outcome<'r> {
        let (key, value) = (self.args.at(1), self.args.at(2));
        let store = &mut self.server.store;
        if !store.has_room([(key, value)].into_iter(), self.now_ms) {
            return Err(StoreFull.into());
        }
        reply::bulk_or_null(self.out, store.get(key, self.now_ms))?;
        store.set(key, value, Ttl::Clear, self.now_ms)?;
        Ok(Effect::None)
    }

    pub(super) fn getdel(&mut self) -> Outcome<'r> {
        let effect = self.get()?;
        self.server.store.remove(self.args.at(1), self.now_ms);
        Ok(effect)
    }

    pub(super) fn mget(&mut self) -> Outcome<'r> {
        reply::array(self.out, self.args.len() - 1)?;
        for key in self.args.from(1).iter() {
            reply::bulk_or_null(self.out, self.server.store.get(key, self.now_ms))?;
        }
        Ok(Effect::None)
    }

    pub(super) fn mset(&mut self) -> Outcome<'r> {
        let pairs = self.args.from(1);
        if !pairs.len().is_multiple_of(2) {
            return Err(Refusal::Arity(None));
        }
        if !self.server.store.has_room(pairs.pairs(), self.now_ms) {
            return Err(StoreFull.into());
        }
        for (key, value) in pairs.pairs() {
            self.server.store.set(key, value, Ttl::Clear, self.now_ms)?;
        }
        self.ok()
    }

    pub(super) fn append(&mut self) -> Outcome<'r> {
        let (key, tail) = (self.args.at(1), self.args.at(2));
        let len = self
            .server
            .store
            .get(key, self.now_ms)
            .map_or(0, <[u8]>::len);
        if len.saturating_add(tail.len()) > self.server.limits.bulk_bytes_max {
            return Err(TOO_LONG);
        }
        let len = self.server.store.append(key, tail, self.now_ms)?;
        self.count(len)
    }

    pub(super) fn strlen(&mut self) -> Outcome<'r> {
        let len = self
            .server
            .store
            .get(self.args.at(1), self.now_ms)
            .map_or(0, <[u8]>::len);
        self.count(len)
    }

    /// `INCR`, `DECR`; without a step `INCRBY`.
    pub(super) fn add(&mut self, step: Option<i64>) -> Outcome<'r> {
        let step = match step {
            Some(step) => step,
            None => integer(self.args.at(2))?,
        };
        let store = &mut self.server.store;
        let old = match store.get(self.args.at(1), self.now_ms) {
            Some(text) => parse_i64(text).ok_or(NOT_INTEGER)?,
            None => 0,
        };
        let new = old.checked_add(step).ok_or(OVERFLOW)?;
        store.set(
            self.args.at(1),
            Decimal::signed(new).as_bytes(),
            Ttl::Keep,
            self.now_ms,
        )?;
        self.integer(new)
    }

    pub(super) fn decrby(&mut self) -> Outcome<'r> {
        let step = integer(self.args.at(2))?;
        let step = step
            .checked_neg()
            .ok_or(Refusal::Error("ERR decrement would overflow"))?;
        self.add(Some(step))
    }

    #[inline]
    fn store_value(&mut self, value: usize, ttl: Ttl) -> Outcome<'r> {
        self.server
            .store
            .set(self.args.at(1), self.args.at(value), ttl, self.now_ms)?;
        self.ok()
    }

    /// The Unix milliseconds that a positive time to live means.
    fn expiry(&self, value: &[u8], unit_ms: i64, relative: bool) -> Result<u64, Refusal> {
        let value = integer(value)?;
        if value <= 0 {
            return Err(Refusal::InvalidExpire);
        }
        let due = self.due(value, unit_ms, relative)?;
        Ok(due.unsigned_abs())
    }

    /// The Unix milliseconds that a number given in this unit means.
    pub(super) fn due(&self, value: i64, unit_ms: i64, relative: bool) -> Result<i64, Refusal> {
        let base = if relative {
            i64::try_from(self.now_ms).unwrap_or(i64::MAX)
        } else {
            0
        };
        let due = value
            .checked_mul(unit_ms)
            .and_then(|ms| ms.checked_add(base));
        due.ok_or(Refusal::InvalidExpire)
    }
}

/// The options of `SET`.
#[derive(Default)]
struct SetOptions<'r> {
    /// Only if the key exists (`XX`) or does not (`NX`).
    only_if: Option<bool>,
    get: bool,
    keep_ttl: bool,
    /// The text, its unit in milliseconds, whether it counts from now.
    expire: Option<(&'r [u8], i64, bool)>,
}

impl<'r> SetOptions<'r> {
    fn parse(args: Args<'r>) -> Result<Self, Refusal> {
        let mut options = SetOptions::default();
        let mut i = 0;
        while i < args.len() {
            let option = args.at(i);
            if let Some((unit, relative)) = expiry_unit(option) {
                // The same unit again replaces the first, as in Redis; another is an error.
                let clash = options
                    .expire
                    .is_some_and(|(_, u, r)| (u, r) != (unit, relative));
                if clash || options.keep_ttl || i + 1 == args.len() {
                    return Err(SYNTAX);
                }
                options.expire = Some((args.at(i + 1), unit, relative));
                i += 2;
                continue;
            }
            match option {
                _ if is(option, "nx") && options.only_if != Some(true) => {
                    options.only_if = Some(false);
                }
                _ if is(option, "xx") && options.only_if != Some(false) => {
                    options.only_if = Some(true);
                }
                _ if is(option, "get") => options.get = true,
                _ if is(option, "keepttl") && options.expire.is_none() => options.keep_ttl = true,
                _ => return Err(SYNTAX),
            }
            i += 1;
        }
        Ok(options)
    }
}

/// For an option that gives an expiry: its unit in milliseconds, and whether it counts from now.
fn expiry_unit(option: &[u8]) -> Option<(i64, bool)> {
    match option {
        _ if is(option, "ex") => Some((1000, true)),
        _ if is(option, "px") => Some((1, true)),
        _ if is(option, "exat") => Some((1000, false)),
        _ if is(option, "pxat") => Some((1, false)),
        _ => None,
    }
}
