//! A scope taken apart: what layers built on machines, such as streams with a protocol, hand on to their own handlers.

use super::Spawned;
use crate::driver::SocketOption;
use crate::effects::Effects;
use crate::error::{Full, IoError};
use crate::host::Host;
use crate::notifier::Notifier;
use crate::work::{Tell, split};
use crate::{Addr, Machine, MachineId, Time, Waker};
use std::marker::PhantomData;
use std::time::Duration;
use uv_sys_wrap::{HandleId, Op};

/// A scope taken apart, for layers built on machines: the pieces borrow separately.
pub struct Parts<'a, M: Machine> {
    /// The shared context.
    pub ctx: &'a mut M::Context,
    /// The output side of one socket, and the clock.
    pub out: Output<'a>,
    /// The machine's own place in its loop.
    pub own: Own<'a, M>,
}

/// The output side of one socket, and the clock: [`Parts::out`].
pub struct Output<'a> {
    pub(super) effects: &'a mut Effects,
    pub(super) id: HandleId,
}

impl Output<'_> {
    /// The same for a shorter time, as a `&mut` of a `&mut`.
    pub fn reborrow(&mut self) -> Output<'_> {
        Output {
            effects: self.effects,
            id: self.id,
        }
    }

    /// As [`Scope::write`](crate::Scope::write).
    ///
    /// # Errors
    /// As [`Scope::write`](crate::Scope::write).
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.effects.outputs.push(self.id, bytes)
    }

    /// The same with a limit lower than the loop's on the bytes that may wait, these included.
    ///
    /// # Errors
    /// As [`Scope::write`](crate::Scope::write).
    #[inline]
    pub fn write_within(&mut self, bytes: &[u8], bytes_max: usize) -> Result<(), IoError> {
        self.effects.outputs.push_within(self.id, bytes, bytes_max)
    }

    /// As [`Scope::queued`](crate::Scope::queued), but a `Flushed` follows only where it would anyway.
    #[inline]
    pub fn peek_queued(&mut self) -> usize {
        self.effects.outputs.queued(self.id)
    }

    /// As [`Scope::queued`](crate::Scope::queued).
    pub fn queued(&mut self) -> usize {
        self.effects.queued(self.id)
    }

    /// As [`Scope::now`](crate::Scope::now).
    pub fn now(&mut self) -> Time {
        self.effects.now()
    }

    /// As [`Scope::random`](crate::Scope::random).
    pub fn random(&mut self) -> u64 {
        self.effects.driver.random()
    }

    /// As [`Scope::set_keepalive`](crate::Scope::set_keepalive).
    ///
    /// # Errors
    /// As [`Scope::set_keepalive`](crate::Scope::set_keepalive).
    pub fn set_keepalive(&mut self, after: Option<Duration>) -> Result<(), IoError> {
        let option = SocketOption::KeepAlive(after);
        self.effects.driver.set_option(self.id, option)
    }

    /// As [`Scope::peer_addr`](crate::Scope::peer_addr).
    ///
    /// # Errors
    /// As [`Scope::peer_addr`](crate::Scope::peer_addr).
    pub fn peer_addr(&self) -> Result<Addr, IoError> {
        self.effects.driver.peer_addr(self.id)
    }

    /// As [`Scope::local_addr`](crate::Scope::local_addr).
    ///
    /// # Errors
    /// As [`Scope::local_addr`](crate::Scope::local_addr).
    pub fn local_addr(&self) -> Result<Addr, IoError> {
        self.effects.driver.local_addr(self.id)
    }
}

/// A machine's place in its loop: [`Parts::own`]. `Copy`: it is shared, so pieces can be handed on.
pub struct Own<'a, M: Machine> {
    pub(super) host: &'a dyn Host<M>,
    pub(super) id: MachineId,
}

impl<M: Machine> Clone for Own<'_, M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M: Machine> Copy for Own<'_, M> {}

impl<M: Machine> Own<'_, M> {
    /// The machine's id.
    pub fn id(&self) -> MachineId {
        self.id
    }

    /// As [`Scope::shutdown`](crate::Scope::shutdown).
    pub fn shutdown(&self, grace: Duration) {
        self.host.shutdown(grace);
    }

    /// As [`Scope::notifier`](crate::Scope::notifier).
    pub fn notifier(&self) -> Notifier<M::Message> {
        Notifier::new(self.id, self.host.post())
    }

    /// As [`Scope::waker`](crate::Scope::waker).
    pub fn waker(&self) -> Waker {
        Waker::new(self.id, self.host.bells())
    }

    /// As [`Scope::work`](crate::Scope::work); `out` is the other piece of the same [`Parts`].
    ///
    /// # Errors
    /// As [`Scope::work`](crate::Scope::work).
    pub fn work<T: Send + 'static>(
        &self,
        out: &mut Output<'_>,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) -> M::Message + 'static,
    ) -> Result<(), IoError> {
        self.work_on(out.effects, job, |value| Tell::Message(then(value)))
    }

    pub(super) fn work_on<T: Send + 'static>(
        &self,
        effects: &mut Effects,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) -> Tell<M::Message> + 'static,
    ) -> Result<(), IoError> {
        let (job, finish) = split(job, then);
        let Some(number) = self.host.expect_work(self.id, finish) else {
            return Err(IoError::new(Op::Work, crate::error::IoErrorKind::Limit));
        };
        match effects.driver.work(job) {
            Ok(work) => {
                self.host.work_started(number, work);
                Ok(())
            }
            Err(error) => {
                self.host.forget_work(number);
                Err(error)
            }
        }
    }

    /// As [`Scope::spawn`](crate::Scope::spawn).
    ///
    /// # Errors
    /// As [`Scope::spawn`](crate::Scope::spawn).
    pub fn spawn(&self, seed: M::Seed) -> Result<Spawned<M>, Full<M::Seed>> {
        match self.host.reserve() {
            Some(id) => {
                self.host.plant(id, seed);
                Ok(Spawned {
                    id,
                    kind: PhantomData,
                })
            }
            None => Err(Full(seed)),
        }
    }
}
