//! Backpressure: who does not read slows the other down, and bounds what is in memory.

use crate::{Dice, local, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, check};
use rotor_fsm::{IoErrorKind, sim::Sim};

/// Reads only when it is told to.
struct Reader {
    socket: Option<Socket>,
    _listener: Option<Listener>,
}

impl Machine for Reader {
    type Context = (Vec<u8>, Option<Notifier<bool>>);
    type Message = bool;
    type Seed = Option<Incoming>;

    fn create(seed: Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let Some(incoming) = seed else {
            let listener = scope.listen(local(7))?;
            return Ok(Response::of(Reader {
                socket: None,
                _listener: Some(listener),
            }));
        };
        let socket = scope.open(incoming)?;
        scope.pause(&socket);
        scope.ctx.1 = Some(scope.notifier());
        Ok(Response::of(Reader {
            socket: Some(socket),
            _listener: None,
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match event {
            Io::Incoming(incoming) => drop(scope.spawn(Some(incoming))),
            Io::Read(bytes) => scope.ctx.0.extend_from_slice(&bytes),
            Io::Eof => return Ok(Response::done()),
            other => return Err(Error::msg(format!("{other:?}"))),
        }
        Ok(Response::of(self))
    }

    fn wakeup(self, read: bool, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match &self.socket {
            Some(socket) if read => scope.resume(socket),
            Some(socket) => scope.pause(socket),
            None => {}
        }
        Ok(Response::of(self))
    }
}

#[test]
fn a_paused_reader_bounds_the_bytes_in_flight() {
    check(0..200, |sim| {
        let loop_ = sim
            .add::<Reader>(Config::default(), |_| Ok((Vec::new(), None)))
            .unwrap();
        sim.spawn::<Reader, Reader>(&loop_, None).unwrap();
        sim.run_for(ms(1));
        let mut dice = Dice::of(sim);
        let sent = dice.bytes(300_000);
        let peer = sim.connect(local(7));
        sim.send(peer, &sent);
        sim.shutdown(peer);
        let bounded = |sim: &mut Sim| {
            assert!(sim.bytes_in_flight() <= 65_536);
            false
        };
        assert_eq!(sim.run_until(ms(10_000), bounded), Ended::Idle);
        assert!(sim.unsent(peer) >= 300_000 - 65_536);
        let reader = sim
            .context(&loop_, |(_, reader)| reader.take())
            .unwrap()
            .unwrap();
        // It reads and stops as it likes; nothing is lost.
        for _ in 0..dice.below(5) {
            // It ends by itself when it has read all.
            let _ = reader.send(true);
            sim.run_until(ms(dice.below(20)), bounded);
            let _ = reader.send(false);
            sim.run_until(ms(dice.below(20)), bounded);
            let read = sim.context(&loop_, |(read, _)| read.len());
            sim.run_for(ms(20));
            assert_eq!(
                sim.context(&loop_, |(read, _)| read.len()),
                read,
                "paused is paused"
            );
        }
        let _ = reader.send(true);
        assert_eq!(sim.run_until(ms(60_000), bounded), Ended::Idle);
        assert_eq!(sim.context(&loop_, |(read, _)| read == &sent), Some(true));
    });
}

/// Writes as much as it may, then waits for room.
struct Writer {
    socket: Socket,
    left: usize,
}

const QUEUE_MAX: usize = 10_000;

impl Writer {
    fn write_on(&mut self, scope: &mut Scope<'_, Self>) -> Result<()> {
        while self.left > 0 {
            let len = self.left.min(999);
            match scope.write(&self.socket, &vec![self.left as u8; len]) {
                Ok(()) => self.left -= len,
                Err(error) if error.kind() == IoErrorKind::Limit => break,
                Err(error) => return Err(error.into()),
            }
        }
        // Who has seen a queue hears `Flushed` when it is empty.
        assert!(scope.queued(&self.socket) <= QUEUE_MAX);
        Ok(())
    }
}

impl Machine for Writer {
    type Context = u32;
    type Message = Never;
    type Seed = usize;

    fn create(left: usize, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let mut writer = Writer {
            socket: scope.connect(local(8))?,
            left,
        };
        writer.write_on(scope)?;
        Ok(Response::of(writer))
    }

    fn io(
        mut self,
        event: Io<'_>,
        _: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match event {
            Io::Connected => {}
            Io::Flushed => {
                *scope.ctx += 1;
                match self.left {
                    0 => scope.shutdown_write(&self.socket)?,
                    _ => self.write_on(scope)?,
                }
            }
            Io::ShutDown => return Ok(Response::done()),
            other => return Err(Error::msg(format!("{other:?}"))),
        }
        Ok(Response::of(self))
    }
}

#[test]
fn a_writer_waits_for_room_and_always_hears_of_it() {
    check(0..300, |sim| {
        let listener = sim.listen_peer(local(8)).unwrap();
        let config = Config {
            output_bytes_max: QUEUE_MAX,
            ..Config::default()
        };
        let loop_ = sim.add::<Writer>(config, |_| Ok(0)).unwrap();
        sim.spawn::<Writer, Writer>(&loop_, 200_000).unwrap();
        sim.run_for(ms(100));
        let peer = sim.accept(listener).unwrap();
        sim.pause(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        let before = sim.received(peer).len();
        assert!(sim.bytes_in_flight() <= 65_536 && before < 200_000);
        sim.resume(peer);
        assert_eq!(sim.run(ms(600_000)), Ended::Over);
        assert_eq!(sim.received(peer).len(), 200_000);
        assert!(sim.saw_eof(peer) && sim.context(&loop_, |flushed| *flushed) >= Some(1));
        assert!(matches!(sim.take_result(&loop_), Some(Ok(()))));
    });
}
