//! What one loop shares among its handles: the arenas, the pool, the gate before the sink, and teardown.
//!
//! A [`Core`] sits behind an `Rc` and outlives its loop for as long as anybody holds a `Uv`; after the
//! loop's end every operation on it answers `Closed`. Invariant: libuv holds pointers only into slots
//! that are live or closing, into requests that are taken, into the turn handle and the loop itself; the
//! core is not freed before all of these are given up (`Loop` waits for that, a guest's core holds
//! itself until then).

mod sink;
mod teardown;

use crate::arena::Arena;
use crate::error::{Error, Kind, Op, Result, check};
use crate::event::HandleId;
use crate::handle::{CloseList, Handle};
use crate::pool::Pool;
use crate::request::Request;
use crate::slot::{HandleKind, Slot, UvPlace, flag};
use crate::trampoline::{Callbacks, on_closed};
use crate::uv_loop::LoopConfig;
use crate::work::{Job, Payload};
use libuv_sys2 as sys;
use std::cell::{Cell, UnsafeCell};
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::rc::Rc;

/// Bits of [`Core::gate`]. Events pass only while all are clear.
pub(crate) mod gate {
    /// The sink is being called.
    pub(crate) const IN_EVENT: u8 = 1;
    /// The sink panicked, and nobody has taken the payload yet.
    pub(crate) const PANICKED: u8 = 1 << 1;
    /// The loop is closing or closed.
    pub(crate) const TORN: u8 = 1 << 2;
    /// The sink is still being made.
    pub(crate) const NO_SINK: u8 = 1 << 3;
}

/// See the module's documentation.
pub(crate) struct Core {
    pub(crate) gate: Cell<u8>,
    closes: Rc<CloseList>,
    sink: Cell<*mut ()>,
    pub(crate) pool: Pool,
    pub(crate) callbacks: Callbacks,
    slots: Arena<Slot>,
    pub(crate) requests: Arena<Request>,
    pub(crate) jobs: Arena<Job>,
    raw: Cell<*mut sys::uv_loop_t>,
    /// The loop's boxed memory, unless it is a host's.
    owned: Option<NonNull<sys::uv_loop_t>>,
    turn: UnsafeCell<MaybeUninit<sys::uv_prepare_t>>,
    turn_open: Cell<bool>,
    drop_sink: Cell<Option<unsafe fn(*mut ())>>,
    panic: Cell<Option<Payload>>,
    /// A guest's core holds itself from the guest's end to the last close callback.
    held: Cell<Option<Rc<Core>>>,
    last_now: Cell<u64>,
    closing: Cell<u32>,
    retired: Cell<u32>,
    pub(crate) counts: Counts,
}

/// Counters that only grow.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) wakes: Cell<u64>,
    pub(crate) discarded: Cell<u64>,
    pub(crate) shed: Cell<u64>,
}

pub(crate) fn bump(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

impl Core {
    /// A core with a loop of its own, initialised.
    pub(crate) fn own(config: &LoopConfig, callbacks: Callbacks) -> Result<Rc<Core>> {
        let memory =
            NonNull::from(Box::leak(Box::new(MaybeUninit::<sys::uv_loop_t>::zeroed()))).cast();
        let core = Core::new(config, callbacks, memory.as_ptr(), Some(memory))?;
        // SAFETY: the leaked box is zeroed, pinned memory for the loop (libuv reads `data` before it
        // sets anything), and the core's drop alone frees it.
        check(Op::Loop, unsafe { sys::uv_loop_init(memory.as_ptr()) })?;
        core.start_turn();
        Ok(core)
    }

    /// A core on a host's loop.
    ///
    /// # Safety
    /// `raw` is initialised and stays so until all handles made here are closed; this thread runs it.
    pub(crate) unsafe fn attach(
        raw: *mut sys::uv_loop_t,
        config: &LoopConfig,
        callbacks: Callbacks,
    ) -> Result<Rc<Core>> {
        let core = Core::new(config, callbacks, raw, None)?;
        core.start_turn();
        Ok(core)
    }

    fn new(
        config: &LoopConfig,
        callbacks: Callbacks,
        raw: *mut sys::uv_loop_t,
        owned: Option<NonNull<sys::uv_loop_t>>,
    ) -> Result<Rc<Core>> {
        Ok(Rc::new(Core {
            gate: Cell::new(gate::NO_SINK),
            closes: Rc::new(CloseList::new()),
            sink: Cell::new(std::ptr::null_mut()),
            pool: Pool::new(config.pool.clone())?,
            callbacks,
            slots: Arena::new(config.handles_max),
            requests: Arena::new(config.requests_max),
            jobs: Arena::new(config.work_max),
            raw: Cell::new(raw),
            owned,
            turn: UnsafeCell::new(MaybeUninit::uninit()),
            turn_open: Cell::new(false),
            drop_sink: Cell::new(None),
            panic: Cell::new(None),
            held: Cell::new(None),
            last_now: Cell::new(0),
            closing: Cell::new(0),
            retired: Cell::new(0),
            counts: Counts::default(),
        }))
    }

    /// The loop, unless it is closing or closed.
    #[inline]
    pub(crate) fn raw(&self, op: Op) -> Result<*mut sys::uv_loop_t> {
        if self.gate.get() & gate::TORN != 0 {
            Err(Error::closed(op))
        } else {
            Ok(self.raw.get())
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        if let Ok(raw) = self.raw(Op::Loop) {
            // SAFETY: not torn, so the loop is initialised.
            self.last_now.set(unsafe { sys::uv_now(raw) });
        }
        self.last_now.get()
    }

    pub(crate) fn closes(&self) -> &Rc<CloseList> {
        &self.closes
    }

    /// Makes a handle. `init` calls libuv's init and answers its code; nonzero means no handle (U1).
    pub(crate) fn open(
        &self,
        kind: HandleKind,
        token: u64,
        init: impl FnOnce(*mut sys::uv_loop_t, *mut UvPlace) -> c_int,
    ) -> Result<&Slot> {
        let raw = self.raw(Op::Open)?;
        let slot = self
            .slots
            .take(|index| Slot::new(self, index))
            .ok_or(Error::new(Op::Open, Kind::Limit))?;
        let code = init(raw, slot.place());
        if code < 0 {
            self.slots.give_back(slot.id.get().index());
            return Err(Error::from_code(Op::Open, code));
        }
        slot.kind.set(kind);
        slot.token.set(token);
        slot.flags.set(flag::LIVE);
        // SAFETY: init succeeded, so this is a handle of libuv's, and `data` is ours to set.
        unsafe { (*slot.handle()).data = std::ptr::from_ref(slot).cast_mut().cast() };
        Ok(slot)
    }

    /// Makes the memory of this many handles up front.
    pub(crate) fn prepare_handles(&self, count: usize) {
        self.slots.prepare(count, |index| Slot::new(self, index));
    }

    /// Whether one more handle may be made.
    pub(crate) fn has_room(&self) -> bool {
        self.slots.has_room()
    }

    /// The owner value for a handle just made.
    pub(crate) fn owner(&self, slot: &Slot) -> Handle {
        Handle::new(slot.id.get(), self.closes.clone())
    }

    /// The slot of a live handle.
    #[inline]
    pub(crate) fn live(&self, id: HandleId, op: Op) -> Result<&Slot> {
        match self.slots.at(id.index()) {
            // The index is the place's own, so the generation decides.
            Some(slot) if slot.id.get().generation() == id.generation() && slot.has(flag::LIVE) => {
                Ok(slot)
            }
            _ => Err(Error::closed(op)),
        }
    }

    /// The slot of a live handle of this kind.
    #[inline]
    pub(crate) fn live_as(&self, id: HandleId, kind: HandleKind, op: Op) -> Result<&Slot> {
        let slot = self.live(id, op)?;
        if slot.kind.get() == kind {
            Ok(slot)
        } else {
            Err(Error::new(op, Kind::WrongKind))
        }
    }

    /// Closes what was dropped.
    #[cold]
    pub(crate) fn apply_closes(&self) {
        while let Some(id) = self.closes.pop() {
            self.close(id);
        }
    }

    /// Closes a handle; a stale or closing one stays as it is (U2).
    pub(crate) fn close(&self, id: HandleId) {
        if let Ok(slot) = self.live(id, Op::Close) {
            self.close_slot(slot);
        }
    }

    fn close_slot(&self, slot: &Slot) {
        self.mark_closing(slot);
        if slot.kind.get() == HandleKind::Wake {
            crate::wake::shut(slot);
        }
        // SAFETY: the handle was live until the line above, so this is its one `uv_close`; its memory
        // stays until `on_closed`.
        unsafe { sys::uv_close(slot.handle(), Some(on_closed)) };
        if slot.kind.get() == HandleKind::Acceptor {
            crate::acceptor::release(slot);
        }
    }

    /// Closes a TCP handle with a reset, or plainly if libuv refuses that (U20).
    pub(crate) fn reset_slot(&self, slot: &Slot) {
        if slot.kind.get() != HandleKind::Tcp {
            return self.close_slot(slot);
        }
        // SAFETY: the handle is live, so not closing. A refusal leaves it open and registers nothing.
        let code = unsafe { sys::uv_tcp_close_reset(slot.place().cast(), Some(on_closed)) };
        if code < 0 {
            self.close_slot(slot);
        } else {
            self.mark_closing(slot);
        }
    }

    fn mark_closing(&self, slot: &Slot) {
        slot.clear(flag::LIVE);
        slot.set(flag::CLOSING);
        self.closing.set(self.closing.get() + 1);
    }

    /// The close callback has run: the slot's next handle gets the next generation.
    pub(crate) fn slot_closed(&self, slot: &Slot) {
        self.closing.set(self.closing.get() - 1);
        if slot.retire_generation() {
            self.slots.give_back(slot.id.get().index());
        } else {
            self.retired.set(self.retired.get() + 1);
        }
        self.let_go();
    }

    pub(crate) fn count_wake(&self) {
        bump(&self.counts.wakes);
    }

    pub(crate) fn handle_counts(&self) -> (usize, usize, usize) {
        let closing = self.closing.get() as usize;
        let live = self.slots.taken() - closing - self.retired.get() as usize;
        (live, closing, self.slots.made())
    }
}
