//! `Slots`: the calls in flight on a connection, by the slot of their ids.
//!
//! Invariant: a bit of `free` is set exactly for the places of `calls` that are empty; a new call gets the lowest of
//! them, so that both sides' tables are as long as there have been calls at once.

use super::call::ClientCall;
use crate::rpc::frame::CallId;
use rotor_fsm::Time;
use std::sync::Arc;

/// Of calls that are not in flight, and of those that take none.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// A call that was begun.
pub(super) struct Begun {
    pub call: Arc<dyn ClientCall>,
    pub deadline: Time,
    /// Calls are sent in the order of these, and so they are if that has to be done again.
    pub number: u64,
    /// How often it was in flight on a connection that was lost.
    pub losses: u32,
}

/// A call that was sent.
pub(super) struct InFlight {
    pub begun: Begun,
    pub sequence: u32,
    /// Of which version its reply or items will be.
    pub version: usize,
}

#[derive(Default)]
pub(super) struct Slots {
    calls: Vec<Option<InFlight>>,
    free: Vec<u64>,
    len: usize,
}

impl Slots {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The lowest free slot.
    pub fn next(&self) -> u32 {
        let word = self.free.iter().position(|&word| word != 0);
        match word {
            Some(at) => at as u32 * u64::BITS + self.free[at].trailing_zeros(),
            None => self.calls.len() as u32,
        }
    }

    /// Puts a call into a slot that [`next`](Self::next) has answered.
    pub fn put(&mut self, slot: u32, call: InFlight) {
        let at = slot as usize;
        while self.calls.len() <= at {
            if self.calls.len().is_multiple_of(u64::BITS as usize) {
                self.free.push(0);
            }
            self.calls.push(None);
        }
        self.free[at / 64] &= !(1 << (at % 64));
        if self.calls[at].replace(call).is_none() {
            self.len += 1;
        }
    }

    /// The call with this id, if it is in flight.
    #[inline]
    pub fn get(&self, id: CallId) -> Option<&InFlight> {
        let call = self.calls.get(id.slot as usize)?.as_ref()?;
        (call.sequence == id.sequence).then_some(call)
    }

    #[inline]
    pub fn take(&mut self, slot: u32) -> Option<InFlight> {
        let at = slot as usize;
        let call = self.calls.get_mut(at)?.take()?;
        self.free[at / 64] |= 1 << (at % 64);
        self.len -= 1;
        Some(call)
    }

    pub fn at(&self, slot: u32) -> Option<&InFlight> {
        self.calls.get(slot as usize)?.as_ref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &InFlight)> {
        let numbered = (0..).zip(&self.calls);
        numbered.filter_map(|(slot, call)| Some((slot, call.as_ref()?)))
    }

    /// Those whose deadline has passed, and the earliest deadline of the others. Looks at every place.
    pub fn due(&self, now: Time) -> (Vec<u32>, Time) {
        let (mut due, mut next) = (Vec::new(), Time::NEVER);
        for (slot, call) in self.iter() {
            if call.begun.deadline <= now {
                due.push(slot);
            } else {
                next = next.min(call.begun.deadline);
            }
        }
        (due, next)
    }

    /// All, in the order of their numbers.
    pub fn take_all(&mut self) -> Vec<Begun> {
        let calls = std::mem::take(self).calls.into_iter().flatten();
        let mut all: Vec<_> = calls.map(|in_flight| in_flight.begun).collect();
        all.sort_by_key(|begun| begun.number);
        all
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::rpc::client::ask::Raw;
    use crate::rpc::client::call::{CallCell, Flows};
    use crate::rpc::client::shared::Shared;
    use crate::rpc::{CallKind, ClientConfig};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn call(number: u64, deadline: u64) -> InFlight {
        let ask = Raw {
            name: "".into(),
            version: 1,
            request: Vec::new(),
        };
        let shared = Shared::new(ClientConfig::default());
        let begun = Begun {
            call: CallCell::new(&shared, CallKind::Unary, Flows::default(), ask),
            deadline: Time::from_nanos(deadline),
            number,
            losses: 0,
        };
        InFlight {
            begun,
            sequence: number as u32,
            version: 0,
        }
    }

    proptest! {
        #[test]
        fn slots_are_a_table_whose_lowest_free_place_is_next(
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0u64..20), 0..300),
        ) {
            let (mut slots, mut model) = (Slots::default(), BTreeMap::new());
            for (number, (puts, index, deadline)) in steps.into_iter().enumerate() {
                if puts || model.is_empty() {
                    let slot = slots.next();
                    let lowest = (0..).find(|slot| !model.contains_key(slot));
                    prop_assert_eq!(Some(slot), lowest);
                    slots.put(slot, call(number as u64, deadline));
                    model.insert(slot, (number as u32, deadline));
                } else {
                    let slot = *model.keys().nth(index.index(model.len())).unwrap();
                    let taken = slots.take(slot).map(|one| one.sequence);
                    prop_assert_eq!(taken, model.remove(&slot).map(|(number, _)| number));
                    prop_assert!(slots.take(slot).is_none());
                }
                prop_assert_eq!(slots.len(), model.len());
            }
            for (&slot, &(sequence, _)) in &model {
                let id = CallId { slot, sequence };
                prop_assert!(slots.get(id).is_some());
                let other = CallId { slot, sequence: sequence.wrapping_add(1) };
                prop_assert!(slots.get(other).is_none());
            }
            let (due, next) = slots.due(Time::from_nanos(10));
            let expected: Vec<_> = model.iter().filter(|(_, one)| one.1 <= 10).map(|(slot, _)| *slot).collect();
            prop_assert_eq!(due, expected);
            let later = model.values().map(|one| one.1).filter(|&deadline| deadline > 10).min();
            prop_assert_eq!(next, later.map_or(Time::NEVER, Time::from_nanos));
            let mut numbers: Vec<_> = model.values().map(|one| u64::from(one.0)).collect();
            numbers.sort_unstable();
            let all: Vec<_> = slots.take_all().iter().map(|one| one.number).collect();
            prop_assert_eq!(all, numbers);
            prop_assert_eq!((slots.len(), slots.next()), (0, 0));
        }
    }
}
