//! `Shared`: what a session has in common with the replies and streams of its calls, wherever these are: the calls in
//! flight, and the frames that wait to leave.
//!
//! One mutex guards both, so an answer, its frame and the end of its call are one step. No user code runs under it:
//! values are encoded before, streams are told after.
//!
//! Invariant: frames that wait are looked at. Either the session is in a handler of its own ([`Phase`]), and lets them
//! leave before it returns, or its waker was used after they were appended.

mod anywhere;
#[cfg(all(test, not(loom)))]
mod tests;

use super::super::codec::{self, CodecError};
use super::super::error::{CallError, SessionError};
use super::super::frame::{CallId, Header, Kind};
use super::super::items::{Inflow, Outflow};
use super::at_hand;
use super::calls::{Calls, Flows};
use super::outbox::Outbox;
use super::phase::Phase;
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use rotor_fsm::{Time, Waker};
use std::sync::{Arc, OnceLock, PoisonError};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

/// Shared by a session, its replies and its streams.
pub(crate) struct Shared<W = Waker> {
    state: Mutex<State>,
    phase: Phase,
    /// Made when a call first outlives the handler that began it.
    waker: OnceLock<W>,
    /// Of what is encoded and decoded.
    pub limits: Arc<codec::Limits>,
    pub bounds: Bounds,
}

/// What both sides have agreed on, and what may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The longest body that the client takes.
    pub client_frame_bytes_max: usize,
    /// What the client takes of a stream's items before it gives more credit.
    pub client_window_bytes: u32,
    /// Bytes that may wait; beyond that the client does not read.
    pub queued_bytes_max: usize,
    /// Bytes that wait above which items stay with their senders.
    pub high_bytes: usize,
}

#[derive(Default)]
struct State {
    out: Outbox,
    /// What waited in the stream when the session last looked.
    stream_bytes: usize,
    calls: Calls,
    /// What another thread has answered to the call at hand, the latest.
    early: Option<Box<Early>>,
    /// More had to wait than may.
    is_overfull: bool,
    /// Some sender was told that the line is full.
    is_starved: bool,
    is_over: bool,
}

struct Early {
    header: Header,
    body: Box<[u8]>,
}

/// What wakes a session.
pub(crate) trait Rouse: Send + Sync {
    fn rouse(&self);
}

impl Rouse for Waker {
    #[inline]
    fn rouse(&self) {
        self.wake();
    }
}

/// What a session must know when it lets frames leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// Calls are in flight.
    pub has_calls: bool,
    /// Not all has left: the stream is full.
    pub has_rest: bool,
    /// So much waits that the session must look again when some of it has left.
    pub is_high: bool,
}

/// What the session does, on its loop's thread.
impl<W: Rouse> Shared<W> {
    pub fn new(limits: Arc<codec::Limits>, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            phase: Phase::rest(),
            waker: OnceLock::new(),
            limits,
            bounds,
        })
    }

    /// The session begins to read: it is busy from now on, until it [settles](Self::settle). The next call will be this
    /// one. Answers whether calls may be [at hand](at_hand): those with a table that is empty, where nothing can have their
    /// place. `had_calls` is what the session knows from when it settled last; no call has begun since.
    #[inline]
    pub(super) fn enter(&self, next_sequence: u32, had_calls: bool) -> bool {
        let is_empty = !had_calls || self.lock().calls.in_flight() == 0;
        let has_desk = is_empty && at_hand::enter(self.key());
        self.phase.begin(has_desk, next_sequence);
        has_desk
    }

    /// A call has arrived, and is entered in the table. Answers how much waits.
    ///
    /// # Errors
    /// `DuplicateId`.
    #[inline]
    pub(super) fn begin(
        &self,
        id: CallId,
        deadline: Time,
        flows: Flows,
    ) -> Result<usize, SessionError> {
        let mut state = self.lock();
        state.calls.begin(id, deadline, flows)?;
        if self.phase.has_desk_left() {
            self.leave_desk(&mut state, |_| 0);
        }
        Ok(state.out.len())
    }

    /// As `begin`, of a call whose handler has returned and not answered it. It may have been answered from another thread.
    pub(super) fn begin_late(&self, id: CallId, deadline: Time) -> Result<(), SessionError> {
        self.begin(id, deadline, Flows::default())?;
        let mut state = self.lock();
        match state.early.take() {
            Some(early) if early.header.id == id => {
                state.append(early.header, &early.body, &self.bounds);
                state.calls.end(id);
            }
            _ => {}
        }
        Ok(())
    }

    /// No calls are at hand any more. What they were answered leaves from where it was written, as far as `write` takes it
    /// and nothing waits before it; the rest waits, in the order of completion. Whether `write` was called.
    #[inline]
    fn leave_desk(&self, state: &mut State, write: impl FnOnce(&[u8]) -> usize) -> bool {
        let mut is_written = false;
        at_hand::leave(self.key(), |frames| {
            let mut rest = frames;
            if state.out.len() == 0 {
                rest = &frames[write(frames)..];
                is_written = true;
            }
            let bytes_max = self.bounds.queued_bytes_max;
            let is_taken = rest.is_empty() || state.out.push_bytes(rest, bytes_max);
            state.is_overfull |= !is_taken;
        });
        is_written
    }

    /// Lets frames leave: `write` gets them, and answers how many bytes of them it took, and how many then wait in the
    /// stream.
    ///
    /// # Errors
    /// `OutputFull`.
    #[inline]
    pub(super) fn settle(
        &self,
        waker: impl FnOnce() -> W,
        mut write: impl FnMut(&[u8]) -> (usize, usize),
    ) -> Result<Settled, SessionError> {
        let mut state = self.lock();
        state.early = None;
        let mut stream_bytes = 0;
        let mut write = |waiting: &[u8]| {
            let (taken_bytes, in_stream) = write(waiting);
            stream_bytes = in_stream;
            taken_bytes
        };
        let is_written = self.phase.has_desk_left() && self.leave_desk(&mut state, &mut write);
        if state.is_overfull {
            return Err(SessionError::OutputFull {
                bytes_max: self.bounds.queued_bytes_max,
            });
        }
        if !is_written {
            let taken_bytes = write(state.out.waiting());
            state.out.left(taken_bytes);
        }
        state.stream_bytes = stream_bytes;
        let has_calls = state.calls.in_flight() > 0;
        if has_calls && self.waker.get().is_none() {
            let _ = self.waker.set(waker());
        }
        let has_rest = state.out.len() > 0;
        self.phase.end();
        let is_high = state.waiting_bytes() > self.bounds.high_bytes;
        if state.is_starved && !is_high {
            state.is_starved = false;
            let starved: Vec<_> = state.calls.outflows().cloned().collect();
            drop(state);
            for outflow in starved {
                outflow.room();
            }
        }
        Ok(Settled {
            has_calls,
            has_rest,
            is_high,
        })
    }

    /// Appends what the server says first.
    pub fn welcome(&self, welcome: &[u8]) {
        let mut state = self.lock();
        let is_taken = state.out.push_bytes(welcome, self.bounds.queued_bytes_max);
        state.is_overfull |= !is_taken;
    }

    /// Appends a frame that belongs to no call. The session settles later.
    pub fn say(&self, header: Header, body: &[u8]) {
        self.lock().append(header, body, &self.bounds);
    }

    /// A call is over, for this reason, which the client knows.
    pub fn end(&self, id: CallId, why: CallError) {
        let flows = self.lock().calls.end(id);
        if let Some(flows) = flows {
            flows.close(|| why);
        }
    }

    /// Calls that are past their deadline fail. Answers the next deadline.
    pub fn expire(&self, now: Time) -> Time {
        let mut over = Vec::new();
        let mut state = self.lock();
        for id in state.calls.expired(now) {
            let header =
                Header::new(Kind::Fail, id).with_number(CallError::TimedOut.to_wire().0 as u16);
            state.append(header, &[], &self.bounds);
            over.extend(state.calls.end(id));
        }
        let next = state.calls.earliest_deadline();
        drop(state);
        for flows in over {
            flows.close(|| CallError::TimedOut);
        }
        next
    }

    /// Whether this call is in flight, and where the items go that the client sends.
    pub fn inflow(&self, id: CallId) -> (bool, Option<Arc<Inflow>>) {
        let state = self.lock();
        (state.calls.is_live(id), state.calls.inflow(id).cloned())
    }

    /// As `inflow`; no more items come from now on.
    pub fn end_input(&self, id: CallId) -> (bool, Option<Arc<Inflow>>) {
        let mut state = self.lock();
        let found = (state.calls.is_live(id), state.calls.inflow(id).cloned());
        state.calls.end_input(id);
        found
    }

    /// The client's end has come: streams that had not ended never will, and hear of it.
    pub fn cut_inputs(&self) {
        let cut = self.lock().calls.cut_inputs();
        for inflow in cut {
            inflow.end(Err(CallError::Disconnected {
                was_sent: true,
                why: "the client has left before the end of its items".into(),
            }));
        }
    }

    /// Whether this call is in flight, and where the items come from that are sent to the client.
    pub fn outflow(&self, id: CallId) -> (bool, Option<Arc<Outflow>>) {
        let state = self.lock();
        let flows = state.calls.flows(id);
        (
            flows.is_some(),
            flows.and_then(|flows| flows.outflow.clone()),
        )
    }

    /// Gives memory back, where none is needed now.
    pub fn trim(&self) {
        let mut state = self.lock();
        state.calls.trim();
        if state.out.len() == 0 {
            state.out.free();
        }
    }

    /// The session is over: nothing is taken any more, and all streams hear of it.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.out.free();
        let calls = state.calls.end_all();
        drop(state);
        at_hand::leave(self.key(), |_| {});
        for flows in calls {
            flows.close(|| CallError::Disconnected {
                was_sent: true,
                why: "the connection with the client is over".into(),
            });
        }
    }
}

impl<W> Shared<W> {
    /// What this session is known by on its thread while it reads.
    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        // No user code runs under this lock, so a poisoned one still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # Errors
/// If the body of an answer is longer than can be sent.
#[inline]
pub(super) fn check_length(bytes: usize, encoded_bytes_max: usize) -> Result<(), CallError> {
    match bytes <= encoded_bytes_max {
        true => Ok(()),
        false => Err(CallError::Encode(CodecError::TooLong { encoded_bytes_max })),
    }
}

impl State {
    #[inline]
    fn append(&mut self, header: Header, body: &[u8], bounds: &Bounds) -> bool {
        let is_taken = !self.is_over
            && !self.is_overfull
            && self.out.push(header, body, bounds.queued_bytes_max);
        self.is_overfull |= !is_taken;
        is_taken
    }

    /// Keeps an answer from another thread to a call that may be at hand: of several, the latest.
    #[cold]
    fn put_early(&mut self, header: Header, body: &[u8]) -> bool {
        let ends = matches!(header.kind, Kind::Reply | Kind::Fail);
        if self.is_over || !ends {
            return false;
        }
        let is_earlier = |than: CallId| {
            let age = than.sequence.wrapping_sub(header.id.sequence);
            age < u32::MAX / 2
        };
        if matches!(&self.early, Some(early) if is_earlier(early.header.id)) {
            return false;
        }
        let body = body.into();
        self.early = Some(Box::new(Early { header, body }));
        true
    }

    fn waiting_bytes(&self) -> usize {
        self.out.len() + self.stream_bytes
    }
}
