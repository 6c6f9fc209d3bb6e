//! The simulator's driver: what a loop asks of its environment, asked of the world.
//!
//! It answers as the libuv driver does: the same misuse fails with the same kind of error, and what the environment
//! refuses comes as an event.

use super::end::{Owner, State};
use super::loops::{Thing, closed};
use super::trace::Who;
use super::world::{DoorId, EndId, World};
use crate::driver::{Driver, IoResult, SocketOption};
use crate::work::Job;
use crate::{Addr, Detached, ListenOptions, ListenSocket, Time};
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use uv_sys_wrap::{Error as IoError, HandleId, Kind, Op, Token, WorkId};

pub(super) struct SimDriver {
    pub world: Rc<RefCell<World>>,
    /// Which loop this is.
    pub index: u32,
}

/// Descriptors of the real world have no place in the simulated one.
const NOT_SIMULATED: IoError = IoError::new(Op::Open, Kind::Invalid);

impl SimDriver {
    fn thing(&self, id: HandleId, op: Op) -> IoResult<Thing> {
        self.world.borrow().loops[self.index as usize]
            .thing(id)
            .ok_or(closed(op))
    }

    #[inline]
    fn stream(&self, id: HandleId, op: Op) -> IoResult<EndId> {
        match self.thing(id, op)? {
            Thing::Stream(end) => Ok(end),
            _ => Err(IoError::new(op, Kind::WrongKind)),
        }
    }

    fn listener(&self, id: HandleId) -> IoResult<DoorId> {
        match self.thing(id, Op::Accept)? {
            Thing::Listener(door) => Ok(door),
            _ => Err(IoError::new(Op::Accept, Kind::WrongKind)),
        }
    }

    fn who(&self, id: HandleId) -> Who {
        Who::Handle(self.index, id)
    }
}

impl Driver for SimDriver {
    fn now(&mut self) -> Time {
        Time::from_nanos(self.world.borrow().now)
    }

    fn random(&mut self) -> u64 {
        self.world.borrow_mut().loops[self.index as usize]
            .rng
            .next()
    }

    fn listen(&mut self, at: &Addr, options: &ListenOptions, token: Token) -> IoResult<HandleId> {
        let mut world = self.world.borrow_mut();
        if !world.has_descriptor_left() {
            return Err(IoError::new(Op::Listen, Kind::FdLimit));
        }
        let door = world.open_door(at, options)?;
        let id = world.add_handle(self.index, Thing::Listener(door), token, true);
        if let Some(door) = world.doors.get_mut(door) {
            door.owner = Some((self.index, id));
        }
        world.record_door(self.who(id), door);
        Ok(id)
    }

    fn accept(&mut self, listener: HandleId, token: Token) -> IoResult<Option<HandleId>> {
        let door = self.listener(listener)?;
        let mut world = self.world.borrow_mut();
        if !world.has_descriptor_left() {
            world.record(self.who(listener), "out-of-descriptors", 0, 0);
            return Err(IoError::new(Op::Accept, Kind::FdLimit));
        }
        let Some(end) = world.take_waiting(door) else {
            return Ok(None);
        };
        let id = world.add_handle(self.index, Thing::Stream(end), token, true);
        if let Some(end) = world.ends.get_mut(end) {
            end.owner = Owner::Handle(self.index, id);
        }
        world.record(self.who(id), "accepted", u64::from(listener.index()), 0);
        Ok(Some(id))
    }

    fn listen_on(&mut self, _: ListenSocket, _: Token) -> IoResult<HandleId> {
        Err(NOT_SIMULATED)
    }

    fn accept_detached(&mut self, _: HandleId) -> IoResult<Option<Detached>> {
        Err(NOT_SIMULATED)
    }

    fn adopt(&mut self, _: OwnedFd, _: bool, _: Token) -> IoResult<HandleId> {
        Err(NOT_SIMULATED)
    }

    fn leave_file(&mut self, _: HandleId) -> IoResult<()> {
        Err(NOT_SIMULATED)
    }

    fn set_listening(&mut self, listener: HandleId, on: bool) -> IoResult<()> {
        let door = self.listener(listener)?;
        let mut world = self.world.borrow_mut();
        if let Some(door) = world.doors.get_mut(door) {
            (door.is_on, door.is_told) = (on, false);
        }
        world.mark(self.index, listener);
        Ok(())
    }

    fn connect(&mut self, to: &Addr, token: Token) -> IoResult<(HandleId, Option<IoError>)> {
        let mut world = self.world.borrow_mut();
        let has_descriptor = world.has_descriptor_left();
        let end = world.start_connect(to, Owner::Nobody);
        let id = world.add_handle(self.index, Thing::Stream(end), token, has_descriptor);
        if let Some(end) = world.ends.get_mut(end) {
            end.owner = Owner::Handle(self.index, id);
            if !has_descriptor {
                end.state = State::Failed;
            }
        }
        let text = to.to_string();
        let now = world.now;
        world.trace.note(now, self.who(id), "connect", text);
        let failure = (!has_descriptor).then_some(IoError::new(Op::Connect, Kind::FdLimit));
        Ok((id, failure))
    }

    fn token(&self, id: HandleId) -> Option<Token> {
        self.world.borrow().loops[self.index as usize].token(id)
    }

    fn set_token(&mut self, id: HandleId, token: Token) -> IoResult<()> {
        let is_there = self.world.borrow_mut().loops[self.index as usize].set_token(id, token);
        if is_there {
            Ok(())
        } else {
            Err(closed(Op::Lookup))
        }
    }

    fn close(&mut self, id: HandleId) {
        self.world.borrow_mut().close_handle(self.index, id, false);
    }

    fn reset(&mut self, id: HandleId) {
        if self.stream(id, Op::Close).is_ok() {
            self.world.borrow_mut().close_handle(self.index, id, true);
        }
    }

    fn set_reading(&mut self, id: HandleId, on: bool) -> IoResult<()> {
        let end = self.stream(id, Op::Read)?;
        let mut world = self.world.borrow_mut();
        let Some(end) = world.ends.get_mut(end) else {
            return Err(closed(Op::Read));
        };
        if on && end.state != State::Open {
            return Err(IoError::new(Op::Read, Kind::NotConnected));
        }
        if end.reading != on {
            end.reading = on;
            world.record(self.who(id), if on { "resume" } else { "pause" }, 0, 0);
            world.mark(self.index, id);
        }
        Ok(())
    }

    fn try_write(&mut self, id: HandleId, bytes: &[u8]) -> IoResult<usize> {
        let end = self.stream(id, Op::Write)?;
        let mut world = self.world.borrow_mut();
        let taken = world.try_write(end, bytes)?;
        let digest = super::trace::digest(0, &bytes[..taken]);
        world.record(self.who(id), "try-write", taken as u64, digest);
        Ok(taken)
    }

    fn write(
        &mut self,
        id: HandleId,
        bytes: Vec<u8>,
        start: usize,
    ) -> Result<(), (IoError, Vec<u8>)> {
        let end = match self.stream(id, Op::Write) {
            Ok(end) => end,
            Err(error) => return Err((error, bytes)),
        };
        let mut world = self.world.borrow_mut();
        let len = bytes.len().saturating_sub(start);
        world.write(end, bytes, start)?;
        world.record(self.who(id), "write", len as u64, 0);
        Ok(())
    }

    fn shutdown(&mut self, id: HandleId) -> IoResult<()> {
        let end = self.stream(id, Op::Shutdown)?;
        let mut world = self.world.borrow_mut();
        world.shutdown(end)?;
        world.record(self.who(id), "shutdown", 0, 0);
        Ok(())
    }

    fn set_option(&mut self, id: HandleId, option: SocketOption) -> IoResult<()> {
        self.stream(id, Op::Option)?;
        match option {
            SocketOption::SendBuffer(0) | SocketOption::ReceiveBuffer(0) => {
                Err(IoError::new(Op::Option, Kind::Invalid))
            }
            // How much a connection holds is the simulation's to draw.
            _ => Ok(()),
        }
    }

    fn local_addr(&self, id: HandleId) -> IoResult<Addr> {
        let thing = self.thing(id, Op::Address)?;
        let world = self.world.borrow();
        let addr = match thing {
            Thing::Stream(end) => world.ends.get(end).map(|end| end.local.clone()),
            Thing::Listener(door) => world.doors.get(door).map(|door| door.addr.clone()),
            Thing::Signal { .. } => return Err(IoError::new(Op::Address, Kind::WrongKind)),
        };
        addr.ok_or(closed(Op::Address))
    }

    fn peer_addr(&self, id: HandleId) -> IoResult<Addr> {
        let end = self.stream(id, Op::Address)?;
        let world = self.world.borrow();
        let end = world.ends.get(end).ok_or(closed(Op::Address))?;
        match end.state {
            State::Open => Ok(end.remote.clone()),
            _ => Err(IoError::new(Op::Address, Kind::NotConnected)),
        }
    }

    fn signal(&mut self, signum: i32, token: Token) -> IoResult<HandleId> {
        // SIGKILL and SIGSTOP cannot be watched.
        if !(1..=64).contains(&signum) || signum == 9 || signum == 19 {
            return Err(IoError::new(Op::Signal, Kind::Invalid));
        }
        let thing = Thing::Signal {
            signum,
            pending: false,
        };
        Ok(self
            .world
            .borrow_mut()
            .add_handle(self.index, thing, token, false))
    }

    fn stdin(&mut self, token: Token) -> IoResult<HandleId> {
        let mut world = self.world.borrow_mut();
        let (end, _) = world.stdin();
        if world
            .ends
            .get(end)
            .is_some_and(|end| end.owner != Owner::Nobody)
        {
            return Err(IoError::new(Op::Open, Kind::Busy));
        }
        let id = world.add_handle(self.index, Thing::Stream(end), token, false);
        if let Some(end) = world.ends.get_mut(end) {
            end.owner = Owner::Handle(self.index, id);
        }
        Ok(id)
    }

    fn work(&mut self, job: Job) -> IoResult<WorkId> {
        Ok(self.world.borrow_mut().add_job(self.index, job))
    }

    fn cancel_work(&mut self, work: WorkId) {
        // The job is the user's: it is dropped after the borrow.
        let job = self.world.borrow_mut().cancel_job(work);
        drop(job);
    }

    fn set_alarm(&mut self, at: Option<Time>) {
        let alarm = at.filter(|at| *at != Time::NEVER).map(Time::as_nanos);
        self.world.borrow_mut().loops[self.index as usize].alarm = alarm;
    }

    fn set_busy(&mut self, on: bool) {
        self.world.borrow_mut().loops[self.index as usize].busy = on;
    }

    fn stop(&mut self) {
        // The runner sees it by the engine's outcome.
    }
}
