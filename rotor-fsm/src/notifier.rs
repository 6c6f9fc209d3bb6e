//! `Notifier`: sends typed messages to one machine, from any thread.
//!
//! A notifier is a machine's id and a shared way into its loop's inbox. It is always the part's own: a notifier of a
//! part of a composed machine takes the part's messages, and maps them on the way (reserve a place, map, fill it),
//! so that a refused message comes back in the type in which it was sent. A `Permit` is such a place in hand.

use crate::MachineId;
use crate::error::SendError;
use crate::inbox::{Inbox, Refusal};
use crate::machine::{Hosts, Machine};
use std::any::{Any, TypeId};
use std::marker::PhantomData;
use std::sync::Arc;

/// Sends messages of type `T` to one machine of one loop. Cheap to clone, usable from every thread.
///
/// Every accepted message is delivered exactly once, in order per sender, unless its machine ends first; then it is
/// dropped and counted.
pub struct Notifier<T> {
    to: MachineId,
    post: Arc<dyn Post<T>>,
}

/// A way into an inbox for messages of type `T`.
pub(crate) trait Post<T>: Send + Sync {
    fn send(&self, to: MachineId, message: T) -> Result<(), SendError<T>>;
    fn reserve(&self, to: MachineId) -> Result<(), Refusal>;
    fn fill(&self, to: MachineId, message: T);
    fn release(&self);
    fn is_live(&self, to: MachineId) -> bool;
}

impl<T> Notifier<T> {
    pub(crate) fn new(to: MachineId, post: Arc<dyn Post<T>>) -> Self {
        Self { to, post }
    }

    /// Queues a message. Never waits, works from the loop's own thread too, allocates nothing.
    ///
    /// # Errors
    /// [`SendError::Full`] if the loop's inbox is full, [`SendError::Closed`] if the machine or its loop has ended;
    /// both give the message back.
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.post.send(self.to, message)
    }

    /// Takes a place in the loop's inbox now, for a message to come: the way to know that an answer can be sent before
    /// doing what it will tell of. Never waits, allocates nothing. A place that is held is one less for all others.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn reserve(&self) -> Result<Permit<T>, SendError<()>> {
        match self.post.reserve(self.to) {
            Ok(()) => Ok(Permit {
                place: Some(self.clone()),
            }),
            Err(refusal) => Err(refusal.of(())),
        }
    }

    /// The machine it sends to.
    pub fn id(&self) -> MachineId {
        self.to
    }

    /// True while the machine lives, as far as this thread can know.
    pub fn is_live(&self) -> bool {
        self.post.is_live(self.to)
    }
}

impl<T: Send + 'static> Notifier<T> {
    /// A notifier of the same machine that takes another type and turns it into `T`.
    ///
    /// The way to ask for an answer: `notifier.map(Msg::Answer)` goes along with the request. Allocates once.
    /// `f` runs on the sender's thread, only for messages that have a place; if it panics, the place is given back.
    pub fn map<U: Send + 'static>(
        &self,
        f: impl Fn(U) -> T + Send + Sync + 'static,
    ) -> Notifier<U> {
        Notifier::new(
            self.to,
            Arc::new(Mapped {
                whole: self.post.clone(),
                f,
                part: PhantomData,
            }),
        )
    }
}

/// A place in a loop's inbox for one message, made by [`Notifier::reserve`]. Dropping it gives the place back.
#[must_use = "dropping a permit gives its place back"]
pub struct Permit<T> {
    /// Empty once the place is used.
    place: Option<Notifier<T>>,
}

impl<T> Permit<T> {
    /// Sends a message, which is not refused. If the machine or its loop has ended since the place was taken, the
    /// message is dropped and counted, as one that was sent before that end.
    ///
    /// # Panics
    /// If the function of a [mapped](Notifier::map) notifier does; the place is given back then.
    pub fn send(mut self, message: T) {
        if let Some(notifier) = self.place.take() {
            notifier.post.fill(notifier.to, message);
        }
    }
}

impl<T> Drop for Permit<T> {
    fn drop(&mut self) {
        if let Some(notifier) = self.place.take() {
            notifier.post.release();
        }
    }
}

impl<T> std::fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let to = self.place.as_ref().map(Notifier::id);
        f.debug_tuple("Permit").field(&to).finish()
    }
}

impl<T> Clone for Notifier<T> {
    fn clone(&self) -> Self {
        Self {
            to: self.to,
            post: self.post.clone(),
        }
    }
}

impl<T> std::fmt::Debug for Notifier<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Notifier").field(&self.to).finish()
    }
}

/// Both sides are the same `Arc` of the loop's inbox under its standard name.
impl<T: Send + 'static> Post<T> for Inbox<T> {
    #[inline]
    fn send(&self, to: MachineId, message: T) -> Result<(), SendError<T>> {
        Inbox::send(self, to, message)
    }

    fn reserve(&self, to: MachineId) -> Result<(), Refusal> {
        Inbox::reserve(self, to)
    }

    fn fill(&self, to: MachineId, message: T) {
        Inbox::fill(self, to, message);
    }

    fn release(&self) {
        Inbox::release(self);
    }

    fn is_live(&self, to: MachineId) -> bool {
        self.generations.is_live(to)
    }
}

/// A way in for `U`, by way of a function to `T`.
struct Mapped<T, U, F> {
    whole: Arc<dyn Post<T>>,
    f: F,
    part: PhantomData<fn(U)>,
}

impl<T, U, F> Post<U> for Mapped<T, U, F>
where
    T: Send + 'static,
    U: Send,
    F: Fn(U) -> T + Send + Sync,
{
    fn send(&self, to: MachineId, message: U) -> Result<(), SendError<U>> {
        match self.whole.reserve(to) {
            Ok(()) => {
                self.fill(to, message);
                Ok(())
            }
            Err(refusal) => Err(refusal.of(message)),
        }
    }

    fn reserve(&self, to: MachineId) -> Result<(), Refusal> {
        self.whole.reserve(to)
    }

    fn fill(&self, to: MachineId, message: U) {
        let place = Place(&*self.whole);
        let message = (self.f)(message);
        std::mem::forget(place);
        self.whole.fill(to, message);
    }

    fn release(&self) {
        self.whole.release();
    }

    fn is_live(&self, to: MachineId) -> bool {
        self.whole.is_live(to)
    }
}

/// A reserved place, given back if the mapping function unwinds.
struct Place<'a, T>(&'a dyn Post<T>);

impl<T> Drop for Place<'_, T> {
    fn drop(&mut self) {
        self.0.release();
    }
}

/// The way in for a part's messages, from the whole's. Where part and whole are the same type, it is the whole's own,
/// which costs a sender half as much as a mapped one.
pub(crate) fn part_of<W: Hosts<M>, M: Machine<Context = W::Context>>(
    whole: Arc<dyn Post<W::Message>>,
) -> Arc<dyn Post<M::Message>> {
    if TypeId::of::<W>() == TypeId::of::<M>() {
        let same: &dyn Any = &whole;
        if let Some(post) = same.downcast_ref::<Arc<dyn Post<M::Message>>>() {
            return post.clone();
        }
    }
    Arc::new(Mapped {
        whole,
        f: W::message,
        part: PhantomData,
    })
}
