//! Which worker gets the next connection.

use super::ledger::Ledger;

/// How connections are spread over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dispatch {
    /// The worker with the fewest connections gets the next: their numbers stay within one of each other. The default.
    #[default]
    LeastLoaded,
    /// Each in turn, however long connections last.
    RoundRobin,
    /// The kernel spreads them: each worker listens itself, on a socket of its own (`SO_REUSEPORT`). Saves the hand-over
    /// between threads, and spreads few long-lived connections badly, and what comes
    /// to a worker that is being restarted waits for it. TCP only; Unix sockets and inherited ones go by least load.
    ReusePort,
}

pub(super) struct Picker {
    dispatch: Dispatch,
    next: usize,
}

impl Picker {
    pub fn new(dispatch: Dispatch) -> Self {
        Self { dispatch, next: 0 }
    }

    /// A worker for which `is_up` holds, or `None` if there is none.
    pub fn pick(&mut self, ledger: &Ledger, is_up: impl Fn(usize) -> bool) -> Option<usize> {
        let count = ledger.workers.len();
        let from = self.next;
        let in_turn = (0..count).map(|n| (from + n) % count).filter(|&n| is_up(n));
        let found = match self.dispatch {
            Dispatch::RoundRobin => in_turn.into_iter().next(),
            // The first of equals, from a beginning that moves on, so that idle workers take turns.
            _ => in_turn.min_by_key(|&worker| ledger.load(worker)),
        }?;
        self.next = (found + 1) % count;
        Some(found)
    }
}
