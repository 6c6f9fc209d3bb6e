//! Standard input and a TCP connection as two machines composed into one: `telnet ADDR`.

use rotor_fsm::{MachineId, Reason, SendError, Verdict, prelude::*};
use samples::cli;
use std::io::Write;

/// Input that may wait for the connection before standard input is left unread.
const HIGH: usize = 64 << 10;

/// How the two find each other.
#[derive(Default)]
struct Shared {
    keyboard: Option<Notifier<Room>>,
    line: Option<Notifier<Typed>>,
}

/// What the keyboard tells the line.
enum Typed {
    Bytes(Vec<u8>),
    End,
}

/// What the line tells the keyboard.
enum Room {
    Wait,
    GoOn,
    HungUp,
}

/// Reads standard input.
struct Keyboard {
    input: Socket,
}

impl Machine for Keyboard {
    type Context = Shared;
    type Message = Room;
    type Seed = ();

    fn create(_: (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.keyboard = Some(scope.notifier());
        Ok(Response::of(Keyboard {
            input: scope.stdin()?,
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let typed = match event {
            Io::Read(data) => Typed::Bytes(data.to_vec()),
            Io::Eof => Typed::End,
            Io::Failed(error) => return Err(error.into()),
            _ => return Ok(Response::of(self)),
        };
        let is_end = matches!(typed, Typed::End);
        let Some(line) = &scope.ctx.line else {
            return Ok(Response::done());
        };
        match line.send(typed) {
            Ok(()) if !is_end => Ok(Response::of(self)),
            Ok(()) | Err(SendError::Closed(_)) => Ok(Response::done()),
            Err(full) => Err(full.into()),
        }
    }

    fn wakeup(self, room: Room, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match room {
            Room::Wait => scope.pause(&self.input),
            Room::GoOn => scope.resume(&self.input),
            Room::HungUp => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }
}

/// The connection: prints what it receives.
struct Line {
    socket: Socket,
}

impl Line {
    fn tell(scope: &Scope<'_, Self>, room: Room) {
        if let Some(keyboard) = &scope.ctx.keyboard {
            // A keyboard that has ended needs no telling.
            let _ = keyboard.send(room);
        }
    }
}

impl Machine for Line {
    type Context = Shared;
    type Message = Typed;
    type Seed = Addr;

    fn create(to: Addr, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.line = Some(scope.notifier());
        Ok(Response::of(Line {
            socket: scope.connect(to)?,
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match event {
            Io::Read(data) => {
                let mut out = std::io::stdout().lock();
                out.write_all(&data)?;
                out.flush()?;
            }
            Io::Flushed => Self::tell(scope, Room::GoOn),
            Io::Eof => {
                Self::tell(scope, Room::HungUp);
                return Ok(Response::done());
            }
            Io::Failed(error) => {
                Self::tell(scope, Room::HungUp);
                return Err(error.into());
            }
            _ => {}
        }
        Ok(Response::of(self))
    }

    fn wakeup(self, typed: Typed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match typed {
            Typed::Bytes(bytes) => {
                scope.write(&self.socket, &bytes)?;
                if scope.queued(&self.socket) > HIGH {
                    Self::tell(scope, Room::Wait);
                }
            }
            Typed::End => scope.shutdown_write(&self.socket)?,
        }
        Ok(Response::of(self))
    }
}

compose! { enum Telnet(Shared) { Line(Line), Keyboard(Keyboard) } }

fn main() -> Result<()> {
    let to = cli::peer_addr("telnet ADDR")?;
    let config = Config {
        on_end: Some(Box::new(stop_on_failure)),
        ..Config::default()
    };
    let mut main_loop = Loop::<Telnet>::new(config, |_| Ok(Shared::default()))?;
    main_loop.shutdown_on_signals()?;
    main_loop.spawn::<Line>(to)?;
    main_loop.spawn::<Keyboard>(())?;
    main_loop.run()
}

/// Either half's failure is the program's.
fn stop_on_failure(_: MachineId, reason: &Reason) -> Verdict {
    match reason {
        Reason::Done | Reason::Shutdown => Verdict::Continue,
        _ => Verdict::Stop,
    }
}
