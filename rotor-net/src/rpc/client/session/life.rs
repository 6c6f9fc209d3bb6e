//! `Life`: signs of life, counted rather than timed: a program that slept does not take its peer for dead.

use crate::rpc::{ClientConfig, SessionError};
use rotor_fsm::Time;
use std::time::Duration;

pub(super) struct Life {
    every: Duration,
    silent_max: u32,
    next: Time,
    has_heard: bool,
    /// Looks in a row that found nothing.
    silent: u32,
}

impl Life {
    pub fn new(config: &ClientConfig, now: Time) -> Self {
        // A heartbeat of no length would never let the loop sleep.
        let every = config.heartbeat.max(Duration::from_millis(1));
        Self {
            every,
            silent_max: config.silent_heartbeats_max,
            next: now + every,
            has_heard: false,
            silent: 0,
        }
    }

    #[inline]
    pub fn has_heard(&mut self) {
        self.has_heard = true;
    }

    /// When to look.
    pub fn next(&self) -> Time {
        self.next
    }

    /// Looks, if it is time to. True if the peer should be asked.
    pub fn look(&mut self, now: Time) -> Result<bool, SessionError> {
        if now < self.next {
            return Ok(false);
        }
        self.next = now + self.every;
        if std::mem::take(&mut self.has_heard) {
            self.silent = 0;
            return Ok(false);
        }
        self.silent += 1;
        match self.silent > self.silent_max {
            true => Err(SessionError::Silent {
                heartbeats: self.silent,
            }),
            false => Ok(true),
        }
    }
}
