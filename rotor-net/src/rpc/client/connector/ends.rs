//! How connections end, and what becomes of their calls.

use super::super::link::Link;
use super::super::session::Session;
use super::super::slots::Begun;
use super::super::state::ChannelState;
use super::{Connector, Core, State};
use crate::rpc::{CallError, CallKind, InFlight as Policy, Reconnect, SessionError, handshake};
use rotor_fsm::{Scope, Time};
use std::time::Duration;

/// Connections that drain or linger at once. More come only from a server that drains again and again; then the oldest
/// is cut.
const LEAVING_MAX: usize = 4;

/// The connection that calls go to.
impl Core {
    /// There is no connection, for this reason: another attempt follows, or none.
    pub(super) fn not_connected<C: 'static>(
        &mut self,
        why: &str,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        self.state = State::Idle;
        let wait = match self.config().reconnect {
            _ if self.is_closing => None,
            Reconnect::Never => None,
            Reconnect::Backoff {
                attempts_max: Some(max),
                ..
            } if self.failed >= max.max(1) => None,
            Reconnect::Backoff { first, longest, .. } => {
                Some(wait(first, longest, self.attempts, scope.random()))
            }
        };
        self.state = match wait {
            Some(wait) => State::Resting {
                until: scope.now() + wait,
            },
            None => State::Idle,
        };
        let lost = ChannelState::Lost {
            why: why.into(),
            again_in: wait,
        };
        self.shared().tell(lost, None);
        if wait.is_none() {
            self.stop_trying(why);
        }
    }

    /// Fails what waits; and if no connection will ever be made again, what may come.
    fn stop_trying(&mut self, why: &str) {
        (self.attempts, self.failed, self.is_wanted) = (0, 0, false);
        let error = CallError::Disconnected {
            was_sent: false,
            why: why.into(),
        };
        if self.config().reconnect == Reconnect::Never {
            self.shared().shut(error.clone());
            self.is_closing = true;
        }
        self.fail_waiting(&error);
    }

    fn fail_waiting(&mut self, error: &CallError) {
        self.keep_waiting(|waiting| {
            waiting.call.fail(error.clone());
            false
        });
        self.earliest = Time::NEVER;
    }

    /// The connection is gone.
    pub(super) fn current_lost<C: 'static>(
        &mut self,
        why: &str,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        if let State::Up(link) = std::mem::replace(&mut self.state, State::Idle) {
            self.note_failure(&link);
            self.lost(*link, why);
        }
        self.not_connected(why, scope);
    }

    /// The server has broken the protocol, or is silent: it is told, and the connection given up.
    pub(super) fn current_wrong<C: 'static>(
        &mut self,
        error: SessionError,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        let why = error.to_string();
        if let State::Up(link) = std::mem::replace(&mut self.state, State::Idle) {
            self.note_failure(&link);
            self.part(*link, &error, scope);
        }
        self.not_connected(&why, scope);
    }

    /// A connection that ends before the server has said what it offers is an attempt that has failed.
    fn note_failure(&mut self, link: &Link) {
        if !link.is_open() {
            self.failed = self.failed.saturating_add(1);
        }
    }

    /// The server takes no more calls: those in flight go on, the others get another connection.
    pub(super) fn drain<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        if let State::Up(link) = std::mem::replace(&mut self.state, State::Idle) {
            self.leave(*link);
        }
        self.shared().tell(ChannelState::Draining, None);
        match self.config().reconnect {
            Reconnect::Never => {
                self.shared().shut(CallError::Draining);
                self.is_closing = true;
                self.fail_waiting(&CallError::Draining);
            }
            Reconnect::Backoff { first, longest, .. } => {
                let wait = wait(first, longest, self.attempts, scope.random());
                let until = scope.now() + wait;
                self.state = State::Resting { until };
            }
        }
    }
}

/// Connections that get no more calls.
impl Core {
    /// Closes what has nothing left to do.
    pub(super) fn close_what_is_done<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        if self.is_closing {
            self.close_current();
        }
        let mut returned = Vec::new();
        self.with_links(|link| returned.append(&mut link.session.returned));
        if !returned.is_empty() {
            self.send_again(returned);
        }
        for link in &mut self.leaving {
            if link.session.is_done() {
                link.linger(scope);
            }
        }
    }

    /// Nothing more will be called.
    fn close_current(&mut self) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Resting { .. } => self.fail_waiting(&CallError::Closed),
            State::Up(mut link) if link.is_open() && self.queue.is_empty() => {
                link.session.say_close();
                self.leave(*link);
            }
            State::Up(_) | State::Connecting { .. } if self.queue.is_empty() => {}
            other => self.state = other,
        }
    }

    fn leave(&mut self, link: Link) {
        if self.leaving.len() == LEAVING_MAX {
            let oldest = self.leaving.remove(0);
            self.lost(oldest, "too many connections that end");
        }
        self.leaving.push(link);
    }

    pub(super) fn leaving_wrong<C: 'static>(
        &mut self,
        at: usize,
        error: SessionError,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        let link = self.leaving.remove(at);
        self.part(link, &error, scope);
    }

    pub(super) fn expire_leaving<C: 'static>(
        &mut self,
        now: Time,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        self.leaving
            .retain(|link| !(link.is_lingering() && link.until() <= now));
        for at in (0..self.leaving.len()).rev() {
            let link = &mut self.leaving[at];
            if !link.is_lingering()
                && let Err(error) = link.session.expire(now)
            {
                self.leaving_wrong(at, error, scope);
            }
        }
    }

    /// Says why the connection ends, and ends it.
    fn part<C: 'static>(
        &mut self,
        mut link: Link,
        error: &SessionError,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        self.calls_lost(&mut link.session, &error.to_string());
        handshake::write_goodbye(error, &mut link.session.out);
        link.linger(scope);
        self.leave(link);
    }
}

/// Calls of connections that are over.
impl Core {
    pub(super) fn lost(&mut self, mut link: Link, why: &str) {
        self.calls_lost(&mut link.session, why);
    }

    /// What was in flight fails, or is sent again where that is wanted.
    fn calls_lost(&mut self, session: &mut Session, why: &str) {
        let resends_max = match self.config().in_flight {
            Policy::Resend { times_max } if self.connects_again() => times_max,
            _ => 0,
        };
        let mut in_flight = session.abandon();
        for one in &mut in_flight {
            one.losses = one.losses.saturating_add(1);
        }
        let (again, over): (Vec<_>, Vec<_>) = in_flight
            .into_iter()
            .partition(|one| one.losses <= resends_max && one.call.core().kind == CallKind::Unary);
        let error = CallError::Disconnected {
            was_sent: true,
            why: why.into(),
        };
        // Whoever sends items learns of it first, then none are taken any more, and then all others learn of it.
        for one in &over {
            one.call.core().flows.close_outflow(&error);
        }
        session.line.close_all();
        for one in over {
            one.call.fail(error.clone());
        }
        self.send_again(again);
        self.send_again(std::mem::take(&mut session.returned));
    }

    fn connects_again(&self) -> bool {
        !self.is_closing && self.config().reconnect != Reconnect::Never
    }

    /// Calls that were sent, and were not done, go to the next connection, before those that were begun after them.
    fn send_again(&mut self, calls: Vec<Begun>) {
        for begun in calls {
            if !self.connects_again() {
                begun.call.fail(CallError::Draining);
            } else if !begun.call.core().is_over() {
                self.earliest = self.earliest.min(begun.deadline);
                self.more_waiting += 1;
                let at = self
                    .queue
                    .partition_point(|waiting| waiting.number < begun.number);
                self.queue.insert(at, begun);
            }
        }
    }
}

/// How long to wait before the next attempt: at random, below a bound that doubles with each attempt that has failed.
fn wait(first: Duration, longest: Duration, attempts: u32, random: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(31);
    let bound = first.saturating_mul(1 << doublings).min(longest);
    let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(random % nanos.saturating_add(1).max(1))
}
