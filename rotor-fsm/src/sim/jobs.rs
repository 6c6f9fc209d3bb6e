//! The thread pool, without threads: a job runs whole at the virtual instant at which it ends, so many at a time.
//!
//! The world hands the job out to be run: it is user code, and must find the world unborrowed.

use super::arena::{Arena, Key};
use super::trace::Who;
use super::world::{Happening, World};
use crate::work::Job;
use std::collections::VecDeque;
use uv_sys_wrap::{Error as IoError, Kind, Op, WorkId};

#[derive(Default)]
pub(super) struct Jobs {
    jobs: Arena<Outstanding>,
    waiting: VecDeque<Key>,
    running: usize,
}

struct Outstanding {
    owner: u32,
    job: Option<Job>,
    started: bool,
}

impl World {
    pub fn add_job(&mut self, owner: u32, job: Job) -> WorkId {
        let key = self.jobs.jobs.insert(Outstanding {
            owner,
            job: Some(job),
            started: false,
        });
        self.jobs.waiting.push_back(key);
        self.record(Who::Loop(owner), "work", u64::from(key.index), 0);
        self.start_jobs();
        WorkId::new(key.index, key.generation)
    }

    /// Takes back a job that has not started, to be dropped by the caller. Its end is told like any other.
    pub fn cancel_job(&mut self, work: WorkId) -> Option<Job> {
        let key = Key {
            index: work.index(),
            generation: work.generation(),
        };
        self.jobs.jobs.get(key).filter(|job| !job.started)?;
        self.jobs.waiting.retain(|waiting| *waiting != key);
        let job = self.jobs.jobs.remove(key)?;
        self.tell_worked(job.owner, key, Err(IoError::new(Op::Work, Kind::Cancelled)));
        job.job
    }

    /// A job's time is over: now it is to be run.
    pub fn job_ends(&mut self, key: Key) -> Option<(Key, Job)> {
        self.jobs
            .jobs
            .get_mut(key)?
            .job
            .take()
            .map(|job| (key, job))
    }

    /// The job was run.
    pub fn job_done(&mut self, key: Key, panicked: bool) {
        self.jobs.running -= 1;
        if let Some(job) = self.jobs.jobs.remove(key) {
            let result = if panicked {
                Err(IoError::new(Op::Work, Kind::Panicked))
            } else {
                Ok(())
            };
            self.tell_worked(job.owner, key, result);
        }
        self.start_jobs();
    }

    fn tell_worked(&mut self, owner: u32, key: Key, result: Result<(), IoError>) {
        self.record(
            Who::Loop(owner),
            "worked",
            u64::from(key.index),
            u64::from(result.is_err()),
        );
        self.loops[owner as usize]
            .worked
            .push_back((WorkId::new(key.index, key.generation), result));
    }

    fn start_jobs(&mut self) {
        while self.jobs.running < self.config.work_threads.max(1) {
            let Some(key) = self.jobs.waiting.pop_front() else {
                return;
            };
            if let Some(job) = self.jobs.jobs.get_mut(key) {
                job.started = true;
                self.jobs.running += 1;
                let time = self.job_time();
                self.later(time, Happening::JobDone { job: key });
            }
        }
    }
}
