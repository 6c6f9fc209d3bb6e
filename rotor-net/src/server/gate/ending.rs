//! The end of a server, step by step.
//!
//! 1. Listeners close, after what waits at them was taken (or is left to the process that took over).
//! 2. In a later turn, when they are closed indeed, the workers' doors ask every connection to finish.
//! 3. When no connection is left, or the deadline has passed, the workers' loops shut down: all their machines are
//!    asked to finish, in what is left of the time.
//! 4. When all threads have ended, so does the acceptor.

use super::{Gate, Order};
use crate::server::places::Change;
use crate::server::report::{DrainReport, Notice};
use crate::server::usher::Closing;
use rotor_fsm::{Scope, Time};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How far the end has come.
pub(super) enum Phase {
    Serving,
    Draining(Draining),
    /// Loops shut down.
    Ending,
}

pub(super) struct Draining {
    began: Time,
    until: Time,
    /// Connections when it began, and how many had been accepted by then.
    connections: usize,
    accepted: u64,
    /// What waits at listeners is another process's.
    is_handed_over: bool,
}

impl Phase {
    pub fn deadline(&self) -> Time {
        match self {
            Self::Draining(draining) => draining.until,
            _ => Time::NEVER,
        }
    }
}

/// How the server ended, for who waits for it.
#[derive(Default)]
pub(in crate::server) struct Ending(Mutex<Option<DrainReport>>);

impl Ending {
    pub fn report(&self) -> DrainReport {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        report.unwrap_or_default()
    }

    fn set(&self, report: DrainReport) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(report);
    }
}

impl Gate {
    /// Begins to drain, or shortens a drain under way.
    pub(super) fn drain(&mut self, grace: Duration, scope: &mut Scope<'_, Self>) {
        self.begin(grace, false, scope);
    }

    /// Another process has taken over.
    pub(super) fn hand_over(&mut self, scope: &mut Scope<'_, Self>) {
        if matches!(self.phase, Phase::Serving) {
            self.notice(Notice::HandedOver);
        }
        self.begin(self.seed.grace, true, scope);
    }

    fn begin(&mut self, grace: Duration, is_handed_over: bool, scope: &mut Scope<'_, Self>) {
        let now = scope.now();
        match &mut self.phase {
            Phase::Serving => {}
            Phase::Draining(draining) => {
                draining.until = draining.until.min(now + grace);
                return;
            }
            Phase::Ending => {
                let posts = self
                    .workers
                    .iter()
                    .filter_map(|worker| worker.post.as_ref());
                posts.for_each(|post| (post.shutdown)(grace));
                return;
            }
        }
        self.stop_listening(is_handed_over, scope);
        let ledger = &self.seed.ledger;
        let connections = ledger.open();
        self.phase = Phase::Draining(Draining {
            began: now,
            until: now + grace,
            connections,
            accepted: ledger.accepted.load(Ordering::Relaxed),
            is_handed_over,
        });
        for worker in &mut self.workers {
            worker.owes_finish = worker.post.is_some();
        }
        let tell = self.me.clone().map(super::GateMessage::Room);
        ledger.places.wait(Change::Empty, tell);
        self.notice(Notice::Draining { connections, grace });
    }

    pub(super) fn stop_listening(&mut self, is_handed_over: bool, scope: &mut Scope<'_, Self>) {
        if let Some(usher) = self.usher.take() {
            // One that has ended holds no sockets.
            let _ = usher.send(Closing);
        }
        if is_handed_over {
            self.intakes.leave_files(scope);
        } else {
            self.accept_rest(scope);
        }
        self.intakes.close();
    }

    /// Takes what waits at the listeners before they close.
    fn accept_rest(&mut self, scope: &mut Scope<'_, Self>) {
        let Self {
            seed,
            intakes,
            picker,
            workers,
            pending,
            ..
        } = self;
        intakes.take_rest(scope, |place, connection, listener, _| {
            let worker = picker.pick(&seed.ledger, |n| workers[n].post.is_some());
            pending.extend(place.fill(connection, worker.unwrap_or(0), listener));
        });
        self.place_pending(scope);
    }

    /// Goes on with an end under way; true when it is complete.
    pub(super) fn go_on_ending(&mut self, scope: &mut Scope<'_, Self>) -> bool {
        if let Phase::Draining(draining) = &self.phase {
            let is_handed_over = draining.is_handed_over;
            if scope.now() > draining.began {
                self.tell_workers(is_handed_over);
            }
            self.look_at_drain(scope);
        }
        self.workers.iter().all(|worker| worker.is_gone)
    }

    /// Tells workers of the drain that have not been told.
    fn tell_workers(&mut self, is_handed_over: bool) {
        // What waits must come before.
        if !self.pending.is_empty() {
            return;
        }
        for worker in self.workers.iter_mut().filter(|worker| worker.owes_finish) {
            worker.owes_finish = worker.post.as_ref().is_some_and(|post| {
                let told = post.orders.send(Order::Finish { is_handed_over });
                matches!(told, Err(error) if !error.is_closed())
            });
        }
    }

    /// Whether, in a drain, a worker that is up has not yet stopped listening and asked its connections to finish.
    pub(super) fn is_one_to_finish(&self) -> bool {
        let tallies = &self.seed.ledger.workers;
        matches!(self.phase, Phase::Draining(_))
            && self.workers.iter().zip(tallies).any(|(worker, tally)| {
                worker.post.is_some() && !tally.is_finishing.load(Ordering::SeqCst)
            })
    }

    fn look_at_drain(&mut self, scope: &mut Scope<'_, Self>) {
        let Phase::Draining(draining) = &self.phase else {
            return;
        };
        let ledger = &self.seed.ledger;
        let now = scope.now();
        // Without workers nobody is left to wait for.
        let is_over = now >= draining.until || self.workers.iter().all(|worker| worker.is_gone);
        let owes = self.is_one_to_finish();
        let cut = ledger.open();
        if !is_over && (cut > 0 || owes || !self.pending.is_empty()) {
            return;
        }
        let accepted = ledger.accepted.load(Ordering::Relaxed) - draining.accepted;
        self.seed.ending.set(DrainReport {
            ended: (draining.connections + accepted as usize).saturating_sub(cut),
            cut,
            took: now.since(draining.began),
        });
        let grace = draining.until.since(now);
        self.pending.clear();
        self.end_workers(grace);
    }

    fn end_workers(&mut self, grace: Duration) {
        self.phase = Phase::Ending;
        // Workers that wait to be restarted end now.
        self.seed.alive = crossbeam_channel::bounded(0).0;
        for worker in &mut self.workers {
            worker.owes_finish = false;
            if let Some(post) = &worker.post {
                (post.shutdown)(grace);
            }
        }
    }
}
