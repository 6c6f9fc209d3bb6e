//! Counts calls, and says when it is enough.
//!
//! Time: a warm-up that does not count, then a stretch that does, at whose ends the clock and the processor time of
//! server and client are read, without a pause in the calls. Or simply a number of calls, for a profiler.

use rotor_bench::cpu::cpu_of;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// What a client tells of each reply.
pub struct Meter {
    plan: Plan,
    replies: u64,
    first: Option<Mark>,
    last: Option<io::Result<Mark>>,
}

enum Plan {
    Calls(u64),
    Time {
        server: u32,
        until: Instant,
        duration: Duration,
    },
}

/// A moment.
struct Mark {
    at: Instant,
    replies: u64,
    server: Duration,
    client: Duration,
}

/// What a load process has found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub calls: u64,
    pub nanos: u64,
    /// Nanoseconds of processor time.
    pub server: u64,
    /// Nanoseconds of processor time.
    pub client: u64,
}

impl Meter {
    /// For so many calls.
    pub fn calls(calls: u64) -> Self {
        Self::new(Plan::Calls(calls))
    }

    /// For so long, after a warm-up that begins now. `server` is its process id.
    pub fn time(server: u32, warm_up: Duration, duration: Duration) -> Self {
        Self::new(Plan::Time {
            server,
            until: Instant::now() + warm_up,
            duration,
        })
    }

    fn new(plan: Plan) -> Self {
        Self {
            plan,
            replies: 0,
            first: None,
            last: None,
        }
    }

    /// Counts a reply. Says whether another call shall be made in its place.
    #[inline]
    pub fn count(&mut self) -> bool {
        self.replies += 1;
        match self.plan {
            Plan::Calls(calls) => self.replies < calls,
            Plan::Time { until, .. } => {
                let now = Instant::now();
                now < until || self.turn(now)
            }
        }
    }

    /// A stretch of time is over.
    #[cold]
    fn turn(&mut self, at: Instant) -> bool {
        let Plan::Time {
            server,
            ref mut until,
            duration,
        } = self.plan
        else {
            return false;
        };
        if self.last.is_some() {
            return false;
        }
        let replies = self.replies;
        let mark = cpu_of(server).and_then(|server| {
            Ok(Mark {
                at,
                replies,
                server,
                client: cpu_of(std::process::id())?,
            })
        });
        match mark {
            Ok(mark) if self.first.is_none() => {
                self.first = Some(mark);
                *until = at + duration;
                true
            }
            end => {
                self.last = Some(end);
                false
            }
        }
    }

    /// What was found, if time was measured.
    pub fn finish(&mut self) -> io::Result<Option<Found>> {
        let (first, last) = match (self.first.take(), self.last.take()) {
            (Some(first), Some(last)) => (first, last?),
            (None, Some(Err(error))) => return Err(error),
            _ if matches!(self.plan, Plan::Calls(calls) if self.replies >= calls) => {
                return Ok(None);
            }
            _ => return Err(io::Error::other("the server hung up")),
        };
        let nanos = |from: Duration, to: Duration| to.saturating_sub(from).as_nanos() as u64;
        Ok(Some(Found {
            calls: last.replies - first.replies,
            nanos: (last.at - first.at).as_nanos() as u64,
            server: nanos(first.server, last.server),
            client: nanos(first.client, last.client),
        }))
    }
}

impl Found {
    pub fn calls_per_second(&self) -> f64 {
        self.calls as f64 * 1e9 / self.nanos.max(1) as f64
    }

    /// Nanoseconds of the server's processor time for a call.
    pub fn server_per_call(&self) -> f64 {
        self.server as f64 / self.calls.max(1) as f64
    }

    /// The same of the client.
    pub fn client_per_call(&self) -> f64 {
        self.client as f64 / self.calls.max(1) as f64
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            nanos,
            server,
            client,
        } = self;
        write!(f, "{calls} {nanos} {server} {client}")
    }
}

impl FromStr for Found {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Result<Vec<u64>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers.as_deref() {
            Ok(&[calls, nanos, server, client]) => Ok(Self {
                calls,
                nanos,
                server,
                client,
            }),
            _ => Err(format!(
                "four numbers were expected of a client, not {text:?}"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_calls_is_a_number_of_calls() {
        let mut meter = Meter::calls(3);
        assert!(meter.count() && meter.count() && !meter.count());
        assert_eq!(meter.finish().unwrap(), None);
        assert!(Meter::calls(3).finish().is_err());
    }

    #[test]
    fn what_is_before_and_after_the_stretch_does_not_count() {
        let own = std::process::id();
        let mut meter = Meter::time(own, Duration::ZERO, Duration::from_millis(20));
        assert!(meter.count());
        let mut counted = 1;
        while meter.count() {
            counted += 1;
        }
        assert!(!meter.count());
        let found = meter.finish().unwrap().unwrap();
        assert_eq!(found.calls, counted);
        assert!(found.nanos >= 20_000_000);
        assert_eq!(found.to_string().parse(), Ok(found));
    }

    #[test]
    fn a_server_that_is_gone_is_an_error() {
        let mut meter = Meter::time(u32::MAX, Duration::ZERO, Duration::from_millis(1));
        assert!(!meter.count());
        assert!(meter.finish().is_err());
    }
}
