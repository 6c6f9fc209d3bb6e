//! Wall-clock time from the loop's clock: read from the system once, at the start, and counted from there.
//!
//! So machines need no clock of their own, a step of the system's clock expires nothing, and in the simulator time is
//! what the simulator says.

use rotor_fsm::Time;
use std::time::Duration;

/// Turns the loop's time into Unix milliseconds, and back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Time,
    start_ms: u64,
}

impl Clock {
    /// A clock that shows `start_ms` (Unix milliseconds) at `start`.
    pub fn new(start: Time, start_ms: u64) -> Self {
        Self { start, start_ms }
    }

    /// Unix milliseconds, rounded down.
    #[inline]
    pub fn unix_ms(&self, now: Time) -> u64 {
        let since_ms = (now.as_nanos().saturating_sub(self.start.as_nanos())) / 1_000_000;
        self.start_ms.saturating_add(since_ms)
    }

    /// The first instant at which [`unix_ms`](Self::unix_ms) is `ms` or more. What is too far away is never.
    pub fn at(&self, ms: u64) -> Time {
        let wait_ms = ms.saturating_sub(self.start_ms);
        self.start + Duration::from_millis(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let clock = Clock::new(Time::from_nanos(1_999_999), 1_700_000_000_000);
        for ms in [0, 1, 999, 86_400_000] {
            let at = clock.at(1_700_000_000_000 + ms);
            assert_eq!(clock.unix_ms(at), 1_700_000_000_000 + ms);
            let before = at - Duration::from_nanos(1);
            assert!(ms == 0 || clock.unix_ms(before) < 1_700_000_000_000 + ms);
        }
        assert_eq!(clock.at(u64::MAX), Time::NEVER);
        assert_eq!(
            clock.at(5),
            Time::from_nanos(1_999_999),
            "the past is the start"
        );
    }
}
