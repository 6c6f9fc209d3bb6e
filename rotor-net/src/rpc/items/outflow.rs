//! `Outflow`: the session's half of a stream of items that leaves. It knows the credit that the peer has given, and
//! whether the call lives.
//!
//! Invariant: whoever waits is woken by what it waits for: waiters look again after they have said that they wait, and
//! every change takes the waiter under the lock under which it is made.

use super::super::codec::CodecError;
use super::super::error::CallError;
use super::super::frame::{CallId, Header, Kind};
use super::super::guard::guarded;
use super::super::line::Line;
use super::{Mutex, lock, longest_item};
use std::sync::Arc;
use std::task::Waker;

/// Shared by a session and an [`ItemSender`](super::ItemSender). The session calls it without holding a lock of its own.
pub(crate) struct Outflow {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Where the items go, from when the call was sent until the sender has looked.
    exit: Option<Exit>,
    /// Credit that the sender has not seen yet.
    granted_bytes: u64,
    /// Why no item can be sent any more.
    over: Option<CallError>,
    /// The sender ended before the call was sent.
    ends_on_open: bool,
    waiter: Option<Waker>,
}

impl Outflow {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
        })
    }

    /// The call was sent, or has arrived, in this version: from now on items may be sent, of so many bytes before more
    /// credit comes. Once per call: what has been put on one line cannot be put on another.
    pub fn open(
        &self,
        line: Arc<dyn Line>,
        id: CallId,
        window_bytes: u32,
        item_bytes_max: usize,
        version: usize,
    ) {
        let exit = Exit {
            line,
            id,
            item_bytes_max: item_bytes_max.min(longest_item(window_bytes)),
            version,
        };
        let mut state = lock(&self.state);
        if state.over.is_some() {
            return;
        }
        let ended = if state.ends_on_open {
            Some(exit)
        } else {
            state.exit = Some(exit);
            state.granted_bytes = u64::from(window_bytes);
            None
        };
        let waiter = state.waiter.take();
        drop(state);
        if let Some(exit) = ended {
            exit.push(Kind::End, &[]);
        }
        wake(waiter);
    }

    /// The peer gives more credit.
    pub fn credit(&self, bytes: u32) {
        self.change(|state| {
            state.granted_bytes = state.granted_bytes.saturating_add(u64::from(bytes));
        });
    }

    /// The line, which was full, has room again.
    pub fn room(&self) {
        self.change(|_| ());
    }

    /// The call is over, so that nothing more can be sent. The first reason counts. Best called before the line refuses
    /// frames, since a sender that learns of it from the line gets [`CallError::Cancelled`] as its reason.
    pub fn close(&self, why: CallError) {
        let exit = self.change(|state| {
            state.over.get_or_insert(why);
            state.exit.take()
        });
        drop(exit);
    }

    /// Whether nothing more can be sent.
    pub fn is_over(&self) -> bool {
        lock(&self.state).over.is_some()
    }

    /// Why nothing more can be sent, to who has learnt of it from the line.
    pub(super) fn why(&self) -> CallError {
        let over = lock(&self.state).over.clone();
        over.unwrap_or(CallError::Cancelled)
    }

    /// The credit that has come since the last look, and the way out, if it is new.
    pub(super) fn look(&self, exit: &mut Option<Exit>) -> Result<u64, CallError> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.over {
            return Err(why.clone());
        }
        if let Some(new) = state.exit.take() {
            *exit = Some(new);
        }
        Ok(std::mem::take(&mut state.granted_bytes))
    }

    /// The way out, or none, and then the end is sent as soon as the call was.
    pub(super) fn exit_or_end_later(&self) -> Result<Option<Exit>, CallError> {
        let mut state = lock(&self.state);
        if let Some(why) = &state.over {
            return Err(why.clone());
        }
        let exit = state.exit.take();
        state.ends_on_open = exit.is_none();
        Ok(exit)
    }

    /// Wakes this one at the next change, rather than whoever waited before. The caller looks again afterwards.
    pub(super) fn wait(&self, waker: Waker) {
        let before = lock(&self.state).waiter.replace(waker);
        drop(before);
    }

    /// Changes the state, and wakes who waits.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = lock(&self.state);
        let result = change(&mut state);
        let waiter = state.waiter.take();
        drop(state);
        wake(waiter);
        result
    }
}

/// Wakes who waited; outside the lock. A waker is code of the program, and a matter of this call alone.
#[inline]
pub(super) fn wake(waiter: Option<Waker>) {
    if let Some(waiter) = waiter {
        let _ = guarded(|| waiter.wake());
    }
}

/// Where the items of a call go.
pub(super) struct Exit {
    pub line: Arc<dyn Line>,
    id: CallId,
    item_bytes_max: usize,
    pub version: usize,
}

impl Exit {
    /// Appends a frame of the call. False if it is over.
    #[inline]
    pub fn push(&self, kind: Kind, body: &[u8]) -> bool {
        self.line.push(Header::new(kind, self.id), body)
    }

    /// Whether the peer takes a frame with this body.
    ///
    /// # Errors
    /// [`CallError::Encode`].
    #[inline]
    pub fn admits(&self, body: &[u8]) -> Result<(), CallError> {
        if body.len() <= self.item_bytes_max {
            return Ok(());
        }
        Err(CallError::Encode(CodecError::TooLong {
            encoded_bytes_max: self.item_bytes_max,
        }))
    }

    /// Fails the call, as a server.
    pub fn fail(&self, error: &CallError) {
        let (code, words) = error.to_wire();
        // A peer that gets a longer frame than it takes ends the session.
        let words = &words[..words.floor_char_boundary(self.item_bytes_max)];
        let header = Header::new(Kind::Fail, self.id).with_number(code as u16);
        self.line.push(header, words.as_bytes());
    }
}
