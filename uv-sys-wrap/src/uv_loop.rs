//! The owned loop: it has the sink, `run` and `close`.
//!
//! `run` takes `&mut self` and callbacks see only the sink and a [`Uv`], so that running the loop from
//! inside one of its callbacks (U5, which libuv does not detect) does not compile.

use crate::error::{Error, Op, Result};
use crate::event::Sink;
use crate::pool::PoolConfig;
use crate::state::{Core, gate};
use crate::trampoline::Callbacks;
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// The limits of a loop.
#[derive(Clone, Debug)]
pub struct LoopConfig {
    /// The buffer pool's.
    pub pool: PoolConfig,
    /// Handles alive at a time. Default 1,048,576: as many as a process may commonly have descriptors.
    pub handles_max: usize,
    /// Requests under way at a time. Default 2,097,152: a write and a shutdown for each handle.
    pub requests_max: usize,
    /// Thread-pool jobs queued or running at a time. Default 1,024: 256 for each of libuv's four threads.
    pub work_max: usize,
    /// How long closing waits for running thread-pool work (U3). Default 5 s: longer than a disk hiccup,
    /// shorter than a supervisor's patience.
    pub close_grace: Duration,
}

impl Default for LoopConfig {
    fn default() -> Self {
        LoopConfig {
            pool: PoolConfig::default(),
            handles_max: 1 << 20,
            requests_max: 1 << 21,
            work_max: 1 << 10,
            close_grace: Duration::from_secs(5),
        }
    }
}

/// How long [`Loop::run`] runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RunMode {
    /// Until no referenced handle or request is active, or [`Uv::stop`].
    Default,
    /// One turn, waiting for events if there are none.
    Once,
    /// One turn without waiting.
    NoWait,
}

/// A libuv loop with its sink. `!Send`; runs on the thread that made it.
pub struct Loop<S: Sink> {
    uv: Uv,
    close_grace: Duration,
    _sink: PhantomData<S>,
}

impl<S: Sink> Loop<S> {
    /// Makes a loop. `sink` gets the handle factory and makes the sink; no event comes before it returns.
    pub fn new(config: LoopConfig, sink: impl FnOnce(&Uv) -> S) -> Result<Self> {
        Loop::try_new(config, |uv| Ok(sink(uv)))
    }

    /// Makes a loop with a sink that may fail to be made; then the loop is closed again.
    pub fn try_new<E: From<Error>>(
        config: LoopConfig,
        sink: impl FnOnce(&Uv) -> Result<S, E>,
    ) -> Result<Self, E> {
        ignore_sigpipe();
        let core = Core::own(&config, Callbacks::of::<S>())?;
        // From here on a drop closes the loop, also while a panic of `sink` unwinds.
        let made = Loop {
            uv: Uv(core),
            close_grace: config.close_grace,
            _sink: PhantomData,
        };
        let sink = Box::into_raw(Box::new(sink(&made.uv)?));
        made.core().place_sink(sink.cast(), drop_boxed::<S>);
        Ok(made)
    }

    /// The handle factory.
    pub fn uv(&self) -> &Uv {
        &self.uv
    }

    /// The sink.
    pub fn sink(&self) -> &S {
        // SAFETY: the sink was boxed by `try_new` and leaves only with `self`. Callbacks, the only ones
        // to make a `&mut`, run only inside `run`, which borrows `self` mutably.
        unsafe { &*self.core().sink().cast::<S>() }
    }

    /// The sink, mutably.
    pub fn sink_mut(&mut self) -> &mut S {
        // SAFETY: as in `sink`.
        unsafe { &mut *self.core().sink().cast::<S>() }
    }

    /// Runs the loop; says whether referenced handles or requests are still active.
    ///
    /// # Panics
    /// With the sink's own panic, after the loop stopped.
    pub fn run(&mut self, mode: RunMode) -> Result<bool> {
        let core = self.core();
        core.apply_closes();
        let mode = match mode {
            RunMode::Default => sys::uv_run_mode_UV_RUN_DEFAULT,
            RunMode::Once => sys::uv_run_mode_UV_RUN_ONCE,
            RunMode::NoWait => sys::uv_run_mode_UV_RUN_NOWAIT,
        };
        // SAFETY: the loop is open as long as `self` lives, and it is not running: running borrows
        // `self` mutably, and this thread alone has it.
        let alive = unsafe { sys::uv_run(core.raw(Op::Loop)?, mode) } != 0;
        match core.take_panic() {
            Some(payload) => std::panic::resume_unwind(payload),
            None => Ok(alive),
        }
    }

    /// Closes all handles, runs the loop until they are, closes it, and gives the sink back.
    ///
    /// Running thread-pool work cannot be cancelled: when it outlasts [`LoopConfig::close_grace`], the
    /// loop's memory is leaked on purpose, the sink dropped, and the error is of kind `Busy` (U3).
    pub fn close(self) -> Result<S> {
        let ended = self.end();
        let sink = self.core().take_sink();
        match (ended, sink) {
            // SAFETY: `try_new` made this pointer from a `Box<S>`, and it was taken out just now.
            (Ok(()), Some(sink)) => Ok(*unsafe { Box::from_raw(sink.cast::<S>()) }),
            (ended, sink) => {
                // SAFETY: as above.
                drop(sink.map(|sink| unsafe { Box::from_raw(sink.cast::<S>()) }));
                Err(ended.err().unwrap_or(Error::closed(Op::Close)))
            }
        }
    }

    fn core(&self) -> &Core {
        self.uv.core()
    }

    /// Closes the loop, once.
    fn end(&self) -> Result<()> {
        let core = self.core();
        if core.gate.get() & gate::TORN != 0 {
            return Ok(());
        }
        core.tear();
        let ended = core.run_dry(self.close_grace);
        if ended.is_err() {
            // A pool thread will still lock the loop's mutex and write to its request: all of it stays.
            std::mem::forget(Rc::clone(&self.uv.0));
        }
        ended
    }
}

impl<S: Sink> Drop for Loop<S> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("uv-sys-wrap: {error}; the loop's memory is leaked on purpose");
        }
        if let Some(sink) = self.core().take_sink() {
            // SAFETY: `try_new` made this pointer from a `Box<S>`, and it was taken out just now.
            drop(unsafe { Box::from_raw(sink.cast::<S>()) });
        }
    }
}

/// # Safety
/// `sink` came from a `Box<S>` and is not used again.
pub(crate) unsafe fn drop_boxed<S>(sink: *mut ()) {
    // SAFETY: as the caller promised.
    drop(unsafe { Box::from_raw(sink.cast::<S>()) });
}

/// Has writes to a closed peer fail with EPIPE instead of killing the process (U16).
///
/// Rust's `main` does so; other hosts' need not. A handler that the host installed stays.
pub(crate) fn ignore_sigpipe() {
    // SAFETY: both calls get valid (zeroed) structures; an all-zero `sigaction` is `SIG_DFL` without
    // flags, and is then given another handler.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut now) == 0
            && now.sa_sigaction == libc::SIG_DFL
        {
            let mut ignore: libc::sigaction = std::mem::zeroed();
            ignore.sa_sigaction = libc::SIG_IGN;
            libc::sigaction(libc::SIGPIPE, &ignore, std::ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::event::{Event, HandleId, Token};
    use crate::slot::HandleKind;

    struct Nobody;
    impl Sink for Nobody {
        fn event(&mut self, _: Token, _: HandleId, _: Event<'_>) {}
    }

    #[test]
    fn u01_a_failed_init_is_no_handle_and_nothing_to_close() {
        let uv_loop = Loop::new(LoopConfig::default(), |_| Nobody).unwrap();
        let core = uv_loop.core();
        for _ in 0..100 {
            let failed = core.open(HandleKind::Timer, 1, |_, _| sys::uv_errno_t_UV_EMFILE);
            assert_eq!(failed.err().map(|error| error.kind()), Some(Kind::FdLimit));
        }
        assert_eq!(core.handle_counts(), (0, 0, 64));
        assert!(uv_loop.close().is_ok());
    }

    #[test]
    fn u03_memory_that_running_work_needs_is_never_freed() {
        if std::env::var_os("ROTOR_VALGRIND").is_some() {
            // A leak on purpose.
            return;
        }
        let (started, starts) = std::sync::mpsc::channel();
        let (release, waits) = std::sync::mpsc::channel::<()>();
        let config = LoopConfig {
            close_grace: Duration::ZERO,
            ..LoopConfig::default()
        };
        let uv_loop = Loop::new(config, |_| Nobody).unwrap();
        let job = move || {
            started.send(()).unwrap();
            let _ = waits.recv_timeout(Duration::from_secs(60));
        };
        uv_loop.uv().work(Token(1), Box::new(job)).unwrap();
        starts.recv_timeout(Duration::from_secs(60)).unwrap();
        let memory = Rc::downgrade(&uv_loop.uv.0);
        drop(uv_loop);
        assert!(memory.upgrade().is_some());
        release.send(()).unwrap();
    }

    #[test]
    fn u01_a_slot_at_its_last_generation_is_never_used_again() {
        let mut uv_loop = Loop::new(LoopConfig::default(), |_| Nobody).unwrap();
        let uv = uv_loop.uv().clone();
        let last = crate::Timer::new(&uv, Token(1)).unwrap();
        let slot = uv_loop.core().live(last.id(), Op::Lookup).unwrap();
        let id = HandleId::new(last.id().index(), u32::MAX - 1);
        slot.id.set(id);
        drop(last);
        uv.close(id);
        uv_loop.run(RunMode::Default).unwrap();
        let next = crate::Timer::new(&uv, Token(2)).unwrap();
        assert_ne!(next.id().index(), id.index());
        assert_eq!(uv.stats().handles_live, 1);
        assert!(uv_loop.close().is_ok());
    }
}
