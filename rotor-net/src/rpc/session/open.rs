//! `Open`: what a session knows once its client has greeted, beside the calls that it shares.

use super::super::config::SessionConfig;
use super::super::error::SessionError;
use super::super::frame::{CallId, Header, Kind};
use super::super::serve::Serve;
use super::Session;
use super::setup::Setup;
use super::shared::{Bounds, Settled, Shared};
use crate::{Conn, Out};
use rotor_fsm::Time;
use std::sync::Arc;

pub(super) struct Open {
    shared: Held,
    /// The next call's place in the sequence.
    pub next_sequence: u32,
    /// Looks in a row that found nothing new.
    silent: u32,
    /// When to look next whether anything has arrived.
    beat_at: Time,
    /// The earliest deadline of a call, or an earlier time.
    pub calls_due: Time,
    /// Something has arrived since the last look.
    pub is_heard: bool,
    /// Calls were in flight when this settled last.
    pub had_calls: bool,
    /// Calls of the present dispatch may be at hand.
    pub has_desk: bool,
    /// No more calls are taken.
    pub is_draining: bool,
    /// The client makes no more calls: the session is done when none is in flight.
    pub has_last_call: bool,
}

/// The session's hold on what it shares: with the session, however it ends, all its calls end.
struct Held(Arc<Shared>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Open {
    /// The client has greeted. It is answered.
    pub fn new(setup: &Setup, bounds: Bounds, now: Time) -> Self {
        let shared = Shared::new(setup.limits.clone(), bounds);
        shared.welcome(&setup.welcome);
        Self {
            shared: Held(shared),
            next_sequence: 0,
            silent: 0,
            beat_at: now + setup.config.heartbeat,
            calls_due: Time::NEVER,
            is_heard: false,
            had_calls: false,
            has_desk: false,
            is_draining: false,
            has_last_call: false,
        }
    }

    #[inline]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared.0
    }

    /// Lets what has gathered leave.
    #[inline]
    pub fn settle<S: Serve>(
        &mut self,
        conn: &mut Conn<'_, Session<S>>,
    ) -> Result<Settled, SessionError> {
        let (_, mut out, own) = conn.split();
        let settled = self.shared().settle(
            || own.waker(),
            |waiting| {
                let taken = match out.write(waiting) {
                    Ok(()) => waiting.len(),
                    Err(_) => write_part(&mut out, waiting),
                };
                (taken, out.queued())
            },
        )?;
        self.had_calls = settled.has_calls;
        Ok(settled)
    }

    /// When there is something to do even if nothing happens.
    #[inline]
    pub fn due(&self) -> Time {
        self.beat_at.min(self.calls_due)
    }

    /// The server takes no more calls.
    pub fn drain(&mut self) {
        if !self.is_draining {
            self.is_draining = true;
            let header = Header::new(Kind::CloseStarted, CallId::default());
            self.shared().say(header, &[]);
        }
    }

    /// A deadline has passed, or is about to.
    ///
    /// # Errors
    /// `Silent`.
    pub fn timeout(&mut self, now: Time, config: &SessionConfig) -> Result<(), SessionError> {
        if self.calls_due <= now {
            self.calls_due = self.shared().expire(now);
        }
        if self.beat_at <= now {
            self.beat(config)?;
            self.beat_at = now + config.heartbeat;
        }
        Ok(())
    }

    /// Looks whether anything has arrived since the last look, and asks for a sign of life if not.
    fn beat(&mut self, config: &SessionConfig) -> Result<(), SessionError> {
        if std::mem::take(&mut self.is_heard) {
            self.silent = 0;
            return Ok(());
        }
        self.silent += 1;
        if self.silent > config.silent_heartbeats_max {
            let heartbeats = self.silent;
            return Err(SessionError::Silent { heartbeats });
        }
        self.shared().trim();
        self.shared()
            .say(Header::new(Kind::Ping, CallId::default()), &[]);
        Ok(())
    }
}

/// Writes as much as there is room for, and answers how much that was.
#[cold]
fn write_part(out: &mut Out<'_>, waiting: &[u8]) -> usize {
    let room = out.bytes_max.saturating_sub(out.queued());
    let taken = waiting.len().min(room);
    // Output that was ended takes what goes nowhere.
    let _ = out.write(&waiting[..taken]);
    taken
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::call::ServiceInfo;
    use super::super::super::error::CallError;
    use super::super::super::scope::CallScope;
    use super::super::Arrived;
    use super::*;
    use std::time::Duration;

    struct Nothing;

    impl Serve for Nothing {
        type Context = ();

        fn info() -> &'static ServiceInfo {
            static INFO: ServiceInfo = ServiceInfo {
                name: "nothing",
                calls: Vec::new(),
            };
            &INFO
        }

        fn dispatch(&mut self, _: Arrived<'_>, _: &mut CallScope<'_, ()>) -> Result<(), CallError> {
            Err(CallError::Unknown)
        }
    }

    /// A machine that slept, or a loop that was held up, has not heard its peers: that is no silence of theirs.
    #[test]
    fn heartbeats_are_counted_and_not_inferred_from_the_clock() {
        let config = Arc::new(SessionConfig::default());
        let setup = Setup::of::<Nothing>(&config, 1 << 20).unwrap();
        let bounds = Bounds {
            client_frame_bytes_max: 1000,
            client_window_bytes: 1000,
            queued_bytes_max: 1000,
            high_bytes: 1000,
        };
        let mut now = Time::ZERO;
        let mut open = Open::new(&setup, bounds, now);
        for _ in 0..config.silent_heartbeats_max {
            now = now + Duration::from_secs(3600);
            assert_eq!(open.timeout(now, &config), Ok(()));
            assert_eq!(open.due(), now + config.heartbeat);
        }
        open.is_heard = true;
        for _ in 0..=config.silent_heartbeats_max {
            now = now + Duration::from_secs(3600);
            assert_eq!(open.timeout(now, &config), Ok(()));
        }
        now = now + config.heartbeat;
        let silent = open.timeout(now, &config);
        assert!(matches!(silent, Err(SessionError::Silent { .. })));
    }
}
