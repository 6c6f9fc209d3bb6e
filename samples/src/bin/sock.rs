//! A listening socket as a machine: greets every caller with its number and hangs up.

use rotor_fsm::prelude::*;
use samples::cli;

enum Sock {
    Listening { _listener: Listener, callers: u32 },
    Leaving { _socket: Socket },
}

enum Seed {
    Listen(Addr),
    Greet(Incoming, u32),
}

impl Machine for Sock {
    type Context = ();
    type Message = Never;
    type Seed = Seed;

    fn create(seed: Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match seed {
            Seed::Listen(addr) => {
                let listener = scope.listen(addr)?;
                cli::announce(&scope.listening_at(&listener)?);
                Ok(Response::of(Sock::Listening {
                    _listener: listener,
                    callers: 0,
                }))
            }
            Seed::Greet(caller, number) => {
                let socket = scope.open(caller)?;
                scope.write(&socket, format!("hello, caller {number}\n").as_bytes())?;
                scope.shutdown_write(&socket)?;
                Ok(Response::of(Sock::Leaving { _socket: socket }))
            }
        }
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (self, event) {
            (Sock::Listening { _listener, callers }, Io::Incoming(caller)) => {
                let callers = callers + 1;
                // Without room for another machine the caller is hung up on.
                let _ = scope.spawn(Seed::Greet(caller, callers));
                Ok(Response::of(Sock::Listening { _listener, callers }))
            }
            // The caller has everything once it closes its side too.
            (Sock::Leaving { .. }, Io::Eof) => Ok(Response::done()),
            (_, Io::Failed(error)) => Err(error.into()),
            (state, _) => Ok(Response::of(state)),
        }
    }
}

fn main() -> Result<()> {
    run::<Sock>((), Seed::Listen(cli::listen_addr("127.0.0.1:0")?))
}
