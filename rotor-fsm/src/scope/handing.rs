//! Accepting for other loops: connections that are taken by hand here, and adopted there.

use super::Scope;
use crate::error::IoError;
use crate::io::{Incoming, Listener};
use crate::{Detached, Machine};
use uv_sys_wrap::ListenSocket;

impl<M: Machine> Scope<'_, M> {
    /// Takes connections by hand from a socket that listens already: [`Io::Waiting`](crate::Io::Waiting) says that
    /// there are some. For who accepts for other loops. Not in the simulator.
    ///
    /// # Errors
    /// If the system refuses to watch it; `Invalid` in the simulator.
    pub fn listen_on(&mut self, socket: ListenSocket) -> Result<Listener, IoError> {
        self.effects.listen_on(socket, self.id)
    }

    /// Takes one connection from a listener opened with [`listen_on`](Self::listen_on); `None` if none waits. One
    /// system call, no allocation.
    ///
    /// # Errors
    /// `FdLimit` if the process is out of descriptors: the connection goes on waiting.
    pub fn accept(&mut self, listener: &Listener) -> Result<Option<Detached>, IoError> {
        self.effects.accept_detached(listener.id())
    }

    /// Makes a connection that another loop accepted one of this loop's, to be [opened](Self::open).
    ///
    /// # Errors
    /// `Limit` if too many streams are open, or what the system refuses; the connection is closed then.
    pub fn adopt(&mut self, connection: Detached) -> Result<Incoming, IoError> {
        self.effects.adopt(connection)
    }

    /// Leaves the file of a Unix socket behind when it closes: another process listens on it from now on.
    pub fn leave_file(&mut self, listener: &Listener) {
        // One that is closed has removed its file already.
        let _ = self.effects.driver.leave_file(listener.id());
    }
}
