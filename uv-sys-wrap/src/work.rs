//! Jobs on libuv's thread pool.
//!
//! A job is touched by one thread at a time: ours until `uv_queue_work`, a pool thread's while it runs,
//! ours again from the after-work callback on (libuv's mutexes order these). A job that has not started
//! can be cancelled, a running one cannot (U3).

use crate::arena::Place;
use crate::error::{Error, Kind, Op, Result, check};
use crate::event::Token;
use crate::state::Core;
use crate::trampoline::on_work;
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Names a job: a slot index and generation, so that a stale id never names a later job.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WorkId {
    index: u32,
    generation: u32,
}

impl WorkId {
    /// Makes an id. Loops make their own; other drivers (a simulator) make theirs with this.
    pub const fn new(index: u32, generation: u32) -> Self {
        WorkId { index, generation }
    }

    /// The slot's index.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the slot had been reused.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// What a panic carries.
pub type Payload = Box<dyn Any + Send>;

impl Uv {
    /// Queues a job for a pool thread; `Event::Worked` follows, with this token. Kind `Limit` when
    /// [`LoopConfig::work_max`](crate::LoopConfig::work_max) jobs are under way.
    pub fn work(&self, token: Token, run: Box<dyn FnOnce() + Send>) -> Result<WorkId> {
        let core = self.core();
        let raw = core.raw(Op::Work)?;
        let job = core
            .jobs
            .take(|index| Job::new(core, index))
            .ok_or(Error::new(Op::Work, Kind::Limit))?;
        job.token.set(token.0);
        // SAFETY: the job is not queued yet, so this thread alone has it.
        unsafe { *job.run.get() = Some(run) };
        // SAFETY: the loop is open; the job stays taken and in place until `on_worked`.
        let code =
            unsafe { sys::uv_queue_work(raw, job.uv(), Some(on_work), core.callbacks.worked) };
        if let Err(error) = check(Op::Work, code) {
            job.clean();
            core.jobs.give_back(job.id.get().index);
            return Err(error);
        }
        job.queued.set(true);
        Ok(job.id())
    }

    /// Cancels a job that has not started: its `Worked` event then says so. `false`: it runs, has run, or
    /// is unknown.
    pub fn cancel_work(&self, work: WorkId) -> bool {
        self.core().raw(Op::Work).is_ok() && self.job(work).is_some_and(Job::cancel)
    }

    /// The payload of a job's panic, while its `Worked` event is being delivered.
    pub fn take_work_panic(&self, work: WorkId) -> Option<Payload> {
        let job = self.job(work).filter(|job| !job.queued.get())?;
        // SAFETY: not queued any more: its pool thread is done with it.
        unsafe { (*job.panic.get()).take() }
    }

    fn job(&self, work: WorkId) -> Option<&Job> {
        self.core()
            .jobs
            .at(work.index)
            .filter(|job| job.id.get() == work)
    }
}

/// One job. libuv's part comes first, so that its pointer is also ours.
#[repr(C)]
pub(crate) struct Job {
    uv: UnsafeCell<MaybeUninit<sys::uv_work_t>>,
    run: UnsafeCell<Option<Box<dyn FnOnce() + Send>>>,
    panic: UnsafeCell<Option<Payload>>,
    core: *const Core,
    token: Cell<u64>,
    id: Cell<WorkId>,
    queued: Cell<bool>,
    link: Cell<u32>,
}

impl Place for Job {
    fn link(&self) -> &Cell<u32> {
        &self.link
    }
}

impl Job {
    fn new(core: *const Core, index: u32) -> Job {
        Job {
            uv: UnsafeCell::new(MaybeUninit::uninit()),
            run: UnsafeCell::new(None),
            panic: UnsafeCell::new(None),
            core,
            token: Cell::new(0),
            id: Cell::new(WorkId::new(index, 0)),
            queued: Cell::new(false),
            link: Cell::new(0),
        }
    }

    fn uv(&self) -> *mut sys::uv_work_t {
        std::ptr::from_ref(self).cast_mut().cast()
    }

    /// The job that libuv's pointer belongs to.
    ///
    /// # Safety
    /// `request` came from a job that is queued or running, or whose callback runs.
    pub(crate) unsafe fn of<'a>(request: *mut sys::uv_work_t) -> &'a Job {
        // SAFETY: `uv` is the first field of a `repr(C)` struct; the caller vouches for the rest.
        unsafe { &*request.cast::<Job>() }
    }

    /// Runs it, on a pool thread.
    ///
    /// # Safety
    /// Called once, by libuv's work callback.
    pub(crate) unsafe fn run(&self) {
        // SAFETY: between the queueing and the after-work callback only this thread touches these two.
        unsafe {
            let run = (*self.run.get()).take();
            let outcome = catch_unwind(AssertUnwindSafe(|| run.map(|run| run())));
            *self.panic.get() = outcome.err();
        }
    }

    /// After the work: whether it panicked. From here on the job is no longer queued.
    pub(crate) fn has_panicked(&self) -> bool {
        self.queued.set(false);
        // SAFETY: the pool thread is done with it.
        unsafe { (*self.panic.get()).is_some() }
    }

    /// Cancels it if it is queued and has not started.
    pub(crate) fn cancel(&self) -> bool {
        // SAFETY: queued, so libuv knows the request; it takes its own locks.
        self.queued.get() && unsafe { sys::uv_cancel(self.uv().cast()) } == 0
    }

    /// Drops what is left of it (foreign code) and ends this generation.
    pub(crate) fn clean(&self) {
        let WorkId { index, generation } = self.id.get();
        self.id.set(WorkId::new(index, generation.wrapping_add(1)));
        // SAFETY: not queued any more, so this thread alone has it; both are taken out first, so that a
        // panicking drop leaves the job clean.
        let (run, panic) = unsafe { ((*self.run.get()).take(), (*self.panic.get()).take()) };
        drop(run);
        drop(panic);
    }

    pub(crate) fn id(&self) -> WorkId {
        self.id.get()
    }

    pub(crate) fn index(&self) -> u32 {
        self.id.get().index
    }

    pub(crate) fn token(&self) -> u64 {
        self.token.get()
    }

    pub(crate) fn core(&self) -> &Core {
        // SAFETY: the core owns the arena this job lies in.
        unsafe { &*self.core }
    }
}
