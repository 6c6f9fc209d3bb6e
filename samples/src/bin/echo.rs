//! A TCP echo server as an enum: listening, serving a connection, or saying goodbye.

use rotor_fsm::prelude::*;
use samples::cli;
use std::time::Duration;

/// Output that may wait for a slow peer before its input is left unread.
const HIGH: usize = 64 << 10;
/// How often to look for silent peers.
const IDLE: Duration = Duration::from_secs(300);

enum Echo {
    Listening {
        _listener: Listener,
    },
    Connection {
        socket: Socket,
        /// Something came since the last look.
        heard: bool,
    },
    /// The peer has sent its FIN; what is left of the output is on its way, and then ours.
    Ending {
        _socket: Socket,
    },
}

enum Seed {
    Listen(Addr),
    Serve(Incoming),
}

impl Machine for Echo {
    type Context = ();
    type Message = Never;
    type Seed = Seed;

    fn create(seed: Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match seed {
            Seed::Listen(addr) => {
                let listener = scope.listen(addr)?;
                cli::announce(&scope.listening_at(&listener)?);
                Ok(Response::of(Echo::Listening {
                    _listener: listener,
                }))
            }
            Seed::Serve(peer) => {
                let socket = scope.open(peer)?;
                Ok(Response::of(Echo::Connection {
                    socket,
                    heard: true,
                })
                .after(IDLE))
            }
        }
    }

    #[inline(always)] // the one handler that runs per message
    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (self, event) {
            (Echo::Listening { _listener }, Io::Incoming(peer)) => {
                // Without room for another machine the peer is hung up on.
                let _ = scope.spawn(Seed::Serve(peer));
                Ok(Response::of(Echo::Listening { _listener }))
            }
            (Echo::Connection { socket, .. }, Io::Read(data)) => {
                scope.write(&socket, &data)?;
                if data.len() >= HIGH / 4 && scope.queued(&socket) > HIGH {
                    scope.pause(&socket);
                }
                Ok(Response::of(Echo::Connection {
                    socket,
                    heard: true,
                }))
            }
            (Echo::Connection { socket, heard }, Io::Flushed) => {
                scope.resume(&socket);
                Ok(Response::of(Echo::Connection { socket, heard }))
            }
            (Echo::Connection { socket, .. }, Io::Eof) => {
                scope.shutdown_write(&socket)?;
                Ok(Response::of(Echo::Ending { _socket: socket }))
            }
            (Echo::Ending { .. }, Io::ShutDown) => Ok(Response::done()),
            (_, Io::Failed(_)) => Ok(Response::done()),
            (state, _) => Ok(Response::of(state)),
        }
    }

    /// Looks now and then whether something came since, which costs less than moving a deadline per message. A peer
    /// that is silent, or does not take its output, for two looks is hung up on.
    fn timeout(self, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self {
            Echo::Connection {
                socket,
                heard: true,
            } => Ok(Response::of(Echo::Connection {
                socket,
                heard: false,
            })
            .after(IDLE)),
            _ => Ok(Response::done()),
        }
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self {
            Echo::Connection { socket, .. } => {
                scope.shutdown_write(&socket)?;
                Ok(Response::of(Echo::Ending { _socket: socket }))
            }
            Echo::Ending { _socket } => Ok(Response::of(Echo::Ending { _socket })),
            Echo::Listening { .. } => Ok(Response::done()),
        }
    }
}

fn main() -> Result<()> {
    run::<Echo>((), Seed::Listen(cli::listen_addr("127.0.0.1:0")?))
}

#[cfg(test)]
#[path = "../sim_tests/echo.rs"]
mod tests;
