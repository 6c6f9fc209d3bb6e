//! `ClientLine`: the way out of one connection for the frames of its streams, from any thread.
//!
//! Invariant: `live` has exactly the calls with streams that are in flight on this connection, so a frame of one that is
//! over is refused. What is appended is taken by the machine, which was woken or is about to look.

use super::gauge::Gauge;
use super::nudge::Left;
use super::shared::Shared;
use crate::rpc::frame::{CallId, Header, Kind};
use crate::rpc::line::Line;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) struct ClientLine {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Bytes that waited for the kernel when the machine last took what is here, and what has come since. Changed under
    /// the lock.
    gauge: Gauge,
    /// Whether `out` has something.
    left: Left,
}

/// Credits that may wait in any case: those of as many streams as there are at once, for a peer that just has not read yet.
const CREDIT_BYTES_MIN: usize = 64 << 10;

#[derive(Default)]
struct State {
    out: Vec<u8>,
    /// By slot: the sequence number of the call.
    live: Vec<Option<u32>>,
    /// Bytes of `out` that are credits, which nothing but this limits.
    credit_bytes: usize,
    /// The peer consumes no credits.
    is_overfull: bool,
}

impl ClientLine {
    pub fn new(shared: &Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            shared: shared.clone(),
            state: Mutex::default(),
            gauge: Gauge::new(shared.config.queued_bytes_max),
            left: Left::nothing(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine's side.
impl ClientLine {
    /// Frames of this call are taken from now on.
    pub fn open(&self, id: CallId) {
        let slot = id.slot as usize;
        let mut state = self.lock();
        if state.live.len() <= slot {
            state.live.resize(slot + 1, None);
        }
        state.live[slot] = Some(id.sequence);
    }

    /// And no longer.
    pub fn close(&self, slot: u32) {
        if let Some(live) = self.lock().live.get_mut(slot as usize) {
            *live = None;
        }
    }

    /// The connection is over: nothing is taken any more.
    pub fn close_all(&self) {
        let mut state = self.lock();
        self.left.taken();
        let old = std::mem::take(&mut *state);
        drop(state);
        drop(old);
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        !self.left.is_there()
    }

    /// Credits that may wait for the peer, in bytes.
    pub fn credit_bytes_max(&self) -> usize {
        self.shared.config.queued_bytes_max.max(CREDIT_BYTES_MIN)
    }

    /// Whether the peer gets more credits than it takes.
    pub fn is_overfull(&self) -> bool {
        self.lock().is_overfull
    }

    /// Swaps what waits here for this buffer, which is empty. So much waits for the kernel already.
    #[inline]
    pub fn take(&self, out: &mut Vec<u8>, queued_bytes: usize) {
        // While nothing is left, the gauge shows what it was set to.
        if self.is_empty() && self.gauge.shows(queued_bytes) {
            return;
        }
        let mut state = self.lock();
        self.left.taken();
        std::mem::swap(&mut state.out, out);
        state.credit_bytes = 0;
        self.gauge.set(queued_bytes + out.len());
    }

    /// Whether somebody waits for room, and there is some.
    pub fn has_room_again(&self) -> bool {
        self.gauge.has_room_again()
    }
}

impl Line for ClientLine {
    fn push(&self, header: Header, body: &[u8]) -> bool {
        let mut state = self.lock();
        let live = state.live.get(header.id.slot as usize).copied().flatten();
        if live != Some(header.id.sequence) {
            return false;
        }
        let before = state.out.len();
        header.write(body, &mut state.out);
        let bytes = state.out.len() - before;
        if header.kind == Kind::Credit {
            state.credit_bytes += bytes;
            state.is_overfull |= state.credit_bytes > self.credit_bytes_max();
        }
        self.gauge.add(bytes);
        let is_first = self.left.leave();
        drop(state);
        if is_first {
            self.shared.nudge.wake();
        }
        true
    }

    fn is_full(&self) -> bool {
        self.gauge.is_full()
    }
}
