//! Every `extern "C"` function: from libuv's callback to one [`Event`], and never an unwind into C (U6).
//!
//! Each does its own bookkeeping first (so that a discarded event leaves no request behind), then asks
//! [`Core::admits`], then delivers. Dropped handles are closed when the delivery is over.

use crate::error::{Error, Kind, Op, check};
use crate::event::{Event, HandleId, Sink, Token};
use crate::request::Request;
use crate::slot::{HandleKind, Slot, flag};
use crate::state::{Core, gate};
use crate::work::{Job, Payload};
use libuv_sys2 as sys;
use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The callbacks for one type of sink: made once per loop, so that the rest need not be generic.
#[derive(Clone, Copy)]
pub(crate) struct Callbacks {
    pub(crate) read: sys::uv_read_cb,
    pub(crate) write: sys::uv_write_cb,
    pub(crate) connect: sys::uv_connect_cb,
    pub(crate) shutdown: sys::uv_shutdown_cb,
    pub(crate) connection: sys::uv_connection_cb,
    pub(crate) poll: sys::uv_poll_cb,
    pub(crate) timer: sys::uv_timer_cb,
    pub(crate) wake: sys::uv_async_cb,
    pub(crate) signal: sys::uv_signal_cb,
    pub(crate) prepare: sys::uv_prepare_cb,
    pub(crate) check: sys::uv_check_cb,
    pub(crate) idle: sys::uv_idle_cb,
    pub(crate) worked: sys::uv_after_work_cb,
}

impl Callbacks {
    pub(crate) fn of<S: Sink>() -> Callbacks {
        Callbacks {
            read: Some(on_read::<S>),
            write: Some(on_write::<S>),
            connect: Some(on_connect::<S>),
            shutdown: Some(on_shutdown::<S>),
            connection: Some(on_connection::<S>),
            poll: Some(on_poll::<S>),
            timer: Some(on_timer::<S>),
            wake: Some(on_wake::<S>),
            signal: Some(on_signal::<S>),
            prepare: Some(on_prepare::<S>),
            check: Some(on_check::<S>),
            idle: Some(on_idle::<S>),
            worked: Some(on_worked::<S>),
        }
    }
}

/// The slot that `handle.data` points at.
///
/// # Safety
/// `data` was set by [`Core::open`], and the handle's close callback has not run yet: both hold for
/// every handle that libuv passes to one of our callbacks.
#[inline]
unsafe fn slot_of<'a>(data: *mut c_void) -> &'a Slot {
    // SAFETY: as the caller promised; slots do not move.
    unsafe { &*data.cast_const().cast::<Slot>() }
}

/// Calls the sink, keeps its panic, closes what was dropped meanwhile.
///
/// # Safety
/// The core's callbacks were made for `S`, and [`Core::admits`] has just said yes: so the sink is there,
/// is an `S`, and nobody else is using it.
#[inline(always)]
unsafe fn deliver<S: Sink>(core: &Core, token: Token, id: HandleId, event: Event<'_>) {
    // SAFETY: as the caller promised.
    unsafe { call_sink::<S>(core, |sink| sink.event(token, id, event)) };
}

/// The same for any call of the sink. Each caller's closure is a type of its own, so that the kind of event is known
/// where it is compiled.
///
/// # Safety
/// As for [`deliver`].
#[inline(always)]
unsafe fn call_sink<S: Sink>(core: &Core, call: impl FnOnce(&mut S)) {
    let sink = core.sink().cast::<S>();
    core.gate.set(gate::IN_EVENT);
    // SAFETY: as the caller promised; IN_EVENT keeps a second `&mut` from being made.
    let outcome = catch_unwind(AssertUnwindSafe(|| call(unsafe { &mut *sink })));
    if let Err(payload) = outcome {
        // SAFETY: as the caller promised; the first call has ended.
        unsafe { judge::<S>(core, payload) };
    }
    // Only this bit was set when the event began; most often it still is the only one.
    let gate = core.gate.replace(core.gate.get() & !gate::IN_EVENT);
    if gate != gate::IN_EVENT || !core.closes().is_empty() {
        aftermath(core);
    }
}

/// Lets the sink judge its panic.
///
/// # Safety
/// As for [`deliver`], during it.
#[cold]
#[inline(never)]
unsafe fn judge<S: Sink>(core: &Core, payload: Payload) {
    let sink = core.sink().cast::<S>();
    // SAFETY: as the caller promised.
    let judged = catch_unwind(AssertUnwindSafe(|| unsafe { (*sink).panicked(payload) }));
    if let Ok(Err(payload)) | Err(payload) = judged {
        core.keep_panic(payload);
    }
}

/// Closes what was dropped; drops the sink if its loop ended meanwhile.
#[cold]
#[inline(never)]
fn aftermath(core: &Core) {
    if !core.closes().is_empty() {
        core.apply_closes();
    }
    if core.gate.get() & gate::TORN != 0 {
        core.drop_sink();
    }
}

/// [`deliver`] for an event of a slot, if the slot still wants it.
///
/// # Safety
/// The core's callbacks were made for `S`.
#[inline]
unsafe fn deliver_to<S: Sink>(slot: &Slot, event: Event<'_>) {
    let core = slot.core();
    if core.admits(slot) {
        // SAFETY: as the caller promised, and `admits` said yes.
        unsafe { deliver::<S>(core, Token(slot.token.get()), slot.id.get(), event) };
    }
}

/// [`deliver_to`] for what comes every turn: each caller has a copy of its own, in which the event is known.
///
/// # Safety
/// The core's callbacks were made for `S`.
#[inline(always)]
unsafe fn deliver_phase<S: Sink>(slot: &Slot, event: impl FnOnce() -> Event<'static>) {
    let core = slot.core();
    if core.admits(slot) {
        let (token, id) = (Token(slot.token.get()), slot.id.get());
        // SAFETY: as the caller promised, and `admits` said yes.
        unsafe { call_sink::<S>(core, |sink| sink.event(token, id, event())) };
    }
}

/// Lends the pool's hot block: never empty, no user code (U7).
pub(crate) unsafe extern "C" fn on_alloc(
    handle: *mut sys::uv_handle_t,
    _: usize,
    buf: *mut sys::uv_buf_t,
) {
    // SAFETY: libuv passes a live handle of ours and a buffer to fill in.
    unsafe {
        let (base, len) = slot_of((*handle).data).core().pool.lend();
        (*buf).base = base.cast();
        (*buf).len = len;
    }
}

unsafe extern "C" fn on_read<S: Sink>(
    stream: *mut sys::uv_stream_t,
    nread: isize,
    _: *const sys::uv_buf_t,
) {
    // SAFETY: libuv passes a live stream of ours.
    let slot = unsafe { slot_of((*stream).data) };
    let core = slot.core();
    if nread <= 0 {
        // SAFETY: registered by a loop whose sink is an `S`.
        return unsafe { read_ended::<S>(slot, nread as c_int) };
    }
    if core.admits(slot) {
        // SAFETY: libuv has just written this many bytes where the alloc callback told it to, which for a
        // positive count always ran directly before.
        let bytes = unsafe { core.pool.filled(nread as usize) };
        let (token, id) = (Token(slot.token.get()), slot.id.get());
        // SAFETY: registered by a loop whose sink is an `S`; admitted above.
        unsafe { call_sink::<S>(core, |sink| sink.event(token, id, Event::Read(bytes))) };
    }
}

/// The end of a stream, an error, or nothing: zero is EAGAIN, not an event (U8).
///
/// # Safety
/// The core's callbacks were made for `S`.
#[cold]
#[inline(never)]
unsafe fn read_ended<S: Sink>(slot: &Slot, code: c_int) {
    if code == 0 || !slot.core().admits(slot) {
        return;
    }
    // SAFETY: the stream is live (admitted); libuv has mostly stopped reading itself, but not for
    // every code, and a second stop does nothing.
    unsafe { sys::uv_read_stop(slot.stream()) };
    let event = match code {
        sys::uv_errno_t_UV_EOF => Event::Eof,
        _ => Event::Failed(Error::from_code(Op::Read, code)),
    };
    let (token, id) = (Token(slot.token.get()), slot.id.get());
    // SAFETY: as the caller promised, and `admits` said yes.
    unsafe { deliver::<S>(slot.core(), token, id, event) };
}

unsafe extern "C" fn on_write<S: Sink>(request: *mut sys::uv_write_t, status: c_int) {
    // SAFETY: libuv passes a request of ours whose stream is not closed for good yet.
    let (slot, request) = unsafe { (slot_of((*(*request).handle).data), Request::of(request)) };
    let core = slot.core();
    let mut bufs = request.swap_bufs(Default::default());
    core.requests.give_back(request.index);
    if core.admits(slot) {
        let event = Event::Written {
            bufs: &mut bufs,
            result: check(Op::Write, status),
        };
        // SAFETY: registered by a loop whose sink is an `S`; admitted.
        unsafe { deliver::<S>(core, Token(slot.token.get()), slot.id.get(), event) };
    }
    // What the sink left in them may have drops that panic.
    core.guard(|| drop(bufs));
}

unsafe extern "C" fn on_connect<S: Sink>(request: *mut sys::uv_connect_t, status: c_int) {
    // SAFETY: as in `on_write`.
    let (slot, request) = unsafe { (slot_of((*(*request).handle).data), Request::of(request)) };
    slot.core().requests.give_back(request.index);
    slot.clear(flag::CONNECTING);
    slot.set(if status < 0 {
        flag::FAILED
    } else {
        flag::CONNECTED
    });
    let event = match check(Op::Connect, status) {
        Ok(()) => Event::Connected,
        Err(error) => Event::Failed(error),
    };
    // SAFETY: registered by a loop whose sink is an `S`.
    unsafe { deliver_to::<S>(slot, event) };
}

unsafe extern "C" fn on_shutdown<S: Sink>(request: *mut sys::uv_shutdown_t, status: c_int) {
    // SAFETY: as in `on_write`.
    let (slot, request) = unsafe { (slot_of((*(*request).handle).data), Request::of(request)) };
    slot.core().requests.give_back(request.index);
    // SAFETY: registered by a loop whose sink is an `S`.
    unsafe { deliver_to::<S>(slot, Event::ShutDown(check(Op::Shutdown, status))) };
}

unsafe extern "C" fn on_connection<S: Sink>(server: *mut sys::uv_stream_t, status: c_int) {
    // SAFETY: libuv passes a live stream of ours.
    let slot = unsafe { slot_of((*server).data) };
    let event = match check(Op::Accept, status) {
        Ok(()) => Event::Incoming,
        Err(error) => Event::Failed(error),
    };
    // SAFETY: registered by a loop whose sink is an `S`.
    unsafe { deliver_to::<S>(slot, event) };
}

unsafe extern "C" fn on_poll<S: Sink>(poll: *mut sys::uv_poll_t, status: c_int, _: c_int) {
    // SAFETY: libuv passes a live handle of ours.
    let slot = unsafe { slot_of((*poll).data) };
    slot.clear(flag::ASKED);
    let event = match check(Op::Accept, status) {
        Ok(()) => Event::Incoming,
        Err(error) => Event::Failed(error),
    };
    // SAFETY: registered by a loop whose sink is an `S`.
    unsafe { deliver_to::<S>(slot, event) };
    if slot.has(flag::LIVE) && !slot.has(flag::ASKED | flag::PAUSED) {
        // Nobody asked for the connection: stop polling until somebody does, or this would spin.
        crate::acceptor::wait(slot);
    }
}

unsafe extern "C" fn on_timer<S: Sink>(timer: *mut sys::uv_timer_t) {
    // SAFETY: libuv passes a live handle of ours, registered by a loop whose sink is an `S`.
    unsafe { deliver_to::<S>(slot_of((*timer).data), Event::Timer) };
}

unsafe extern "C" fn on_wake<S: Sink>(wake: *mut sys::uv_async_t) {
    // SAFETY: as in `on_timer`.
    let slot = unsafe { slot_of((*wake).data) };
    slot.core().count_wake();
    // SAFETY: as in `on_timer`.
    unsafe { deliver_to::<S>(slot, Event::Wake) };
}

unsafe extern "C" fn on_signal<S: Sink>(signal: *mut sys::uv_signal_t, signum: c_int) {
    // SAFETY: as in `on_timer`.
    unsafe { deliver_to::<S>(slot_of((*signal).data), Event::Signal(signum)) };
}

unsafe extern "C" fn on_prepare<S: Sink>(prepare: *mut sys::uv_prepare_t) {
    // SAFETY: as in `on_timer`.
    unsafe { deliver_phase::<S>(slot_of((*prepare).data), || Event::Prepare) };
}

unsafe extern "C" fn on_check<S: Sink>(phase: *mut sys::uv_check_t) {
    // SAFETY: as in `on_timer`.
    unsafe { deliver_phase::<S>(slot_of((*phase).data), || Event::Check) };
}

unsafe extern "C" fn on_idle<S: Sink>(idle: *mut sys::uv_idle_t) {
    // SAFETY: as in `on_timer`.
    unsafe { deliver_to::<S>(slot_of((*idle).data), Event::Idle) };
}

unsafe extern "C" fn on_worked<S: Sink>(request: *mut sys::uv_work_t, status: c_int) {
    // SAFETY: libuv passes a job of ours, whose arena lives until this callback has run.
    let job = unsafe { Job::of(request) };
    let core = job.core();
    let result = match (check(Op::Work, status), job.has_panicked()) {
        (Ok(()), true) => Err(Error::new(Op::Work, Kind::Panicked)),
        (result, _) => result,
    };
    let event = Event::Worked {
        work: job.id(),
        result,
    };
    if core.admits_any() {
        // SAFETY: registered by a loop whose sink is an `S`; admitted.
        unsafe { deliver::<S>(core, Token(job.token()), HandleId::NONE, event) };
    }
    core.guard(|| job.clean());
    core.jobs.give_back(job.index());
    core.let_go();
}

/// Runs a job on a pool thread. Touches nothing but the job.
pub(crate) unsafe extern "C" fn on_work(request: *mut sys::uv_work_t) {
    // SAFETY: libuv passes a job of ours, which nobody else touches until the after-work callback.
    unsafe { Job::of(request).run() };
}

/// Before the loop sleeps: close what was dropped outside of any event.
pub(crate) unsafe extern "C" fn on_turn(prepare: *mut sys::uv_prepare_t) {
    // SAFETY: `data` of this handle is its core, which outlives it.
    unsafe { (*(*prepare).data.cast_const().cast::<Core>()).apply_closes() };
}

/// The turn handle is closed.
pub(crate) unsafe extern "C" fn on_turn_closed(handle: *mut sys::uv_handle_t) {
    // SAFETY: as in `on_turn`.
    unsafe { (*(*handle).data.cast_const().cast::<Core>()).turn_closed() };
}

/// A handle is closed for good: its memory may be reused.
pub(crate) unsafe extern "C" fn on_closed(handle: *mut sys::uv_handle_t) {
    // SAFETY: libuv calls this once per handle of ours, and does not touch the handle afterwards.
    let slot = unsafe { slot_of((*handle).data) };
    match slot.kind.get() {
        HandleKind::Tty => crate::tty::free(slot),
        HandleKind::Wake => crate::wake::free(slot),
        _ => {}
    }
    slot.core().slot_closed(slot);
}
