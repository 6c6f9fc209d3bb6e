//! The world: one virtual clock, one agenda of what is to happen, and what the parts of the simulation share.
//!
//! Everything that takes time is an entry of the agenda; entries of one instant happen in the order in which they were
//! made. The loops' drivers and the scripted peers change the world at once and never wait in it. The world calls no
//! user code, so it can be borrowed from inside a handler.
//!
//! Later hosts that die and clocks that jump belong here: a loop would name its host, an end the host it is on.

use super::SimConfig;
use super::arena::{Arena, Key};
use super::door::Door;
use super::end::End;
use super::jobs::Jobs;
use super::loops::LoopSide;
use super::peer::PeerId;
use super::rng::Rng;
use super::script::Peer;
use super::trace::{Trace, Who};
use crate::time::nanos;
use crate::work::Job;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// One end of a connection.
pub(super) type EndId = Key;
/// A listening socket.
pub(super) type DoorId = Key;

pub(super) struct World {
    /// Nanoseconds since the clock's origin.
    pub now: u64,
    pub rng: Rng,
    pub config: SimConfig,
    pub trace: Trace,
    agenda: BinaryHeap<Reverse<Due>>,
    agenda_count: u64,
    pub loops: Vec<LoopSide>,
    pub ends: Arena<End>,
    pub doors: Arena<Door>,
    pub peers: Vec<Peer>,
    /// Listening peers, by number.
    pub peer_doors: Vec<DoorId>,
    /// Standard input, and who feeds it.
    pub stdin: Option<(EndId, PeerId)>,
    pub jobs: Jobs,
    /// Descriptors that loops have open.
    pub descriptors: usize,
    pub next_port: u16,
    delay: (u64, u64),
    work: (u64, u64),
    turn: (u64, u64),
}

/// What happens at some instant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happening {
    /// A connect reaches where it goes, for the nth time.
    Knock {
        client: EndId,
        attempt: u32,
    },
    /// The answer to a connect is back.
    Established {
        client: EndId,
    },
    Refused {
        client: EndId,
        kind: uv_sys_wrap::Kind,
    },
    /// Bytes or FIN that `from` sent reach `to`.
    Arrive {
        to: EndId,
        from: EndId,
        fin: bool,
    },
    Reset {
        to: EndId,
    },
    /// The network breaks a connection.
    Break {
        end: EndId,
    },
    /// Queued output may go on: there is room, or enough time has passed.
    Pump {
        end: EndId,
    },
    Signal {
        signum: i32,
    },
    JobDone {
        job: Key,
    },
}

struct Due {
    at: u64,
    number: u64,
    what: Happening,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}

const SECOND: u64 = 1_000_000_000;
/// Where ports for `:0` and for outgoing connections begin, as on most systems.
const FIRST_PORT: u16 = 49_152;

impl World {
    pub fn new(seed: u64, config: SimConfig) -> Self {
        let span = |(low, high)| (nanos(low), nanos(high));
        let (delay, work) = (span(config.delay), span(config.work));
        let (turn_low, turn_high) = span(config.turn);
        let mut rng = Rng::new(seed);
        Self {
            // The clock does not begin at a whole tick, so that rounding is exercised.
            now: SECOND + rng.below(SECOND),
            rng,
            trace: Trace::new(config.trace_lines_max),
            agenda: BinaryHeap::new(),
            agenda_count: 0,
            loops: Vec::new(),
            ends: Arena::default(),
            doors: Arena::default(),
            peers: Vec::new(),
            peer_doors: Vec::new(),
            stdin: None,
            jobs: Jobs::default(),
            descriptors: 0,
            next_port: FIRST_PORT,
            delay,
            work,
            turn: (turn_low.max(1), turn_high.max(1)),
            config,
        }
    }

    /// How long something takes to the other end. Mostly short, sometimes long.
    pub fn delay(&mut self) -> u64 {
        let (low, high) = self.delay;
        let span = high.saturating_sub(low);
        let reach = if self.rng.below(8) == 0 {
            span
        } else {
            span / 8
        };
        low + self.rng.below(reach + 1)
    }

    pub fn job_time(&mut self) -> u64 {
        self.rng.between(self.work)
    }

    pub fn turn_time(&mut self) -> u64 {
        self.rng.between(self.turn)
    }

    pub fn later(&mut self, delay: u64, what: Happening) {
        self.at(self.now.saturating_add(delay), what);
    }

    pub fn at(&mut self, at: u64, what: Happening) {
        self.agenda_count += 1;
        self.agenda.push(Reverse(Due {
            at,
            number: self.agenda_count,
            what,
        }));
    }

    /// When the next thing happens; `u64::MAX` if nothing will.
    pub fn next_due(&self) -> u64 {
        self.agenda.peek().map_or(u64::MAX, |Reverse(due)| due.at)
    }

    /// Lets the next thing happen, now. What it gives back is to be run by the caller, outside any borrow.
    pub fn step(&mut self) -> Option<(Key, Job)> {
        let Reverse(due) = self.agenda.pop()?;
        match due.what {
            Happening::Knock { client, attempt } => self.knock(client, attempt),
            Happening::Established { client } => self.established(client),
            Happening::Refused { client, kind } => self.connect_failed(client, kind),
            Happening::Arrive { to, from, fin } => self.arrive(to, from, fin),
            Happening::Reset { to } => self.reset_arrives(to),
            Happening::Break { end } => self.break_up(end),
            Happening::Pump { end } => self.pump(end),
            Happening::Signal { signum } => self.signal_arrives(signum),
            Happening::JobDone { job } => return self.job_ends(job),
        }
        None
    }

    #[inline]
    pub fn record(&mut self, who: Who, what: &'static str, a: u64, b: u64) {
        self.trace.record(self.now, who, what, a, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agenda_is_in_order_of_time_and_then_of_making() {
        let mut world = World::new(1, SimConfig::default());
        for (n, delay) in [50, 10, 50, 10, 0].into_iter().enumerate() {
            world.later(delay, Happening::Signal { signum: n as i32 });
        }
        let order: Vec<i32> = std::iter::from_fn(|| world.agenda.pop())
            .map(|Reverse(due)| match due.what {
                Happening::Signal { signum } => signum,
                _ => -1,
            })
            .collect();
        assert_eq!(order, [4, 1, 3, 0, 2]);
        assert_eq!(world.next_due(), u64::MAX);
    }

    #[test]
    fn a_turn_takes_time_whatever_the_configuration_says() {
        let none = std::time::Duration::ZERO;
        let config = SimConfig {
            turn: (none, none),
            delay: (none, none),
            ..SimConfig::default()
        };
        let mut world = World::new(1, config);
        assert_eq!((world.turn_time(), world.delay()), (1, 0));
    }
}
