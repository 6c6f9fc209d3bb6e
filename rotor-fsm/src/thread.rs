//! `LoopThread`: a loop on a thread of its own, that can be talked to as soon as it exists. And what a thread knows of
//! the loops that it runs.

use crate::config::Config;
use crate::control::LoopHandle;
use crate::error::{Error, ErrorKind, Result};
use crate::event_loop::{Loop, Setup};
use crate::machine::Machine;
use crossbeam_channel::bounded;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::thread::JoinHandle;
use std::time::Duration;

/// Whether a loop runs on this thread right now: then whoever waits for another thread stops all its machines, and
/// waits for ever if it is for one of them. For blocking calls, which are better refused there. Also true while a
/// [simulation](crate::sim) runs.
pub fn is_loop_thread() -> bool {
    LOOPS.get() > 0
}

thread_local! {
    /// Loops that this thread runs: one in another's fiber, at most.
    static LOOPS: Cell<u32> = const { Cell::new(0) };
}

/// A loop runs on this thread as long as this lives.
pub(crate) struct Running(PhantomData<*mut ()>);

impl Running {
    pub fn here() -> Self {
        LOOPS.set(LOOPS.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        LOOPS.set(LOOPS.get() - 1);
    }
}

/// A running loop on its own thread. Dereferences to its [`LoopHandle`].
///
/// Dropping it shuts the loop down without grace and waits for the thread; [`join`](Self::join) waits for the loop to
/// end by itself.
pub struct LoopThread<R: Machine> {
    handle: LoopHandle<R>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl<R: Machine> LoopThread<R> {
    /// Starts a thread (pinned first, if `config.core` says so, so that its memory is near), makes the loop on it, and
    /// returns when `setup` has returned and messages and spawns are taken.
    ///
    /// # Errors
    /// What `setup` or the system refuses. A core that cannot be pinned to is an error too.
    pub fn spawn(
        config: Config,
        setup: impl FnOnce(&Setup<'_, R>) -> Result<R::Context> + Send + 'static,
    ) -> Result<Self> {
        let (ready, wait) = bounded(1);
        let name = config.thread_name.clone();
        let body = move || {
            pin(config.core)?;
            let mut main_loop = Loop::<R>::new(config, setup)?;
            let _ = ready.send(main_loop.handle());
            drop(ready);
            main_loop.run()
        };
        let thread = std::thread::Builder::new().name(name).spawn(body)?;
        match wait.recv() {
            Ok(handle) => Ok(Self {
                handle,
                thread: Some(thread),
            }),
            Err(_) => Err(join(thread)
                .err()
                .unwrap_or_else(|| ErrorKind::LoopPanicked.into())),
        }
    }

    /// Waits until the loop has ended by itself or by a shutdown, and returns what its `run` returned.
    ///
    /// # Errors
    /// As [`Loop::run`]; `LoopPanicked` if a panic ended it.
    pub fn join(mut self) -> Result<()> {
        self.thread.take().map_or(Ok(()), join)
    }
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread
        .join()
        .unwrap_or_else(|_| Err(ErrorKind::LoopPanicked.into()))
}

/// Binds this thread to the `n`th of the cores that the process may use.
fn pin(core: Option<usize>) -> Result<()> {
    let Some(n) = core else { return Ok(()) };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match cores.get(n) {
        Some(core) if core_affinity::set_for_current(*core) => Ok(()),
        Some(_) => Err(Error::msg(format!(
            "the system refused to pin a thread to core {n}"
        ))),
        None => Err(Error::msg(format!(
            "cannot pin to core {n}: the process may use {} cores",
            cores.len()
        ))),
    }
}

impl<R: Machine> Deref for LoopThread<R> {
    type Target = LoopHandle<R>;

    fn deref(&self) -> &LoopHandle<R> {
        &self.handle
    }
}

impl<R: Machine> Drop for LoopThread<R> {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.shutdown(Duration::ZERO);
            let _ = join(thread);
        }
    }
}

impl<R: Machine> std::fmt::Debug for LoopThread<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoopThread<{}>", std::any::type_name::<R>())
    }
}
