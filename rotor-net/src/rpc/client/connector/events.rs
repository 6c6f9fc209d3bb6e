//! What happens to a connector: its connections' events, and time.

use super::super::link::Link;
use super::super::session::Session;
use super::super::state::ChannelState;
use super::{Connector, Core, State};
use crate::rpc::{CallError, SessionError};
use rotor_fsm::{HandleId, Io, Scope, Time};
use std::fmt;

/// Whose event it is.
enum Whose {
    Attempt,
    Current,
    Leaving(usize),
    Nobody,
}

/// Events.
impl Core {
    fn whose(&self, on: HandleId) -> Whose {
        match &self.state {
            State::Connecting { socket, .. } if socket.id() == on => return Whose::Attempt,
            State::Up(link) if link.id() == on => return Whose::Current,
            _ => {}
        }
        let leaving = self.leaving.iter().position(|link| link.id() == on);
        leaving.map_or(Whose::Nobody, Whose::Leaving)
    }

    pub(super) fn event<C: 'static>(
        &mut self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        match self.whose(on) {
            Whose::Attempt => match event {
                Io::Connected => self.connected(scope),
                Io::Failed(error) => self.attempt_failed(&error, scope),
                _ => {}
            },
            Whose::Current => {
                let State::Up(link) = &mut self.state else {
                    return;
                };
                match happened(link, event) {
                    Happened::Nothing => self.look_at_current(scope),
                    Happened::Gone(why) => self.current_lost(&why, scope),
                    Happened::Wrong(error) => self.current_wrong(error, scope),
                }
            }
            Whose::Leaving(at) => {
                let link = &mut self.leaving[at];
                match happened(link, event) {
                    Happened::Nothing => {}
                    Happened::Gone(why) => {
                        let link = self.leaving.swap_remove(at);
                        self.lost(link, &why);
                    }
                    Happened::Wrong(error) => self.leaving_wrong(at, error, scope),
                }
            }
            Whose::Nobody => {}
        }
    }

    pub(super) fn attempt_failed<C: 'static>(
        &mut self,
        why: &dyn fmt::Display,
        scope: &mut Scope<'_, Connector<C>>,
    ) {
        let why = format!("{}: {why}", self.to);
        self.failed = self.failed.saturating_add(1);
        self.not_connected(&why, scope);
    }

    fn connected<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let State::Connecting { socket, until } = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        // All of a dispatch leaves in one write: the kernel need not gather. Only a connection that is gone refuses.
        let _ = scope.set_nodelay(&socket, true);
        match Session::new(self.shared(), scope.now()) {
            Ok(session) => self.state = State::Up(Box::new(Link::new(socket, session, until))),
            Err(error) => self.attempt_failed(&format_args!("the credential: {error}"), scope),
        }
    }

    /// Something may have changed by what has arrived.
    fn look_at_current<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let State::Up(link) = &mut self.state else {
            return;
        };
        if link.has_opened() {
            let server = link.session.server().cloned();
            self.failed = 0;
            self.guard.shared.tell(ChannelState::Open, server);
        }
        if link.session.is_of_use() {
            self.attempts = 0;
        }
        if link.session.is_draining() {
            self.drain(scope);
        }
    }

    /// Time has come for something.
    pub(super) fn expire<C: 'static>(&mut self, scope: &mut Scope<'_, Connector<C>>) {
        let now = scope.now();
        if self.earliest <= now {
            self.expire_waiting(now);
        }
        match &mut self.state {
            State::Resting { until } if *until <= now => {
                self.state = State::Idle;
                self.connect(scope);
            }
            State::Connecting { until, .. } if *until <= now => {
                let within = self.config().connect;
                self.attempt_failed(&format_args!("no connection within {within:?}"), scope);
            }
            State::Up(link) if link.until() <= now => {
                let why = SessionError::HandshakeTimedOut.to_string();
                self.current_lost(&why, scope);
            }
            State::Up(link) => {
                if let Err(error) = link.session.expire(now) {
                    self.current_wrong(error, scope);
                }
            }
            _ => {}
        }
        self.expire_leaving(now, scope);
    }

    fn expire_waiting(&mut self, now: Time) {
        self.earliest = Time::NEVER;
        let mut next = Time::NEVER;
        self.keep_waiting(|waiting| {
            let is_due = waiting.deadline <= now;
            if is_due {
                waiting.call.fail(CallError::TimedOut);
            } else {
                next = next.min(waiting.deadline);
            }
            !is_due
        });
        self.earliest = next;
    }
}

enum Happened {
    Nothing,
    /// The connection is over.
    Gone(Box<str>),
    /// The session is over, by this, of which the server should hear.
    Wrong(SessionError),
}

/// What an event does to a connection.
fn happened(link: &mut Link, event: Io<'_>) -> Happened {
    match event {
        Io::Read(bytes) if !link.is_lingering() => match link.session.received(&bytes) {
            Ok(()) if link.session.line.is_overfull() => {
                let bytes_max = link.session.line.credit_bytes_max();
                Happened::Wrong(SessionError::OutputFull { bytes_max })
            }
            Ok(()) => Happened::Nothing,
            Err(error @ SessionError::Goodbye(_)) => Happened::Gone(error.to_string().into()),
            Err(error) => Happened::Wrong(error),
        },
        Io::Eof => Happened::Gone("the server closed the connection".into()),
        Io::Failed(error) => Happened::Gone(error.to_string().into()),
        _ => Happened::Nothing,
    }
}
