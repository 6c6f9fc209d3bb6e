//! Hot restart, the old process's side: shows a successor the listening sockets.
//!
//! It listens at the control socket, on the acceptor's loop. A successor that connects is sent copies of all listening
//! sockets; when it says that it serves, this process drains. One that leaves without a word changes nothing.

use super::gate::GateMessage;
use super::handoff::{self, Control};
use super::report::{Notice, Watch};
use rotor_fsm::{
    Detached, HandleId, Io, ListenSocket, Listener, Machine, Notifier, Response, Result, Scope,
    Socket,
};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What an usher is made from.
pub struct UsherSeed {
    pub(super) control: Control,
    /// Copies of all listening sockets, with their addresses.
    pub(super) sockets: Vec<(String, ListenSocket)>,
    pub(super) gate: Notifier<GateMessage>,
    pub(super) watch: Watch,
}

/// The listeners close: there is nothing to hand over any more.
#[derive(Clone, Copy, Debug)]
pub struct Closing;

pub struct Usher {
    seed: UsherSeed,
    listener: Listener,
    /// Who was sent the sockets and has not said that it serves.
    successor: Option<Socket>,
}

/// How long a successor may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

impl Machine for Usher {
    type Context = ();
    type Message = Closing;
    type Seed = UsherSeed;

    fn create(seed: UsherSeed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let control = seed.control.listener.try_clone()?;
        let listener = scope.listen_on(ListenSocket::from_fd(control.into())?)?;
        Ok(Response::of(Self {
            seed,
            listener,
            successor: None,
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match event {
            // One at a time.
            Io::Waiting if self.successor.is_none() => {
                if let Ok(Some(connection)) = scope.accept(&self.listener) {
                    return Ok(self.show(connection, scope));
                }
            }
            Io::Read(bytes) if bytes.contains(&handoff::READY) => {
                // The acceptor's inbox has room; if it has ended, so has all else.
                let _ = self.seed.gate.send(GateMessage::HandedOver);
                return Ok(Response::done());
            }
            Io::Eof | Io::Failed(_) => return Ok(self.give_up("it left before it served", scope)),
            _ => {}
        }
        Ok(Response::of(self))
    }

    fn wakeup(self, _: Closing, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::done())
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if let Some(successor) = &self.successor {
            // It may have left.
            let _ = scope.write(successor, &[handoff::DISMISSED]);
        }
        Ok(self.give_up("it did not serve within a minute", scope))
    }
}

impl Usher {
    fn show(mut self, connection: Detached, scope: &mut Scope<'_, Self>) -> Response<Self> {
        match self.try_show(connection, scope) {
            Ok(successor) => {
                self.successor = Some(successor);
                Response::of(self).after(PATIENCE)
            }
            Err(error) => {
                let why = error.to_string();
                self.give_up(&why, scope)
            }
        }
    }

    fn try_show(&self, connection: Detached, scope: &mut Scope<'_, Self>) -> Result<Socket> {
        let stream = UnixStream::from(connection.as_fd().try_clone_to_owned()?);
        if !handoff::peer_is_us(&stream) {
            return Err(rotor_fsm::Error::msg("it is another user's"));
        }
        let sockets = &self.seed.sockets;
        let listeners: Vec<_> = sockets
            .iter()
            .map(|(address, socket)| (address.clone(), socket.as_fd()))
            .collect();
        handoff::offer(&stream, &listeners)?;
        let incoming = scope.adopt(connection)?;
        Ok(scope.open(incoming)?)
    }

    /// The successor is gone, or no good: goes on with the next.
    fn give_up(mut self, why: &str, scope: &mut Scope<'_, Self>) -> Response<Self> {
        self.successor = None;
        (self.seed.watch)(&Notice::TakeoverFailed {
            why: why.to_owned(),
        });
        scope.resume_listener(&self.listener);
        Response::of(self).no_deadline()
    }
}
