//! `CallScope`: all that a service's handler may do besides answering.

use super::guard::guarded;
use rotor_fsm::{Addr, IoError, MachineId, Output, Time};
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, PoisonError};

/// What a handler of a service is given beside its call. `ctx` is a field, so that it borrows separately.
#[non_exhaustive]
pub struct CallScope<'c, C> {
    /// What all machines of this loop share.
    pub ctx: &'c mut C,
    pub(crate) output: Output<'c>,
    pub(crate) host: &'c dyn Host,
    pub(crate) meta: &'c [u8],
    pub(crate) deadline: Time,
}

impl<C> CallScope<'_, C> {
    /// The client's address. Asks the system.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn peer(&self) -> Result<Addr, IoError> {
        self.output.peer_addr()
    }

    /// What the client sent along with the call, such as a trace id. Empty if nothing.
    pub fn meta(&self) -> &[u8] {
        self.meta
    }

    /// When the call is given up: what the client said, or the server's
    /// [`deadline_max`](super::SessionConfig::deadline_max), whichever is earlier. `None` if neither is set.
    pub fn deadline(&self) -> Option<Time> {
        (self.deadline != Time::NEVER).then_some(self.deadline)
    }

    /// The time, read at most once a turn of the loop.
    pub fn now(&mut self) -> Time {
        self.output.now()
    }

    /// 64 random bits, not for secrets; in the simulator they follow from the seed.
    pub fn random(&mut self) -> u64 {
        self.output.random()
    }

    /// The connection's machine.
    pub fn id(&self) -> MachineId {
        self.host.id()
    }

    /// Runs `job` on libuv's thread pool, then `then` on this thread, which typically answers: `|content|
    /// reply.send(content)`. A job that has not begun when the connection ends is cancelled. If the job panics, `then` is
    /// dropped, and a reply in it fails with [`CallError::Panicked`](super::CallError::Panicked). Allocates.
    ///
    /// # Errors
    /// A limit error if too many jobs are out. Both closures are dropped then.
    pub fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) + 'static,
    ) -> Result<(), IoError> {
        let (job, then) = split(job, then);
        self.host.work(&mut self.output, job, then)
    }
}

/// The machine of a session, whatever its type.
pub(crate) trait Host {
    fn id(&self) -> MachineId;
    fn work(&self, output: &mut Output<'_>, job: Job, then: Then) -> Result<(), IoError>;
}

/// What runs on the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;
/// What follows it on the loop's thread.
pub(crate) type Then = Box<dyn FnOnce()>;

/// Makes two closures that share a value of any type two that do not show it. Neither panics: a panic is a matter of
/// the call whose reply they hold, not of the connection.
fn split<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
    then: impl FnOnce(T) + 'static,
) -> (Job, Then) {
    let cell = Arc::new(Mutex::new(None));
    let result = cell.clone();
    let job = move || {
        let value = guarded(job);
        *cell.lock().unwrap_or_else(PoisonError::into_inner) = value;
    };
    let then = move || {
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _ = guarded(move || match value {
            Some(value) => then(value),
            None => {
                // What `then` holds is dropped while panicking, as the job's own values were.
                let _then = then;
                resume_unwind(Box::new("the job panicked"))
            }
        });
    };
    (Box::new(job), Box::new(then))
}
