//! The machine table: slots with generations, each vacant, holding a seed, holding a machine, or lent to a handler.
//!
//! Rule R2: a slot's generation moves on when its machine ends, before the slot can be reused, and a slot whose
//! generation would wrap is retired for good. The table only moves values in and out; it runs no user code, so it
//! can be borrowed briefly from inside a handler (a spawn) while the running machine is out of its slot.

use crate::{Machine, MachineId};

pub(crate) struct Table<R: Machine> {
    slots: Vec<Slot<R>>,
    free: Vec<u32>,
    live: usize,
    machines_max: usize,
}

struct Slot<R: Machine> {
    generation: u32,
    state: State<R>,
}

pub(crate) enum State<R: Machine> {
    Vacant,
    /// Promised; the seed follows at once.
    Reserved,
    /// Waits for `create`.
    Seed(R::Seed),
    /// Waits for an event.
    Idle(R),
    /// A handler has it.
    Running,
}

impl<R: Machine> Table<R> {
    pub fn new(machines_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            machines_max,
        }
    }

    /// Machines, seeds and reserved places.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Slots ever made: indices are below this.
    pub fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Takes a slot, or answers `None` at the limit. The last slot to become vacant is the first to be reused.
    pub fn reserve(&mut self) -> Option<MachineId> {
        if self.live >= self.machines_max {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len())
                    .ok()
                    .filter(|&index| index < u32::MAX)?;
                self.slots.push(Slot {
                    generation: 1,
                    state: State::Vacant,
                });
                index
            }
        };
        let slot = &mut self.slots[index as usize];
        slot.state = State::Reserved;
        self.live += 1;
        Some(MachineId::new(index, slot.generation))
    }

    /// Puts the seed into a reserved slot; gives it back if the slot is no longer reserved under this id.
    pub fn plant(&mut self, id: MachineId, seed: R::Seed) -> Result<(), R::Seed> {
        match self.slot(id) {
            Some(slot) if matches!(slot.state, State::Reserved) => {
                slot.state = State::Seed(seed);
                Ok(())
            }
            _ => Err(seed),
        }
    }

    /// Lends what is in the slot (a seed or a machine) to a handler. `None` if the id is stale, or nothing is there.
    #[inline]
    pub fn take(&mut self, id: MachineId) -> Option<State<R>> {
        let slot = self.slot(id)?;
        match slot.state {
            State::Seed(_) | State::Idle(_) => {
                Some(std::mem::replace(&mut slot.state, State::Running))
            }
            _ => None,
        }
    }

    /// Puts a lent machine back. Gives it back to the caller if its slot is gone, to be dropped outside.
    #[inline]
    pub fn put(&mut self, id: MachineId, machine: R) -> Result<(), R> {
        match self.slot(id) {
            Some(slot) => {
                slot.state = State::Idle(machine);
                Ok(())
            }
            None => Err(machine),
        }
    }

    /// Ends the id: the slot is vacant under its next generation. Answers that generation and what was in the slot,
    /// to be dropped by the caller, outside any borrow.
    pub fn release(&mut self, id: MachineId) -> Option<(u32, State<R>)> {
        let slot = self.slot(id)?;
        let old = std::mem::replace(&mut slot.state, State::Vacant);
        slot.generation += 1;
        let generation = slot.generation;
        self.live -= 1;
        if generation != u32::MAX {
            self.free.push(id.index());
        }
        Some((generation, old))
    }

    /// The id of what is in the slot now, if it is a machine, a seed or promised.
    pub fn id_at(&self, index: u32) -> Option<MachineId> {
        let slot = self.slots.get(index as usize)?;
        match slot.state {
            State::Vacant => None,
            _ => Some(MachineId::new(index, slot.generation)),
        }
    }

    #[inline]
    fn slot(&mut self, id: MachineId) -> Option<&mut Slot<R>> {
        self.slots.get_mut(id.index() as usize).filter(|slot| {
            slot.generation == id.generation() && !matches!(slot.state, State::Vacant)
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{Never, Response, Result, Scope};
    use proptest::prelude::*;
    use std::collections::HashMap;

    struct Nothing;

    impl Machine for Nothing {
        type Context = ();
        type Message = Never;
        type Seed = u32;
        fn create(_: u32, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
            Ok(Response::of(Nothing))
        }
    }

    #[test]
    fn r2_a_slot_whose_generation_would_wrap_is_retired() {
        let mut table = Table::<Nothing>::new(10);
        let first = table.reserve().unwrap();
        table.slots[0].generation = u32::MAX - 1;
        let last = MachineId::new(first.index(), u32::MAX - 1);
        table.release(last).unwrap();
        assert_ne!(table.reserve().unwrap().index(), first.index());
    }

    #[test]
    fn r11_the_table_has_a_limit() {
        let mut table = Table::<Nothing>::new(2);
        let a = table.reserve().unwrap();
        table.reserve().unwrap();
        assert!(table.reserve().is_none());
        table.release(a).unwrap();
        assert!(table.reserve().is_some());
    }

    proptest! {
        /// Random spawns, creations, events and ends against a map from ids to what is there.
        #[test]
        fn r2_ids_are_never_confused(steps in proptest::collection::vec((0u8..5, 0usize..64), 0..400)) {
            let mut table = Table::<Nothing>::new(40);
            let mut model: HashMap<MachineId, bool> = HashMap::new();
            let mut known: Vec<MachineId> = Vec::new();
            for (what, which) in steps {
                let id = known.get(which % known.len().max(1)).copied();
                match (what, id) {
                    (0, _) => match table.reserve() {
                        Some(id) => {
                            prop_assert!(model.len() < 40 && !known.contains(&id));
                            prop_assert!(table.plant(id, id.index()).is_ok());
                            model.insert(id, false);
                            known.push(id);
                        }
                        None => prop_assert_eq!(model.len(), 40),
                    },
                    (1 | 2, Some(id)) => match table.take(id) {
                        Some(State::Seed(seed)) => {
                            prop_assert_eq!(seed, id.index());
                            prop_assert_eq!(model.insert(id, true), Some(false));
                            prop_assert!(table.put(id, Nothing).is_ok());
                        }
                        Some(State::Idle(machine)) => {
                            prop_assert_eq!(model.get(&id), Some(&true));
                            prop_assert!(table.take(id).is_none(), "lent twice");
                            prop_assert!(table.put(id, machine).is_ok());
                        }
                        Some(_) => prop_assert!(false, "neither seed nor machine"),
                        None => prop_assert!(!model.contains_key(&id)),
                    },
                    (3, Some(id)) => {
                        prop_assert_eq!(table.release(id).is_some(), model.remove(&id).is_some());
                    }
                    (_, Some(id)) => {
                        prop_assert!(table.plant(id, 0).is_err(), "planted twice");
                        prop_assert_eq!(table.id_at(id.index()) == Some(id), model.contains_key(&id));
                    }
                    _ => {}
                }
                prop_assert_eq!(table.live(), model.len());
            }
        }
    }
}
