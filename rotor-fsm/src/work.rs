//! Thread-pool work of machines: which jobs are out, whose they are, and how a result becomes a message.
//!
//! The job runs on libuv's thread pool and leaves its result in a cell that both sides share; the second half runs
//! on the loop's thread and turns the result into the machine's own message. Neither half is ever run twice, and a
//! job that has not started when its machine ends is cancelled.

use crate::MachineId;
use slab::Slab;
use std::sync::{Arc, Mutex, PoisonError};
use uv_sys_wrap::WorkId;

/// What follows a finished job, on the loop's thread. `None` if the job panicked or was cancelled.
pub(crate) type Finish<T> = Box<dyn FnOnce() -> Option<Tell<T>>>;

/// How a machine hears of its finished job.
#[derive(Debug, PartialEq)]
pub(crate) enum Tell<T> {
    /// By a message of its own.
    Message(T),
    /// By [`Io::Worked`](crate::Io::Worked).
    Event,
}

impl<T> Tell<T> {
    /// The same of a part's message, made the whole's.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Tell<U> {
        match self {
            Self::Message(message) => Tell::Message(f(message)),
            Self::Event => Tell::Event,
        }
    }
}

/// What runs on the pool.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// The jobs that are out.
pub(crate) struct Works<T> {
    jobs: Slab<Outstanding<T>>,
    jobs_max: usize,
}

struct Outstanding<T> {
    owner: MachineId,
    finish: Finish<T>,
    running: Option<WorkId>,
}

impl<T> Works<T> {
    pub fn new(jobs_max: usize) -> Self {
        Self {
            jobs: Slab::new(),
            jobs_max,
        }
    }

    pub fn insert(&mut self, owner: MachineId, finish: Finish<T>) -> Option<u32> {
        if self.jobs.len() >= self.jobs_max {
            return None;
        }
        u32::try_from(self.jobs.insert(Outstanding {
            owner,
            finish,
            running: None,
        }))
        .ok()
    }

    /// Notes under which name the driver knows the job.
    pub fn started(&mut self, number: u32, work: WorkId) {
        if let Some(job) = self.jobs.get_mut(number as usize) {
            job.running = Some(work);
        }
    }

    /// The job that the driver knows as `work`.
    pub fn number_of(&self, work: WorkId) -> Option<u32> {
        // Few jobs are out at a time, and each took a thread's time already.
        self.jobs
            .iter()
            .find(|(_, job)| job.running == Some(work))
            .map(|(number, _)| number as u32)
    }

    pub fn remove(&mut self, number: u32) -> Option<(MachineId, Finish<T>)> {
        self.jobs
            .try_remove(number as usize)
            .map(|job| (job.owner, job.finish))
    }

    /// The driver's names of the jobs of a machine.
    pub fn of(&self, owner: MachineId) -> impl Iterator<Item = WorkId> + '_ {
        self.jobs
            .iter()
            .filter(move |(_, job)| job.owner == owner)
            .filter_map(|(_, job)| job.running)
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// What would have followed the jobs that are out.
    pub fn into_finishes(self) -> impl Iterator<Item = Finish<T>> {
        self.jobs.into_iter().map(|(_, job)| job.finish)
    }
}

/// Splits a job and what follows it into the part for the pool and the part for the loop.
pub(crate) fn split<T, U>(
    job: impl FnOnce() -> U + Send + 'static,
    then: impl FnOnce(U) -> Tell<T> + 'static,
) -> (Job, Finish<T>)
where
    U: Send + 'static,
{
    let cell = Arc::new(Mutex::new(None));
    let result = cell.clone();
    let job = move || {
        let value = job();
        *cell.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    };
    let finish = move || {
        let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.map(then)
    };
    (Box::new(job), Box::new(finish))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_result_reaches_the_second_half_and_a_job_that_never_ran_gives_none() {
        let (job, finish) = split(|| 20, |n| Tell::Message(n + 1));
        job();
        assert_eq!(finish(), Some(Tell::Message(21)));
        let (job, finish) = split(|| 20, |n| Tell::Message(n + 1));
        drop(job);
        assert_eq!(finish(), None);
    }

    #[test]
    fn r11_jobs_have_a_limit() {
        let mut works = Works::<()>::new(1);
        let owner = MachineId::new(0, 1);
        let number = works.insert(owner, Box::new(|| None)).unwrap();
        assert!(works.insert(owner, Box::new(|| None)).is_none());
        assert_eq!(works.remove(number).map(|(owner, _)| owner), Some(owner));
        assert!(works.remove(number).is_none() && works.is_empty());
    }
}
