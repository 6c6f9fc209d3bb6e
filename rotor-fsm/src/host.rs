//! `Host`: what a machine's scope asks of its loop besides I/O: places for new machines, ways into the inbox, and
//! the thread pool. And `Nest`, the root loop's implementation, which spawners share with it.
//!
//! A part of a composed machine sees its loop through a small adapter that maps its seeds and messages by the
//! enum's constructors. Reserving comes first and is the only thing that can fail, so nothing has to be mapped back.

use crate::MachineId;
use crate::control::Lane;
use crate::error::Full;
use crate::inbox::Inbox;
use crate::machine::{Hosts, Machine};
use crate::notifier::{Notifier, Post, part_of};
use crate::sync::Arc;
use crate::table::Ids;
use crate::waker::{Bells, bells_of};
use crate::work::{Finish, Works};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;
use uv_sys_wrap::WorkId;

/// The loop as machines of type `M` see it.
pub(crate) trait Host<M: Machine> {
    /// Promises a slot, or `None` if the table is full or the loop takes no new machines.
    fn reserve(&self) -> Option<MachineId>;
    /// Puts the seed of a promised id in line; `create` runs after the current handler. Every promise is kept.
    fn plant(&self, id: MachineId, seed: M::Seed);
    /// The way in for messages of this type. May allocate.
    fn post(&self) -> std::sync::Arc<dyn Post<M::Message>>;
    /// The way in for wakes.
    fn bells(&self) -> std::sync::Arc<dyn Bells>;
    /// Remembers what to do when a job of `id` is done; answers the job's number, or `None` at the limit.
    fn expect_work(&self, id: MachineId, finish: Finish<M::Message>) -> Option<u32>;
    /// Notes under which name the driver knows a job.
    fn work_started(&self, number: u32, work: WorkId);
    /// Forgets a job that was refused.
    fn forget_work(&self, number: u32);
    /// Asks the loop to shut down.
    fn shutdown(&self, grace: Duration);
}

/// What a loop of root machine `R` shares with its spawners.
pub(crate) struct Nest<R: Machine> {
    pub ids: RefCell<Ids>,
    /// Seeds whose `create` has not run yet, oldest first.
    pub births: RefCell<VecDeque<(MachineId, R::Seed)>>,
    /// Whether there are any: looked at after every event.
    pub has_births: Cell<bool>,
    pub works: RefCell<Works<R::Message>>,
    pub inbox: Arc<Inbox<R::Message>>,
    pub control: std::sync::Arc<Lane<R>>,
    /// No new machines: the loop shuts down.
    pub sealed: Cell<bool>,
}

impl<R: Machine> Nest<R> {
    /// Ends an id: moves its generation on and tells the senders. False if it was stale.
    pub fn release(&self, id: MachineId) -> bool {
        let Some(generation) = self.ids.borrow_mut().release(id) else {
            return false;
        };
        self.inbox.generations.publish(id.index(), generation);
        true
    }

    /// Machines, seeds and promised places.
    pub fn live(&self) -> usize {
        self.ids.borrow().live()
    }

    /// The oldest seed.
    pub fn next_birth(&self) -> Option<(MachineId, R::Seed)> {
        let mut births = self.births.borrow_mut();
        let oldest = births.pop_front();
        self.has_births.set(!births.is_empty());
        oldest
    }
}

impl<R: Machine> Host<R> for Nest<R> {
    fn reserve(&self) -> Option<MachineId> {
        if self.sealed.get() {
            return None;
        }
        let id = self.ids.borrow_mut().reserve()?;
        self.inbox.generations.publish(id.index(), id.generation());
        Some(id)
    }

    fn plant(&self, id: MachineId, seed: R::Seed) {
        self.births.borrow_mut().push_back((id, seed));
        self.has_births.set(true);
    }

    fn post(&self) -> std::sync::Arc<dyn Post<R::Message>> {
        inbox_as_post(&self.inbox)
    }

    fn bells(&self) -> std::sync::Arc<dyn Bells> {
        bells_of(&self.inbox)
    }

    fn expect_work(&self, id: MachineId, finish: Finish<R::Message>) -> Option<u32> {
        self.works.borrow_mut().insert(id, finish)
    }

    fn work_started(&self, number: u32, work: WorkId) {
        self.works.borrow_mut().started(number, work);
    }

    fn forget_work(&self, number: u32) {
        let forgotten = self.works.borrow_mut().remove(number);
        drop(forgotten);
    }

    fn shutdown(&self, grace: Duration) {
        self.inbox.shutdown(grace);
    }
}

#[cfg(not(loom))]
fn inbox_as_post<T: Send + 'static>(inbox: &Arc<Inbox<T>>) -> std::sync::Arc<dyn Post<T>> {
    inbox.clone()
}

/// loom's `Arc` cannot hold a trait object, and its models use the inbox itself.
#[cfg(loom)]
fn inbox_as_post<T: Send + 'static>(inbox: &Arc<Inbox<T>>) -> std::sync::Arc<dyn Post<T>> {
    let _ = inbox;
    unreachable!("the loom models do not make notifiers from a loop")
}

/// The loop of `W` as its part `M` sees it, for the time of one handler.
pub(crate) struct PartHost<'a, W: Machine, M> {
    whole: &'a dyn Host<W>,
    part: PhantomData<fn(M)>,
}

impl<'a, W: Machine, M> PartHost<'a, W, M> {
    pub fn new(whole: &'a dyn Host<W>) -> Self {
        Self {
            whole,
            part: PhantomData,
        }
    }
}

impl<W: Hosts<M>, M: Machine<Context = W::Context>> Host<M> for PartHost<'_, W, M> {
    fn reserve(&self) -> Option<MachineId> {
        self.whole.reserve()
    }

    fn plant(&self, id: MachineId, seed: M::Seed) {
        self.whole.plant(id, W::seed(seed));
    }

    fn post(&self) -> std::sync::Arc<dyn Post<M::Message>> {
        part_of::<W, M>(self.whole.post())
    }

    fn bells(&self) -> std::sync::Arc<dyn Bells> {
        self.whole.bells()
    }

    fn expect_work(&self, id: MachineId, finish: Finish<M::Message>) -> Option<u32> {
        self.whole.expect_work(
            id,
            Box::new(move || finish().map(|tell| tell.map(W::message))),
        )
    }

    fn work_started(&self, number: u32, work: WorkId) {
        self.whole.work_started(number, work);
    }

    fn forget_work(&self, number: u32) {
        self.whole.forget_work(number);
    }

    fn shutdown(&self, grace: Duration) {
        self.whole.shutdown(grace);
    }
}

/// The same for longer than a handler: what a spawner of a part holds.
struct PartNest<W: Machine, M> {
    whole: Rc<dyn Host<W>>,
    part: PhantomData<fn(M)>,
}

impl<W: Hosts<M>, M: Machine<Context = W::Context>> PartNest<W, M> {
    fn host(&self) -> PartHost<'_, W, M> {
        PartHost::new(&*self.whole)
    }
}

impl<W: Hosts<M>, M: Machine<Context = W::Context>> Host<M> for PartNest<W, M> {
    fn reserve(&self) -> Option<MachineId> {
        self.whole.reserve()
    }

    fn plant(&self, id: MachineId, seed: M::Seed) {
        self.host().plant(id, seed);
    }

    fn post(&self) -> std::sync::Arc<dyn Post<M::Message>> {
        self.host().post()
    }

    fn bells(&self) -> std::sync::Arc<dyn Bells> {
        self.whole.bells()
    }

    fn expect_work(&self, id: MachineId, finish: Finish<M::Message>) -> Option<u32> {
        self.host().expect_work(id, finish)
    }

    fn work_started(&self, number: u32, work: WorkId) {
        self.whole.work_started(number, work);
    }

    fn forget_work(&self, number: u32) {
        self.whole.forget_work(number);
    }

    fn shutdown(&self, grace: Duration) {
        self.whole.shutdown(grace);
    }
}

/// Makes machines of type `M` on the loop that it came from; kept in the shared context, used by any machine.
///
/// `Clone`, but neither `Send` nor `Sync`: other threads spawn through a [`LoopHandle`](crate::LoopHandle). It holds
/// the part's mapped way into the inbox, so spawning allocates nothing once the tables have grown.
pub struct Spawner<M: Machine> {
    host: Rc<dyn Host<M>>,
    post: std::sync::Arc<dyn Post<M::Message>>,
}

impl<M: Machine> Spawner<M> {
    pub(crate) fn new(host: Rc<dyn Host<M>>) -> Self {
        let post = host.post();
        Self { host, post }
    }

    /// Makes a machine from `seed`. Its `create` runs after the current handler, first in first out; messages sent
    /// before that wait for it.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the loop's machine table is full or the loop is shutting down.
    pub fn spawn(&self, seed: M::Seed) -> Result<Notifier<M::Message>, Full<M::Seed>> {
        match self.host.reserve() {
            Some(id) => {
                self.host.plant(id, seed);
                Ok(Notifier::new(id, self.post.clone()))
            }
            None => Err(Full(seed)),
        }
    }

    /// A spawner for a part of this part: how one reaches into a composition inside a composition. Allocates.
    pub fn part<P>(&self) -> Spawner<P>
    where
        P: Machine<Context = M::Context>,
        M: Hosts<P>,
    {
        Spawner::new(Rc::new(PartNest {
            whole: self.host.clone(),
            part: PhantomData::<fn(P)>,
        }))
    }
}

impl<M: Machine> Clone for Spawner<M> {
    fn clone(&self) -> Self {
        Self {
            host: self.host.clone(),
            post: self.post.clone(),
        }
    }
}

impl<M: Machine> std::fmt::Debug for Spawner<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spawner<{}>", std::any::type_name::<M>())
    }
}
