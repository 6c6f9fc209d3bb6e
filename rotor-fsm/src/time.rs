//! `Time`: an instant of a loop's monotonic clock, real or simulated.
//!
//! Machines never read a clock themselves; they get a `Time` from `scope.now()` and give one back as a deadline.
//! Nanoseconds in a `u64` reach 584 years; arithmetic saturates, and the largest value means *never*.

use std::ops::{Add, Sub};
use std::time::Duration;

/// An instant of the loop's monotonic clock, in nanoseconds since an arbitrary origin.
///
/// Instants of different loops of one process compare meaningfully (all read the same system clock, or in the
/// simulator the same virtual one); those of different processes do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

const NANOS_PER_MILLI: u64 = 1_000_000;

impl Time {
    /// The origin.
    pub const ZERO: Time = Time(0);
    /// After every other instant: a deadline at `NEVER` is no deadline.
    pub const NEVER: Time = Time(u64::MAX);

    /// The instant `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The first tick (whole millisecond) that is not before this instant: what a deadline is rounded up to.
    pub(crate) fn tick_up(self) -> u64 {
        if self == Self::NEVER {
            u64::MAX
        } else {
            self.0.div_ceil(NANOS_PER_MILLI)
        }
    }

    /// The last tick that is not after this instant: how far the clock has certainly come.
    pub(crate) fn tick_down(self) -> u64 {
        self.0 / NANOS_PER_MILLI
    }

    /// The instant of a tick.
    pub(crate) fn from_tick(tick: u64) -> Self {
        Self(tick.saturating_mul(NANOS_PER_MILLI))
    }
}

/// Nanoseconds of a duration, saturating: `Duration::MAX` is never.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Add<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::NEVER`].
    fn add(self, duration: Duration) -> Time {
        Time(self.0.saturating_add(nanos(duration)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    /// Saturates at [`Time::ZERO`].
    fn sub(self, duration: Duration) -> Time {
        Time(self.0.saturating_sub(nanos(duration)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r13_rounds_up_and_saturates() {
        assert_eq!(Time::from_nanos(1).tick_up(), 1);
        assert_eq!(Time::from_nanos(1_000_000).tick_up(), 1);
        assert_eq!(Time::from_nanos(1_999_999).tick_down(), 1);
        assert_eq!(Time::ZERO + Duration::MAX, Time::NEVER);
        assert_eq!(Time::NEVER.tick_up(), u64::MAX);
        assert_eq!(Time::ZERO - Duration::from_secs(1), Time::ZERO);
        assert_eq!(
            Time::from_nanos(5).since(Time::from_nanos(9)),
            Duration::ZERO
        );
    }
}
