//! The table of calls in flight on one connection. The client chooses the places, lowest first, so the table is as long
//! as its peak; a place is free, or has the sequence number of the call that has it.

use super::super::error::{CallError, SessionError};
use super::super::frame::CallId;
use super::super::items::{Inflow, Outflow};
use rotor_fsm::Time;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Calls {
    slots: Vec<Option<Call>>,
    in_flight: usize,
}

/// A call in flight.
struct Call {
    sequence: u32,
    /// The client sends no more items.
    has_ended_input: bool,
    deadline: Time,
    flows: Flows,
}

/// The session's halves of a call's streams. Closed where no lock is held.
#[derive(Clone, Default)]
pub(super) struct Flows {
    pub inflow: Option<Arc<Inflow>>,
    pub outflow: Option<Arc<Outflow>>,
}

impl Flows {
    /// The call is over, for this reason.
    #[inline]
    pub fn close(self, why: impl FnOnce() -> CallError) {
        if self.inflow.is_some() || self.outflow.is_some() {
            self.close_both(why());
        }
    }

    fn close_both(self, why: CallError) {
        if let Some(outflow) = self.outflow {
            outflow.close(why.clone());
        }
        if let Some(inflow) = self.inflow {
            inflow.end(Err(why));
        }
    }
}

impl Calls {
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// A call has arrived.
    ///
    /// # Errors
    /// `DuplicateId` if another one has its place.
    #[inline]
    pub fn begin(&mut self, id: CallId, deadline: Time, flows: Flows) -> Result<(), SessionError> {
        let at = id.slot as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        if self.slots[at].is_some() {
            return Err(SessionError::DuplicateId { slot: id.slot });
        }
        self.slots[at] = Some(Call {
            sequence: id.sequence,
            has_ended_input: false,
            deadline,
            flows,
        });
        self.in_flight += 1;
        Ok(())
    }

    #[inline]
    fn find(&self, id: CallId) -> Option<&Call> {
        let call = self.slots.get(id.slot as usize)?.as_ref()?;
        (call.sequence == id.sequence).then_some(call)
    }

    #[inline]
    pub fn is_live(&self, id: CallId) -> bool {
        self.find(id).is_some()
    }

    /// The streams of a live call.
    pub fn flows(&self, id: CallId) -> Option<&Flows> {
        self.find(id).map(|call| &call.flows)
    }

    /// Where the client's items go; `None` after they have ended, and for calls without any.
    pub fn inflow(&self, id: CallId) -> Option<&Arc<Inflow>> {
        let call = self.find(id)?;
        call.flows.inflow.as_ref().filter(|_| !call.has_ended_input)
    }

    /// The client sends no more items of this call.
    pub fn end_input(&mut self, id: CallId) {
        if let Some(Some(call)) = self.slots.get_mut(id.slot as usize) {
            call.has_ended_input |= call.sequence == id.sequence;
        }
    }

    /// No more items of any call come: the streams that had not ended.
    pub fn cut_inputs(&mut self) -> Vec<Arc<Inflow>> {
        let cut = |call: &mut Call| match std::mem::replace(&mut call.has_ended_input, true) {
            true => None,
            false => call.flows.inflow.clone(),
        };
        self.slots.iter_mut().flatten().filter_map(cut).collect()
    }

    /// A call is over: what is left of it, unless it was over already.
    #[inline]
    pub fn end(&mut self, id: CallId) -> Option<Flows> {
        if !self.is_live(id) {
            return None;
        }
        let call = self.slots[id.slot as usize].take()?;
        self.in_flight -= 1;
        Some(call.flows)
    }

    /// Calls whose deadline has passed.
    pub fn expired(&self, now: Time) -> Vec<CallId> {
        let expired = self.live().filter(|(_, call)| call.deadline <= now);
        expired.map(|(id, _)| id).collect()
    }

    /// The earliest deadline.
    pub fn earliest_deadline(&self) -> Time {
        let deadlines = self.live().map(|(_, call)| call.deadline);
        deadlines.min().unwrap_or(Time::NEVER)
    }

    /// Streams that leave.
    pub fn outflows(&self) -> impl Iterator<Item = &Arc<Outflow>> {
        self.live()
            .filter_map(|(_, call)| call.flows.outflow.as_ref())
    }

    fn live(&self) -> impl Iterator<Item = (CallId, &Call)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, call)| {
            let call = call.as_ref()?;
            let id = CallId {
                slot: slot as u32,
                sequence: call.sequence,
            };
            Some((id, call))
        })
    }

    /// All calls are over.
    pub fn end_all(&mut self) -> Vec<Flows> {
        self.in_flight = 0;
        let calls = std::mem::take(&mut self.slots).into_iter().flatten();
        calls.map(|call| call.flows).collect()
    }

    /// Gives memory back, if no call is in flight.
    pub fn trim(&mut self) {
        if self.in_flight == 0 {
            self.slots = Vec::new();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Begin(u32, u64),
        End(u32, u32),
        Expire(u64),
        Trim,
        EndAll,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..6_u32, 0..50_u64).prop_map(|(slot, deadline)| Step::Begin(slot, deadline)),
            4 => (0..7_u32, 0..30_u32).prop_map(|(slot, back)| Step::End(slot, back)),
            2 => (0..50_u64).prop_map(Step::Expire),
            1 => Just(Step::Trim),
            1 => Just(Step::EndAll),
        ];
        proptest::collection::vec(step, 0..80)
    }

    fn at(nanos: u64) -> Time {
        Time::from_nanos(nanos)
    }

    proptest! {
        /// The model maps slots to sequence numbers and deadlines.
        #[test]
        fn the_table_is_a_map(steps in steps()) {
            let (mut calls, mut model) = (Calls::default(), BTreeMap::new());
            for (sequence, step) in (0..).zip(steps) {
                match step {
                    Step::Begin(slot, deadline) => {
                        let begun = calls.begin(CallId { slot, sequence }, at(deadline), Flows::default());
                        prop_assert_eq!(begun.is_ok(), !model.contains_key(&slot));
                        model.entry(slot).or_insert((sequence, deadline));
                    }
                    Step::End(slot, back) => {
                        let id = CallId { slot, sequence: sequence.wrapping_sub(back) };
                        let is_live = model.get(&slot).is_some_and(|call| call.0 == id.sequence);
                        prop_assert_eq!(calls.is_live(id), is_live);
                        prop_assert_eq!(calls.end(id).is_some(), is_live);
                        if is_live {
                            model.remove(&slot);
                        }
                    }
                    Step::Expire(now) => {
                        let expired = calls.expired(at(now));
                        let expired = expired.iter().map(|id| (id.slot, id.sequence));
                        let past = model.iter().filter(|(_, call)| call.1 <= now);
                        prop_assert!(expired.eq(past.map(|(slot, call)| (*slot, call.0))));
                    }
                    Step::Trim => {
                        calls.trim();
                        prop_assert!(!model.is_empty() || calls.slots.capacity() == 0);
                    }
                    Step::EndAll => {
                        prop_assert_eq!(calls.end_all().len(), model.len());
                        model.clear();
                    }
                }
                prop_assert_eq!(calls.in_flight(), model.len());
                let earliest = model.values().map(|call| at(call.1)).min();
                prop_assert_eq!(calls.earliest_deadline(), earliest.unwrap_or(Time::NEVER));
            }
        }
    }

    #[test]
    fn a_place_is_small() {
        assert_eq!(size_of::<Option<Call>>(), 32);
    }
}
