//! `Spawned`: the id of a machine that a handler has just made.

use crate::MachineId;
use std::marker::PhantomData;

/// A machine that was just spawned: its id, typed, so that only its own messages can be sent to it.
pub struct Spawned<M> {
    pub(super) id: MachineId,
    pub(super) kind: PhantomData<fn(M)>,
}

impl<M> Spawned<M> {
    /// The new machine's id.
    pub fn id(self) -> MachineId {
        self.id
    }
}

impl<M> Clone for Spawned<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Spawned<M> {}

impl<M> std::fmt::Debug for Spawned<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Spawned").field(&self.id).finish()
    }
}
