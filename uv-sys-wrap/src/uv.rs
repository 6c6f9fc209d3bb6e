//! The face of a loop towards those who make and use handles: factory, operations by id, clock, counts.
//!
//! A [`Uv`] may outlive its loop; then everything answers an error of kind `Closed` and changes nothing.

use crate::acceptor::AcceptorRef;
use crate::error::{Op, Result};
use crate::event::{HandleId, Token};
use crate::handle::CloseList;
use crate::pool::Pool;
use crate::state::Core;
use crate::stream::StreamRef;
use libuv_sys2 as sys;
use std::fmt;
use std::rc::Rc;

/// Makes handles on a loop and operates on them by id. Cheap to clone, `!Send`.
#[derive(Clone)]
pub struct Uv(pub(crate) Rc<Core>);

impl Uv {
    /// The loop's cached time in milliseconds (`uv_now`); after the loop's end, the last such time.
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    /// Reads the clock into the loop's cached time (U18). About 20 ns.
    pub fn update_time(&self) {
        if let Ok(raw) = self.0.raw(Op::Loop) {
            // SAFETY: not torn, so the loop is initialised.
            unsafe { sys::uv_update_time(raw) };
        }
    }

    /// The monotonic clock in nanoseconds (`uv_hrtime`), read afresh.
    pub fn hrtime(&self) -> u64 {
        // SAFETY: needs no loop.
        unsafe { sys::uv_hrtime() }
    }

    /// Makes `run` return at the end of this turn. On a guest this stops the host's loop.
    pub fn stop(&self) {
        if let Ok(raw) = self.0.raw(Op::Loop) {
            // SAFETY: not torn, so the loop is initialised.
            unsafe { sys::uv_stop(raw) };
        }
    }

    /// Counts of handles, requests and events.
    pub fn stats(&self) -> Stats {
        let core = &*self.0;
        let (handles_live, handles_closing, slots) = core.handle_counts();
        Stats {
            handles_live,
            handles_closing,
            slots,
            requests_live: core.requests.taken(),
            request_slots: core.requests.made(),
            work_live: core.jobs.taken(),
            wakes: core.counts.wakes.get(),
            discarded: core.counts.discarded.get(),
            shed: core.counts.shed.get(),
        }
    }

    /// The loop's buffer pool.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Makes the memory of this many handles up front (about 300 bytes each), so that the first connections allocate
    /// as little as later ones. At most [`LoopConfig::handles_max`](crate::LoopConfig).
    pub fn prepare_handles(&self, count: usize) {
        self.0.prepare_handles(count);
    }

    /// The list that dropped handles are noted on.
    pub fn close_list(&self) -> &Rc<CloseList> {
        self.0.closes()
    }

    /// Closes a handle now, at any time; its later events are discarded. Idempotent.
    pub fn close(&self, id: HandleId) {
        self.0.close(id);
    }

    /// Whether the handle is open: neither closed nor closing (nor dropped and noted to be closed).
    pub fn is_live(&self, id: HandleId) -> bool {
        self.0.live(id, Op::Lookup).is_ok()
    }

    /// The token of a handle.
    pub fn token(&self, id: HandleId) -> Result<Token> {
        Ok(Token(self.0.live(id, Op::Lookup)?.token.get()))
    }

    /// Gives a handle another token, from its next event on.
    pub fn set_token(&self, id: HandleId, token: Token) -> Result<()> {
        self.0.live(id, Op::Lookup)?.token.set(token.0);
        Ok(())
    }

    /// Whether this handle, while active, keeps `run` from returning. It does by default.
    pub fn set_referenced(&self, id: HandleId, referenced: bool) -> Result<()> {
        let handle = self.0.live(id, Op::Lookup)?.handle();
        // SAFETY: the handle is live; both calls are idempotent.
        unsafe {
            if referenced {
                sys::uv_ref(handle)
            } else {
                sys::uv_unref(handle)
            }
        };
        Ok(())
    }

    /// A view of a stream by its id. Each operation looks the handle up.
    #[inline]
    pub fn stream(&self, id: HandleId) -> StreamRef<'_> {
        StreamRef::new(&self.0, id)
    }

    /// A view of an acceptor by its id. Each operation looks the handle up.
    pub fn acceptor(&self, id: HandleId) -> AcceptorRef<'_> {
        AcceptorRef::new(&self.0, id)
    }

    #[inline]
    pub(crate) fn core(&self) -> &Core {
        &self.0
    }
}

impl fmt::Debug for Uv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uv").field(&self.stats()).finish()
    }
}

/// What [`Uv::stats`] says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Open handles.
    pub handles_live: usize,
    /// Handles whose close callback has not run yet.
    pub handles_closing: usize,
    /// Handle slots in memory, used or free.
    pub slots: usize,
    /// Requests libuv holds.
    pub requests_live: usize,
    /// Request slots in memory, used or free.
    pub request_slots: usize,
    /// Thread-pool jobs queued, running or about to be reported.
    pub work_live: usize,
    /// Wake callbacks so far.
    pub wakes: u64,
    /// Events discarded because their handle was dropped or the sink had panicked.
    pub discarded: u64,
    /// Connections accepted by the system and closed at once for want of resources.
    pub shed: u64,
}
