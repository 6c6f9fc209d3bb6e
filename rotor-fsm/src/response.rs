//! `Response`: what a handler answers: the machine's next state, or its end, and what becomes of its deadline.

use crate::Time;
use crate::time::nanos;
use std::time::Duration;

/// The next state of a machine and a change of its one deadline.
///
/// A deadline **stays** as it is until it is replaced, cleared or has fired (rule R1). No combination panics; a
/// deadline on [`Response::done`] has no effect.
#[must_use = "a handler's answer is the machine's next state"]
#[derive(Debug)]
pub struct Response<M> {
    machine: Option<M>,
    deadline: DeadlineChange,
}

/// What a response does to the deadline. `After` is resolved when the response is applied, from a clock read then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeadlineChange {
    Keep,
    Clear,
    At(Time),
    AfterNanos(u64),
}

impl<M> Response<M> {
    /// Goes on in this state and waits for the next event.
    #[inline]
    pub fn of(machine: M) -> Self {
        Self {
            machine: Some(machine),
            deadline: DeadlineChange::Keep,
        }
    }

    /// Ends the machine: its handles close and its place is freed.
    #[inline]
    pub fn done() -> Self {
        Self {
            machine: None,
            deadline: DeadlineChange::Keep,
        }
    }

    /// `timeout` is called at `time`, unless the deadline is changed before. `Time::NEVER` clears it.
    #[inline]
    pub fn deadline(self, time: Time) -> Self {
        let deadline = if time == Time::NEVER {
            DeadlineChange::Clear
        } else {
            DeadlineChange::At(time)
        };
        Self { deadline, ..self }
    }

    /// `timeout` is called this long after the handler has returned. `Duration::MAX` clears the deadline.
    ///
    /// Costs one clock read; `deadline(scope.now() + d)` saves it where the time of the current turn is good enough.
    #[inline]
    pub fn after(self, duration: Duration) -> Self {
        let deadline = match nanos(duration) {
            u64::MAX => DeadlineChange::Clear,
            nanos => DeadlineChange::AfterNanos(nanos),
        };
        Self { deadline, ..self }
    }

    /// No deadline any more.
    #[inline]
    pub fn no_deadline(self) -> Self {
        Self {
            deadline: DeadlineChange::Clear,
            ..self
        }
    }

    /// The same answer about another machine: how a part's answer becomes the whole's.
    #[inline]
    pub fn map<N>(self, f: impl FnOnce(M) -> N) -> Response<N> {
        Response {
            machine: self.machine.map(f),
            deadline: self.deadline,
        }
    }

    /// True if this ends the machine.
    pub fn is_done(&self) -> bool {
        self.machine.is_none()
    }

    #[inline]
    pub(crate) fn into_parts(self) -> (Option<M>, DeadlineChange) {
        (self.machine, self.deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_the_deadline_stays_unless_named() {
        assert_eq!(
            Response::of(1).into_parts(),
            (Some(1), DeadlineChange::Keep)
        );
        assert_eq!(
            Response::of(1).after(Duration::MAX).into_parts().1,
            DeadlineChange::Clear
        );
        assert_eq!(
            Response::of(1).deadline(Time::NEVER).into_parts().1,
            DeadlineChange::Clear
        );
        let answer = Response::of(1)
            .no_deadline()
            .after(Duration::from_nanos(7))
            .map(|n| n + 1);
        assert_eq!(
            answer.into_parts(),
            (Some(2), DeadlineChange::AfterNanos(7))
        );
        assert!(Response::<u8>::done().deadline(Time::ZERO).is_done());
    }
}
