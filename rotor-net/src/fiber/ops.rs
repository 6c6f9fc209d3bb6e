//! `Ops`: what a fiber's streams ask of the loop, whatever the fiber's context and messages are.

use rotor_fsm::{IoError, Machine, Scope, Socket, Time};

pub(super) trait Ops {
    fn fresh_now(&mut self) -> Time;
    /// Output that waits.
    fn peek_queued(&mut self, socket: &Socket) -> usize;
    /// The same; if there is some, a `Flushed` follows.
    fn queued(&mut self, socket: &Socket) -> usize;
    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> Result<(), IoError>;
    fn set_reading(&mut self, socket: &Socket, on: bool);
    fn shutdown_write(&mut self, socket: &Socket) -> Result<(), IoError>;
}

impl<M: Machine> Ops for Scope<'_, M> {
    fn fresh_now(&mut self) -> Time {
        Scope::fresh_now(self)
    }

    fn peek_queued(&mut self, socket: &Socket) -> usize {
        self.parts(socket).out.peek_queued()
    }

    fn queued(&mut self, socket: &Socket) -> usize {
        Scope::queued(self, socket)
    }

    fn write(&mut self, socket: &Socket, bytes: &[u8]) -> Result<(), IoError> {
        Scope::write(self, socket, bytes)
    }

    fn set_reading(&mut self, socket: &Socket, on: bool) {
        if on {
            self.resume(socket);
        } else {
            self.pause(socket);
        }
    }

    fn shutdown_write(&mut self, socket: &Socket) -> Result<(), IoError> {
        Scope::shutdown_write(self, socket)
    }
}
