//! A loop's side of the world: its handles, which of them have something to tell, and when it wants to be called.
//!
//! Readiness is level-triggered, as with the real thing: what is not taken is told again in the next turn, and a
//! paused stream tells nothing. Invariant: a handle is on the ready list at most once, and whoever makes it ready
//! puts it there (`mark`).

use super::arena::{Arena, Key};
use super::rng::Rng;
use super::trace::Who;
use super::world::{DoorId, EndId, World};
use crate::driver::IoResult;
use std::collections::VecDeque;
use uv_sys_wrap::{Error as IoError, HandleId, Kind, Op, Token, WorkId};

pub(super) struct LoopSide {
    handles: Arena<Slot>,
    ready: VecDeque<HandleId>,
    /// Jobs that ended and were not told yet.
    pub worked: VecDeque<(WorkId, IoResult<()>)>,
    pub alarm: Option<u64>,
    /// The loop must not sleep.
    pub busy: bool,
    /// What its machines draw from, apart from the world's.
    pub rng: Rng,
}

struct Slot {
    token: Token,
    thing: Thing,
    /// On the ready list.
    listed: bool,
    /// Counts against the limit on descriptors.
    has_descriptor: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Thing {
    Stream(EndId),
    Listener(DoorId),
    Signal { signum: i32, pending: bool },
}

/// Something to tell a machine.
pub(super) enum Occurrence {
    Incoming,
    Connected,
    /// This many bytes can be read.
    Readable(EndId, usize),
    Eof,
    Written {
        bytes: Vec<u8>,
        start: usize,
        result: IoResult<()>,
    },
    ShutDown(IoResult<()>),
    Failed(IoError),
    Signal(i32),
}

const fn id(key: Key) -> HandleId {
    HandleId::new(key.index, key.generation)
}

const fn key(id: HandleId) -> Key {
    Key {
        index: id.index(),
        generation: id.generation(),
    }
}

impl LoopSide {
    pub fn new(rng: Rng) -> Self {
        Self {
            handles: Arena::default(),
            ready: VecDeque::new(),
            worked: VecDeque::new(),
            alarm: None,
            // Before its first turn nobody can tell.
            busy: true,
            rng,
        }
    }

    pub fn thing(&self, handle: HandleId) -> Option<Thing> {
        self.handles.get(key(handle)).map(|slot| slot.thing)
    }

    pub fn token(&self, handle: HandleId) -> Option<Token> {
        self.handles.get(key(handle)).map(|slot| slot.token)
    }

    pub fn set_token(&mut self, handle: HandleId, token: Token) -> bool {
        self.handles
            .get_mut(key(handle))
            .map(|slot| slot.token = token)
            .is_some()
    }

    /// Whether something waits to be told.
    pub fn has_news(&self) -> bool {
        self.busy || !self.ready.is_empty() || !self.worked.is_empty()
    }

    pub fn ready_len(&self) -> usize {
        self.ready.len()
    }
}

/// Handles.
impl World {
    pub fn has_descriptor_left(&self) -> bool {
        self.descriptors < self.config.descriptors_max
    }

    pub fn add_handle(
        &mut self,
        owner: u32,
        thing: Thing,
        token: Token,
        has_descriptor: bool,
    ) -> HandleId {
        self.descriptors += usize::from(has_descriptor);
        let slot = Slot {
            token,
            thing,
            listed: false,
            has_descriptor,
        };
        id(self.loops[owner as usize].handles.insert(slot))
    }

    /// Closes a handle; a stream with a reset if asked to. Idempotent.
    pub fn close_handle(&mut self, owner: u32, handle: HandleId, with_reset: bool) {
        let Some(slot) = self.loops[owner as usize].handles.remove(key(handle)) else {
            return;
        };
        self.record(
            Who::Handle(owner, handle),
            if with_reset { "abort" } else { "close" },
            0,
            0,
        );
        self.descriptors -= usize::from(slot.has_descriptor);
        match slot.thing {
            Thing::Stream(end) => self.close_end(end, with_reset),
            Thing::Listener(door) => self.close_door(door),
            Thing::Signal { .. } => {}
        }
    }

    /// The loop is gone, and with it whatever it left open.
    pub fn close_loop(&mut self, owner: u32) {
        let left: Vec<HandleId> = self.loops[owner as usize]
            .handles
            .iter()
            .map(|(key, _)| id(key))
            .collect();
        for handle in left {
            self.close_handle(owner, handle, false);
        }
        let side = &mut self.loops[owner as usize];
        (side.alarm, side.busy) = (None, false);
        side.ready.clear();
        side.worked.clear();
    }

    pub fn raise(&mut self, signum: i32) {
        self.record(Who::World, "raise", signum as u64, 0);
        let delay = self.delay();
        self.later(delay, super::world::Happening::Signal { signum });
    }

    pub fn signal_arrives(&mut self, signum: i32) {
        for owner in 0..self.loops.len() as u32 {
            let handles = &self.loops[owner as usize].handles;
            let watching =
                |slot: &Slot| matches!(slot.thing, Thing::Signal { signum: n, .. } if n == signum);
            let ids: Vec<_> = handles
                .iter()
                .filter(|(_, slot)| watching(slot))
                .map(|(key, _)| id(key))
                .collect();
            for handle in ids {
                if let Some(slot) = self.loops[owner as usize].handles.get_mut(key(handle)) {
                    slot.thing = Thing::Signal {
                        signum,
                        pending: true,
                    };
                }
                self.mark(owner, handle);
            }
        }
    }
}

/// Readiness.
impl World {
    /// Puts a handle on its loop's ready list if it has something to tell.
    #[inline]
    pub fn mark(&mut self, owner: u32, handle: HandleId) {
        let Some(slot) = self.loops[owner as usize].handles.get(key(handle)) else {
            return;
        };
        if slot.listed || !self.is_ready(slot.thing) {
            return;
        }
        let side = &mut self.loops[owner as usize];
        if let Some(slot) = side.handles.get_mut(key(handle)) {
            slot.listed = true;
            side.ready.push_back(handle);
        }
    }

    fn is_ready(&self, thing: Thing) -> bool {
        match thing {
            Thing::Stream(end) => self.ends.get(end).is_some_and(|end| end.has_news()),
            Thing::Listener(door) => self.doors.get(door).is_some_and(|door| door.has_news()),
            Thing::Signal { pending, .. } => pending,
        }
    }

    /// Takes one of the first `among` handles of the ready list, and one thing that it has to tell.
    pub fn visit(&mut self, owner: u32, among: usize) -> Option<(Token, HandleId, Occurrence)> {
        let pick = self.rng.below(among as u64) as usize;
        let side = &mut self.loops[owner as usize];
        side.ready.swap(0, pick);
        let handle = side.ready.pop_front()?;
        let slot = side.handles.get_mut(key(handle))?;
        slot.listed = false;
        let (token, thing) = (slot.token, slot.thing);
        if !self.is_ready(thing) {
            return None;
        }
        let occurrence = match thing {
            Thing::Stream(end) => self.next_of_stream(end)?,
            Thing::Listener(door) => self.next_of_door(door)?,
            Thing::Signal { signum, .. } => {
                let slot = self.loops[owner as usize].handles.get_mut(key(handle))?;
                slot.thing = Thing::Signal {
                    signum,
                    pending: false,
                };
                Occurrence::Signal(signum)
            }
        };
        self.record_told(Who::Handle(owner, handle), &occurrence);
        Some((token, handle, occurrence))
    }

    fn record_told(&mut self, who: Who, told: &Occurrence) {
        match told {
            Occurrence::Incoming => self.record(who, "incoming", 0, 0),
            Occurrence::Connected => self.record(who, "connected", 0, 0),
            Occurrence::Readable(..) => {}
            Occurrence::Eof => self.record(who, "eof", 0, 0),
            Occurrence::Written {
                bytes,
                start,
                result,
            } => {
                let verb = if result.is_ok() {
                    "written"
                } else {
                    "write-failed"
                };
                self.record(who, verb, (bytes.len() - start) as u64, 0);
            }
            Occurrence::ShutDown(result) => {
                self.record(
                    who,
                    if result.is_ok() {
                        "shut-down"
                    } else {
                        "shutdown-failed"
                    },
                    0,
                    0,
                );
            }
            Occurrence::Failed(error) => {
                self.trace.note(self.now, who, "failed", error.to_string())
            }
            Occurrence::Signal(signum) => self.record(who, "signal", *signum as u64, 0),
        }
    }
}

/// What an operation on a handle that is not there answers.
pub(super) const fn closed(op: Op) -> IoError {
    IoError::new(op, Kind::Closed)
}
