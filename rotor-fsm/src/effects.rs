//! `Effects`: what a handler's effects act upon, the same for every machine type: the driver, the output of streams, the
//! close list, and the events that the loop owes to machines.
//!
//! Effects are collected while a handler runs and applied when its dispatch ends: output leaves, then dropped handles
//! close. Errors that appear there are owed as events and delivered in a later dispatch, never recursively.

mod flush;

use crate::config::Config;
use crate::detached::{Detached, Leases};
use crate::driver::AnyDriver;
use crate::error::{Full, IoError, IoErrorKind};
use crate::id::Internal;
use crate::io::{Incoming, Listener, SignalWatch, Socket};
use crate::output::Outputs;
use crate::{Addr, MachineId, Time};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use uv_sys_wrap::{CloseList, Handle, HandleId, ListenOptions, ListenSocket, Op};

pub(crate) struct Effects {
    pub driver: AnyDriver,
    pub outputs: Outputs,
    pub closes: Rc<CloseList>,
    /// Events that came of effects, not of the driver.
    pub owed: VecDeque<(HandleId, Owed)>,
    /// Open streams, and how many there may be.
    pub sockets: usize,
    sockets_max: usize,
    /// Listeners that wait for room or descriptors.
    pub held_back: Vec<HandleId>,
    /// Listeners whose machine wants no connections now.
    paused: Vec<HandleId>,
    /// Listeners whose machine takes connections itself.
    by_hand: Vec<HandleId>,
    leases: Leases,
    /// When to try held-back listeners again though nothing was closed here: others free descriptors too.
    pub retry_at: Time,
    /// The clock, read at most once a turn.
    turn: Option<Time>,
    pub accepts_paused: u64,
    /// Machines that shall be asked to finish.
    pub to_finish: VecDeque<MachineId>,
    machines_max: usize,
}

/// An event that the loop owes to a handle's machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owed {
    Flushed,
    Failed(IoError),
    Again,
    /// `Again` to a machine, without a handle.
    Turn(MachineId),
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl Effects {
    pub fn new(driver: AnyDriver, config: &Config) -> Self {
        Self {
            driver,
            outputs: Outputs::new(config.output_bytes_max),
            closes: Rc::new(CloseList::new()),
            owed: VecDeque::new(),
            sockets: 0,
            sockets_max: config.sockets_max,
            held_back: Vec::new(),
            paused: Vec::new(),
            by_hand: Vec::new(),
            leases: Leases::default(),
            retry_at: Time::NEVER,
            turn: None,
            accepts_paused: 0,
            to_finish: VecDeque::new(),
            machines_max: config.machines_max,
        }
    }

    /// Sets memory aside for this many streams.
    pub fn reserve(&mut self, streams: usize) {
        self.outputs.reserve(streams);
        self.leases.reserve(streams);
    }

    /// The time of this turn.
    #[inline]
    pub fn now(&mut self) -> Time {
        match self.turn {
            Some(time) => time,
            None => *self.turn.insert(self.driver.now()),
        }
    }

    /// The time read afresh, which then is the turn's.
    #[inline]
    pub fn fresh_now(&mut self) -> Time {
        *self.turn.insert(self.driver.now())
    }

    /// A new turn begins: the next `now` reads the clock.
    pub fn new_turn(&mut self) {
        self.turn = None;
    }

    fn handle(&self, id: HandleId) -> Handle {
        Handle::new(id, self.closes.clone())
    }

    pub fn has_room(&self) -> bool {
        self.sockets < self.sockets_max
    }

    fn opened(&mut self, id: HandleId) {
        self.sockets += 1;
        self.outputs.open(id);
    }

    pub fn listen(
        &mut self,
        at: &Addr,
        options: &ListenOptions,
        owner: MachineId,
    ) -> Result<Listener, IoError> {
        let id = self.driver.listen(at, options, owner.token())?;
        Ok(Listener(self.handle(id)))
    }

    pub fn listen_on(
        &mut self,
        socket: ListenSocket,
        owner: MachineId,
    ) -> Result<Listener, IoError> {
        let id = self.driver.listen_on(socket, owner.token())?;
        self.by_hand.push(id);
        Ok(Listener(self.handle(id)))
    }

    /// Whether this listener's machine takes connections itself.
    pub fn is_by_hand(&self, listener: HandleId) -> bool {
        self.by_hand.contains(&listener)
    }

    pub fn accept_detached(&mut self, listener: HandleId) -> Result<Option<Detached>, IoError> {
        self.driver.accept_detached(listener)
    }

    pub fn adopt(&mut self, connection: Detached) -> Result<Incoming, IoError> {
        if !self.has_room() {
            return Err(IoError::new(Op::Open, IoErrorKind::Limit));
        }
        let Detached { fd, is_unix, lease } = connection;
        let id = self
            .driver
            .adopt(fd, is_unix, MachineId::internal(Internal::Unowned))?;
        self.opened(id);
        if let Some(lease) = lease {
            self.leases.put(id.index(), lease);
        }
        Ok(Incoming(self.handle(id)))
    }

    /// Takes one waiting connection, unless the limit is reached or descriptors are out; then the listener is held
    /// back until there is room again.
    pub fn accept(&mut self, listener: HandleId) -> Option<Incoming> {
        if self.paused.contains(&listener) {
            return None;
        }
        if !self.has_room() {
            self.hold_back(listener);
            return None;
        }
        match self
            .driver
            .accept(listener, MachineId::internal(Internal::Unowned))
        {
            Ok(Some(id)) => {
                self.opened(id);
                Some(Incoming(self.handle(id)))
            }
            Ok(None) => None,
            Err(error) => {
                match error.kind() {
                    IoErrorKind::FdLimit | IoErrorKind::Memory | IoErrorKind::Limit => {
                        self.hold_back(listener)
                    }
                    _ => self.owed.push_back((listener, Owed::Failed(error))),
                }
                None
            }
        }
    }

    fn hold_back(&mut self, listener: HandleId) {
        if !self.held_back.contains(&listener) && self.driver.set_listening(listener, false).is_ok()
        {
            self.accepts_paused += 1;
            self.held_back.push(listener);
            self.retry_at = self.fresh_now() + ACCEPT_RETRY;
        }
    }

    /// Lets held-back listeners go on, if there may be room.
    pub fn resume_listeners(&mut self) {
        if self.held_back.is_empty() || !self.has_room() {
            return;
        }
        self.retry_at = Time::NEVER;
        for listener in std::mem::take(&mut self.held_back) {
            if !self.paused.contains(&listener) {
                // A listener that was closed meanwhile needs nothing.
                let _ = self.driver.set_listening(listener, true);
            }
        }
    }

    /// Takes no connections until `resume_listener`.
    pub fn pause_listener(&mut self, listener: HandleId) {
        if !self.paused.contains(&listener) && self.driver.set_listening(listener, false).is_ok() {
            self.accepts_paused += 1;
            self.paused.push(listener);
        }
    }

    /// Takes connections again; one that is also held back for want of room goes on waiting for that.
    pub fn resume_listener(&mut self, listener: HandleId) {
        match self.paused.iter().position(|&paused| paused == listener) {
            Some(at) => drop(self.paused.swap_remove(at)),
            // It may have stopped because nobody took what waits.
            None if self.is_by_hand(listener) => {}
            None => return,
        }
        if !self.held_back.contains(&listener) {
            let _ = self.driver.set_listening(listener, true);
        }
    }

    /// Makes an open stream ownerless again. Its output goes on leaving; nothing is read meanwhile.
    pub fn hand_over(&mut self, socket: Socket) -> Result<Incoming, IoError> {
        let Socket(handle) = socket;
        self.driver.set_reading(handle.id(), false)?;
        self.driver
            .set_token(handle.id(), MachineId::internal(Internal::Unowned))?;
        Ok(Incoming(handle))
    }

    /// Owes the stream's machine an `Again`.
    pub fn again(&mut self, id: HandleId) {
        self.owed.push_back((id, Owed::Again));
    }

    /// Notes that a machine shall be asked to finish.
    pub fn ask_to_finish(&mut self, machine: MachineId) -> Result<(), Full<MachineId>> {
        if self.to_finish.len() >= self.machines_max {
            return Err(Full(machine));
        }
        self.to_finish.push_back(machine);
        Ok(())
    }

    /// Owes a machine another turn.
    pub fn another_turn(&mut self, machine: MachineId) {
        self.owed.push_back((HandleId::NONE, Owed::Turn(machine)));
    }

    pub fn open(&mut self, incoming: Incoming, owner: MachineId) -> Result<Socket, IoError> {
        let Incoming(handle) = incoming;
        self.driver.set_token(handle.id(), owner.token())?;
        if let Err(error) = self.driver.set_reading(handle.id(), true) {
            self.owed.push_back((handle.id(), Owed::Failed(error)));
        }
        Ok(Socket(handle))
    }

    pub fn connect(&mut self, to: &Addr, owner: MachineId) -> Result<Socket, IoError> {
        if !self.has_room() {
            return Err(IoError::new(Op::Connect, IoErrorKind::Limit));
        }
        let (id, failure) = self.driver.connect(to, owner.token())?;
        self.opened(id);
        if let Some(error) = failure {
            self.owed.push_back((id, Owed::Failed(error)));
        }
        Ok(Socket(self.handle(id)))
    }

    pub fn stdin(&mut self, owner: MachineId) -> Result<Socket, IoError> {
        let id = self.driver.stdin(owner.token())?;
        self.opened(id);
        self.driver.set_reading(id, true)?;
        Ok(Socket(self.handle(id)))
    }

    pub fn signal(&mut self, signum: i32, owner: MachineId) -> Result<SignalWatch, IoError> {
        let id = self.driver.signal(signum, owner.token())?;
        Ok(SignalWatch(self.handle(id)))
    }

    /// Closes what was dropped.
    #[cold]
    pub fn apply_closes(&mut self) {
        while let Some(id) = self.closes.pop() {
            self.close(id);
        }
        self.resume_listeners();
    }

    /// Closes one handle now, and forgets its output.
    pub fn close(&mut self, id: HandleId) {
        let was_open = self.outputs.close(id);
        if was_open {
            self.sockets -= 1;
        } else {
            self.paused.retain(|&paused| paused != id);
            self.by_hand.retain(|&listener| listener != id);
        }
        if was_open {
            drop(self.leases.take(id.index()));
        }
        self.driver.close(id);
    }

    /// The loop is over, and closes all that is still open right after this.
    pub fn tell_leases(&mut self) {
        self.leases.clear();
    }

    /// Resets a connection: what was not sent is discarded on both sides.
    pub fn abort(&mut self, socket: Socket) {
        // The driver closes the descriptor at once.
        if self.outputs.record(socket.id()).is_some() {
            drop(self.leases.take(socket.id().index()));
        }
        self.driver.reset(socket.id());
        // Dropping the handle closes it at the end of the dispatch, which is a no-op for the driver by then.
    }
}
