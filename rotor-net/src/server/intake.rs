//! Taking connections from one listener, within the limits: what the acceptor does, and with `ReusePort` each worker.
//!
//! At the connection limit the listener pauses: connections wait in the kernel's queue, and whoever closes one tells.
//! Out of descriptors, a spare one is closed so that the connections that wait can be taken and closed at once,
//! counted; then the listener rests a while (U15). Nothing here spins.

use super::ledger::{Ledger, Place, Room};
use super::places::Change;
use rotor_fsm::{
    Detached, HandleId, IoErrorKind, ListenSocket, Listener, Machine, Notifier, Result, Scope,
};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections taken from one listener before others have their turn: about 300 µs.
const BATCH: usize = 64;
/// Connections shed at a time.
const SHED_BATCH: usize = 64;
/// How long a listener rests when the process is out of descriptors, and how often one that waits for room looks by
/// itself.
pub(super) const REST: Duration = Duration::from_millis(100);

/// A listener.
struct Intake {
    listener: Listener,
    /// Its position among the server's addresses.
    address: usize,
    is_paused: bool,
}

/// What all intakes of a machine share.
pub(super) struct Intakes {
    all: Vec<Intake>,
    ledger: Arc<Ledger>,
    spare: Spare,
    room: Notifier<Room>,
    is_waiting: bool,
}

impl Intakes {
    /// `room` reaches the machine whose these are, which then calls [`resume`](Self::resume).
    pub fn new(ledger: Arc<Ledger>, room: Notifier<Room>) -> Self {
        Self {
            all: Vec::new(),
            ledger,
            spare: Spare::new(),
            room,
            is_waiting: false,
        }
    }

    /// Takes connections from this socket, too, which is at this position among the server's addresses.
    pub fn open<M: Machine>(
        &mut self,
        address: usize,
        socket: ListenSocket,
        scope: &mut Scope<'_, M>,
    ) -> Result<()> {
        let listener = scope.listen_on(socket)?;
        self.all.push(Intake {
            listener,
            address,
            is_paused: false,
        });
        Ok(())
    }

    /// Stops listening.
    pub fn close(&mut self) {
        self.all.clear();
    }

    /// Leaves the files of Unix sockets to who listens on them from now on.
    pub fn leave_files<M: Machine>(&self, scope: &mut Scope<'_, M>) {
        for intake in &self.all {
            scope.leave_file(&intake.listener);
        }
    }

    /// Connections wait at a listener: `each` gets them one by one, with the position of its address, and says
    /// whether to go on. Answers whether the machine should look again after [`REST`].
    pub fn take<M: Machine>(
        &mut self,
        on: HandleId,
        scope: &mut Scope<'_, M>,
        mut each: impl FnMut(Place, Detached, usize, &mut Scope<'_, M>) -> bool,
    ) -> bool {
        let Some(at) = self.all.iter().position(|one| one.listener.id() == on) else {
            return false;
        };
        for _ in 0..BATCH {
            let Some(place) = self.ledger.reserve() else {
                self.pause(at, scope);
                self.wait_for_room();
                return true;
            };
            match scope.accept(&self.all[at].listener) {
                Ok(Some(connection)) => {
                    if !each(place, connection, self.all[at].address, scope) {
                        self.pause(at, scope);
                        return true;
                    }
                }
                Ok(None) => return false,
                Err(error) => {
                    drop(place);
                    if error.kind() == IoErrorKind::FdLimit {
                        self.shed(at, scope);
                    }
                    self.pause(at, scope);
                    return true;
                }
            }
        }
        false
    }

    /// Takes all that wait, whatever the batch: before listeners close.
    pub fn take_rest<M: Machine>(
        &mut self,
        scope: &mut Scope<'_, M>,
        mut each: impl FnMut(Place, Detached, usize, &mut Scope<'_, M>),
    ) {
        for intake in &self.all {
            while let Some(place) = self.ledger.reserve()
                && let Ok(Some(connection)) = scope.accept(&intake.listener)
            {
                each(place, connection, intake.address, scope);
            }
        }
    }

    /// Lets paused listeners go on, if there is room. Answers whether to look again after [`REST`].
    pub fn resume<M: Machine>(&mut self, was_told: bool, scope: &mut Scope<'_, M>) -> bool {
        self.is_waiting &= !was_told;
        self.spare.refill();
        let places = &self.ledger.places;
        let is_full = places.taken() >= places.max();
        for intake in self.all.iter_mut().filter(|one| one.is_paused && !is_full) {
            scope.resume_listener(&intake.listener);
            intake.is_paused = false;
        }
        let is_one_paused = self.all.iter().any(|one| one.is_paused);
        if is_one_paused {
            // Another machine was faster: waits for the next place.
            self.wait_for_room();
        }
        is_one_paused
    }

    fn wait_for_room(&mut self) {
        if !self.is_waiting {
            self.is_waiting = true;
            self.ledger.places.wait(Change::Room, self.room.clone());
        }
    }

    fn pause<M: Machine>(&mut self, at: usize, scope: &mut Scope<'_, M>) {
        let intake = &mut self.all[at];
        if !intake.is_paused {
            intake.is_paused = true;
            scope.pause_listener(&intake.listener);
            self.ledger.pauses.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes those that wait, so that their clients learn at once that there is no place for them.
    #[cold]
    fn shed<M: Machine>(&mut self, at: usize, scope: &mut Scope<'_, M>) {
        if !self.spare.give_up() {
            return;
        }
        for _ in 0..SHED_BATCH {
            match scope.accept(&self.all[at].listener) {
                Ok(Some(connection)) => {
                    drop(connection);
                    self.ledger.shed.fetch_add(1, Ordering::Relaxed);
                }
                _ => break,
            }
        }
        self.spare.refill();
    }
}

/// A descriptor kept for the time when there are no others.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        let mut spare = Self(None);
        spare.refill();
        spare
    }

    /// Takes a descriptor again, if there is one to be had; else the next call tries again.
    fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}
