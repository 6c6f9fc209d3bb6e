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
        Ok(match self {
            Echo::Connection { socket, heard } => match event {
                Io::Read(data) => {
                    scope.write(&socket, &data)?;
                    if data.len() >= HIGH / 4 && scope.queued(&socket) > HIGH {
                        scope.pause(&socket);
                    }
                    Response::of(Echo::Connection {
                        socket,
                        heard: true,
                    })
                }
                Io::Flushed => {
                    scope.resume(&socket);
                    Response::of(Echo::Connection { socket, heard })
                }
                Io::Eof => {
                    scope.shutdown_write(&socket)?;
                    Response::of(Echo::Ending { _socket: socket })
                }
                Io::Failed(_) => Response::done(),
                _ => Response::of(Echo::Connection { socket, heard }),
            },
            Echo::Listening { _listener } => match event {
                Io::Incoming(peer) => {
                    // Without room for another machine the peer is hung up on.
                    let _ = scope.spawn(Seed::Serve(peer));
                    Response::of(Echo::Listening { _listener })
                }
                Io::Failed(error) => return Err(error.into()),
                _ => Response::of(Echo::Listening { _listener }),
            },
            Echo::Ending { _socket } => match event {
                Io::ShutDown | Io::Failed(_) => Response::done(),
                _ => Response::of(Echo::Ending { _socket }),
            },
        })
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
