//! The seam: the same machines, unchanged, on libuv and in the simulation.

use crate::ms;
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, check};

/// A listener for one connection, the two ends of that connection.
enum Trio {
    Listening { _listener: Listener },
    Serving { socket: Socket },
    Calling { _socket: Socket },
}

enum Start {
    Listen,
    Serve(Incoming),
    Call(Addr),
}

const LEN: usize = 200_000;

impl Machine for Trio {
    /// What the caller got back.
    type Context = Vec<u8>;
    type Message = Never;
    type Seed = Start;

    fn create(start: Start, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(match start {
            Start::Listen => {
                let listener = scope.listen("127.0.0.1:0".parse::<Addr>()?)?;
                let at = scope.listening_at(&listener)?;
                scope.spawn(Start::Call(at))?;
                Trio::Listening {
                    _listener: listener,
                }
            }
            Start::Serve(incoming) => Trio::Serving {
                socket: scope.open(incoming)?,
            },
            Start::Call(to) => {
                let socket = scope.connect(to)?;
                let bytes: Vec<u8> = (0..LEN).map(|n| (n % 251) as u8).collect();
                scope.write(&socket, &bytes)?;
                scope.shutdown_write(&socket)?;
                Trio::Calling { _socket: socket }
            }
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (&self, event) {
            (Trio::Listening { .. }, Io::Incoming(incoming)) => {
                scope.spawn(Start::Serve(incoming))?;
                return Ok(Response::done());
            }
            (Trio::Serving { socket }, Io::Read(bytes)) => scope.write(socket, &bytes)?,
            (Trio::Serving { socket }, Io::Eof) => scope.shutdown_write(socket)?,
            (Trio::Serving { .. }, Io::ShutDown) => return Ok(Response::done()),
            (Trio::Calling { .. }, Io::Read(bytes)) => scope.ctx.extend_from_slice(&bytes),
            (Trio::Calling { .. }, Io::Eof) => return Ok(Response::done()),
            (_, Io::Failed(error)) => return Err(error.into()),
            _ => {}
        }
        Ok(Response::of(self))
    }
}

fn assert_echoed(got: &[u8]) {
    assert_eq!(got.len(), LEN);
    assert!(
        got.iter()
            .enumerate()
            .all(|(n, byte)| *byte == (n % 251) as u8)
    );
}

#[test]
fn r10_the_same_machines_run_on_libuv() {
    let mut main_loop = Loop::<Trio>::new(Config::default(), |_| Ok(Vec::new())).unwrap();
    main_loop.spawn::<Trio>(Start::Listen).unwrap();
    main_loop.run().unwrap();
    assert_echoed(main_loop.context().unwrap());
}

#[test]
fn r10_and_in_the_simulation() {
    check(0..300, |sim| {
        let loop_ = sim
            .add::<Trio>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        sim.spawn::<Trio, Trio>(&loop_, Start::Listen).unwrap();
        assert_eq!(sim.run(ms(600_000)), Ended::Over);
        assert!(matches!(sim.take_result(&loop_), Some(Ok(()))));
        sim.context(&loop_, |got| assert_echoed(got)).unwrap();
        assert_eq!((sim.descriptors(), sim.open_ends()), (0, 0));
    });
}
