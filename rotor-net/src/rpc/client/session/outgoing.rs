//! What a session sends: calls, and that they are given up, and its signs of life.

use super::super::call::{ClientCall, Envelope};
use super::super::slots::{Begun, InFlight, NO_SLOT};
use super::route::Route;
use super::{Opened, Phase, Session};
use crate::rpc::frame::{CallId, Header, Kind};
use crate::rpc::{CallError, CallKind, SessionError};
use rotor_fsm::Time;
use std::sync::Arc;

/// Calls.
impl Session {
    /// Whether another call may be sent, as far as the server's limits, and this client's, say.
    pub fn has_room(&self) -> bool {
        match &self.phase {
            Phase::Open(opened) => !self.has_said_close && self.slots.len() < opened.in_flight_max,
            _ => false,
        }
    }

    /// Sends a call, or fails it. `now` is of interest only where it has a deadline.
    pub fn call(&mut self, begun: Begun, now: Time) {
        let call = begun.call.clone();
        if let Err(error) = self.try_call(begun, now) {
            call.fail(error);
        }
    }

    fn try_call(&mut self, begun: Begun, now: Time) -> Result<(), CallError> {
        let (call, deadline) = (&begun.call, begun.deadline);
        let Phase::Open(opened) = &mut self.phase else {
            return Err(CallError::Misuse("a session that is open"));
        };
        let server = &opened.server;
        let route = opened
            .routes
            .find(&**call, &server.menu, server.takes_unknown)?;
        let (rank, version) = match route {
            Route::Ranked(resolved) => (resolved.rank, resolved.version),
            Route::ByName => (0, 0),
        };
        let is_one_way = call.core().kind == CallKind::OneWay;
        let (kind, slot) = match is_one_way {
            true => (Kind::OneWay, NO_SLOT),
            false => (Kind::Call, self.slots.next()),
        };
        let sequence = self.sequence;
        let id = CallId { slot, sequence };
        let envelope = Envelope {
            header: Header::new(kind, id).with_number(rank),
            deadline_ms: milliseconds(deadline, now)?,
            is_named: matches!(route, Route::ByName),
            meta_bytes_max: server.meta_bytes_max,
            body_bytes_max: server.frame_bytes_max,
            limits: &opened.limits,
        };
        call.write(version, &envelope, &mut self.out)?;
        self.sequence = sequence.wrapping_add(1);
        if is_one_way {
            // Nothing follows it.
            call.core().end();
            return Ok(());
        }
        self.earliest = self.earliest.min(deadline);
        call.core().set_slot(Some(slot));
        let in_flight = InFlight {
            begun,
            sequence,
            version,
        };
        self.slots.put(slot, in_flight);
        self.open_line(id, version);
        Ok(())
    }

    /// Lets the streams of a call that was just sent begin.
    fn open_line(&self, id: CallId, version: usize) {
        let (Some(in_flight), Phase::Open(opened)) = (self.slots.get(id), &self.phase) else {
            return;
        };
        let core = in_flight.begun.call.core();
        if !core.kind.has_items() && !core.kind.has_input() {
            return;
        }
        self.line.open(id);
        if let Some(inflow) = &core.flows.inflow {
            inflow.open(self.line.clone(), id, version);
        }
        if let Some(outflow) = &core.flows.outflow {
            let Opened { server, limits, .. } = &**opened;
            let (window, item_max) = (server.window_bytes, limits.encoded_bytes_max);
            outflow.open(self.line.clone(), id, window, item_max, version);
        }
    }

    /// Frames of this call's streams are not taken any more.
    pub(super) fn close_line(&self, slot: u32, in_flight: &InFlight) {
        let kind = in_flight.begun.call.core().kind;
        if kind.has_items() || kind.has_input() {
            self.line.close(slot);
        }
    }

    /// The call is over by the will of this side: tells the server, if it has the call.
    pub fn cancelled(&mut self, call: &Arc<dyn ClientCall>) {
        if let Some(slot) = call.core().slot()
            && let Some(in_flight) = self.slots.at(slot)
            && in_flight.begun.call.is(&**call)
        {
            self.cancel(slot);
        }
    }

    /// Tells the server that a call is given up. Its streams have ended before.
    fn cancel(&mut self, slot: u32) {
        let Some(in_flight) = self.slots.take(slot) else {
            return;
        };
        in_flight.begun.call.core().set_slot(None);
        let sequence = in_flight.sequence;
        Header::new(Kind::Cancel, CallId { slot, sequence }).write(&[], &mut self.out);
        self.close_line(slot, &in_flight);
    }

    /// The connection is over: what was in flight.
    pub fn abandon(&mut self) -> Vec<Begun> {
        let calls = self.slots.take_all();
        for begun in &calls {
            begun.call.core().set_slot(None);
        }
        calls
    }

    /// Bytes that may wait for the server.
    pub fn queued_bytes_max(&self) -> usize {
        self.shared.config.queued_bytes_max
    }

    /// Whoever has waited for room to send items may look again.
    pub fn tell_room(&self) {
        for (_, in_flight) in self.slots.iter() {
            if let Some(outflow) = &in_flight.begun.call.core().flows.outflow {
                outflow.room();
            }
        }
    }
}

/// Time, and the end.
impl Session {
    /// When to be told the time next.
    pub fn next_deadline(&self) -> Time {
        self.earliest.min(self.life.next())
    }

    /// Fails calls whose deadline has passed, and looks for signs of life.
    ///
    /// # Errors
    /// `Silent`.
    pub fn expire(&mut self, now: Time) -> Result<(), SessionError> {
        if self.earliest <= now {
            let (due, next) = self.slots.due(now);
            self.earliest = next;
            for slot in due {
                let call = self.slots.at(slot).map(|one| one.begun.call.clone());
                if let Some(call) = call {
                    call.core().flows.close_outflow(&CallError::TimedOut);
                    self.cancel(slot);
                    call.fail(CallError::TimedOut);
                }
            }
        }
        if self.life.look(now)? {
            Header::new(Kind::Ping, CallId::default()).write(&[], &mut self.out);
        }
        Ok(())
    }

    /// Answers however many pings there were, once, when there is room for it: a peer that does not read what it asks
    /// for gets no more.
    pub fn answer_ping(&mut self) {
        if self.owes_pong && self.out.len() < self.queued_bytes_max() {
            self.owes_pong = false;
            Header::new(Kind::Pong, CallId::default()).write(&[], &mut self.out);
        }
    }

    /// No more calls will be sent.
    pub fn say_close(&mut self) {
        if !std::mem::replace(&mut self.has_said_close, true) {
            Header::new(Kind::CloseStarted, CallId::default()).write(&[], &mut self.out);
        }
    }
}

/// The time that is left, in whole milliseconds, rounded up. None if that is no deadline, or one that the frame cannot
/// say, of weeks: then this side alone keeps it.
fn milliseconds(deadline: Time, now: Time) -> Result<Option<u32>, CallError> {
    if deadline == Time::NEVER {
        return Ok(None);
    }
    if deadline <= now {
        return Err(CallError::TimedOut);
    }
    let milliseconds = deadline.since(now).as_nanos().div_ceil(1_000_000);
    Ok(u32::try_from(milliseconds).ok())
}
