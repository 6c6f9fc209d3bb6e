//! The machine table: which ids are taken (`Ids`), and the machines themselves (`Slots`).
//!
//! They are two so that a spawn from inside a handler touches only the ids, which the loop shares with its spawners,
//! while the machines are the engine's alone and cost no run-time borrow check per event.
//!
//! Rule R2: an id's generation moves on when its machine ends, before the index can be reused, and an index whose
//! generation would wrap is retired for good.

use crate::MachineId;

/// Which ids are taken, and by which generation.
pub(crate) struct Ids {
    entries: Vec<Entry>,
    free: Vec<u32>,
    live: usize,
    machines_max: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    generation: u32,
    is_taken: bool,
}

impl Ids {
    pub fn new(machines_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            live: 0,
            machines_max,
        }
    }

    /// Sets memory aside for this many ids.
    pub fn set_aside(&mut self, machines: usize) {
        self.entries.reserve(machines);
        self.free.reserve(machines);
    }

    /// Ids taken: machines, and seeds that wait to become one.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Indices ever used are below this.
    pub fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Takes an id, or answers `None` at the limit. The index that became free last is the first to be reused.
    pub fn reserve(&mut self) -> Option<MachineId> {
        if self.live >= self.machines_max {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.entries.len())
                    .ok()
                    .filter(|&index| index < u32::MAX)?;
                self.entries.push(Entry {
                    generation: 1,
                    is_taken: false,
                });
                index
            }
        };
        let entry = &mut self.entries[index as usize];
        entry.is_taken = true;
        self.live += 1;
        Some(MachineId::new(index, entry.generation))
    }

    /// Gives an id back and answers the index's next generation; `None` if the id is stale.
    pub fn release(&mut self, id: MachineId) -> Option<u32> {
        if !self.is_live(id) {
            return None;
        }
        let entry = &mut self.entries[id.index() as usize];
        entry.is_taken = false;
        entry.generation += 1;
        self.live -= 1;
        if entry.generation != u32::MAX {
            self.free.push(id.index());
        }
        Some(entry.generation)
    }

    /// True while the id is taken.
    pub fn is_live(&self, id: MachineId) -> bool {
        self.id_at(id.index()) == Some(id)
    }

    /// The id that has this index now, if one has.
    pub fn id_at(&self, index: u32) -> Option<MachineId> {
        let entry = self.entries.get(index as usize)?;
        entry
            .is_taken
            .then(|| MachineId::new(index, entry.generation))
    }
}

/// The machines. A machine that a handler has is out of its slot.
pub(crate) struct Slots<R> {
    slots: Vec<Slot<R>>,
}

struct Slot<R> {
    generation: u32,
    machine: Option<R>,
}

impl<R> Slots<R> {
    pub fn new() -> Self {
        Self { slots: Vec::new() }
    }

    /// Sets memory aside for this many machines.
    pub fn set_aside(&mut self, machines: usize) {
        self.slots.reserve(machines);
    }

    /// Prepares the slot for a new machine. What an earlier one left there (nothing, after an end) is returned.
    pub fn open(&mut self, id: MachineId) -> Option<R> {
        let index = id.index() as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot {
                generation: 0,
                machine: None,
            });
        }
        let slot = &mut self.slots[index];
        slot.generation = id.generation();
        slot.machine.take()
    }

    /// Lends the machine to a handler. `None` if the id is stale, or the machine is lent or not created yet.
    #[inline(always)]
    pub fn take(&mut self, id: MachineId) -> Option<R> {
        match self.slots.get_mut(id.index() as usize) {
            Some(slot) if slot.generation == id.generation() => slot.machine.take(),
            _ => None,
        }
    }

    /// Puts a lent machine back.
    #[inline(always)]
    pub fn put(&mut self, id: MachineId, machine: R) {
        if let Some(slot) = self.slots.get_mut(id.index() as usize) {
            slot.machine = Some(machine);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn r2_an_index_whose_generation_would_wrap_is_retired() {
        let mut ids = Ids::new(10);
        let first = ids.reserve().unwrap();
        ids.entries[0].generation = u32::MAX - 1;
        let last = MachineId::new(first.index(), u32::MAX - 1);
        assert_eq!(ids.release(last), Some(u32::MAX));
        assert_ne!(ids.reserve().unwrap().index(), first.index());
    }

    #[test]
    fn r11_ids_have_a_limit() {
        let mut ids = Ids::new(2);
        let a = ids.reserve().unwrap();
        ids.reserve().unwrap();
        assert!(ids.reserve().is_none());
        ids.release(a).unwrap();
        assert!(ids.reserve().is_some());
    }

    proptest! {
        /// Random spawns, creations, events and ends against a map from ids to what is there.
        #[test]
        fn r2_ids_are_never_confused(steps in proptest::collection::vec((0u8..5, 0usize..64), 0..400)) {
            let (mut ids, mut slots) = (Ids::new(40), Slots::<MachineId>::new());
            let mut model: HashMap<MachineId, bool> = HashMap::new();
            let mut known: Vec<MachineId> = Vec::new();
            for (what, which) in steps {
                let id = known.get(which % known.len().max(1)).copied();
                match (what, id) {
                    (0, _) => match ids.reserve() {
                        Some(id) => {
                            prop_assert!(model.len() < 40 && !known.contains(&id));
                            model.insert(id, false);
                            known.push(id);
                        }
                        None => prop_assert_eq!(model.len(), 40),
                    },
                    (1, Some(id)) if model.get(&id) == Some(&false) => {
                        prop_assert!(slots.open(id).is_none());
                        slots.put(id, id);
                        model.insert(id, true);
                    }
                    (1 | 2, Some(id)) => match slots.take(id) {
                        Some(machine) => {
                            prop_assert_eq!((machine, model.get(&id)), (id, Some(&true)));
                            prop_assert!(slots.take(id).is_none(), "lent twice");
                            slots.put(id, machine);
                        }
                        None => prop_assert_ne!(model.get(&id), Some(&true)),
                    },
                    (3, Some(id)) => {
                        let machine = slots.take(id);
                        prop_assert_eq!(machine.is_some(), model.get(&id) == Some(&true));
                        prop_assert_eq!(ids.release(id).is_some(), model.remove(&id).is_some());
                    }
                    (_, Some(id)) => prop_assert_eq!(ids.is_live(id), model.contains_key(&id)),
                    _ => {}
                }
                prop_assert_eq!(ids.live(), model.len());
            }
        }
    }
}
