//! Protocols that are woken without a message: on real sockets by other threads, and in a simulation.

mod common;

use common::{PATIENCE, start};
use rotor_fsm::Waker;
use rotor_fsm::sim::check;
use rotor_net::prelude::*;
use rotor_net::{AcceptSeed, Service};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// What other threads have to say, and to whom.
#[derive(Clone, Default)]
struct Board(Arc<Mutex<Vec<String>>>);

/// Writes what is on the board when it is woken; echoes lines.
struct Reader;

type Shared = (Board, mpsc::Sender<Waker>);

impl Protocol for Reader {
    type Context = Shared;
    type Message = Never;
    type Seed = ();

    fn create((): (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let waker = conn.waker();
        assert_eq!(waker.id(), conn.id());
        conn.ctx.1.send(waker)?;
        Ok(Intent::of(Reader).line(100))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        writeln!(conn.out, "{}", String::from_utf8_lossy(&line))?;
        Ok(match &*line {
            b"end" => Intent::done(),
            _ => Intent::of(self),
        })
    }

    fn woken(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let lines = std::mem::take(&mut *conn.ctx.0.0.lock().unwrap());
        for line in &lines {
            conn.out.write(line.as_bytes())?;
        }
        Ok(match lines.last() {
            Some(last) if last == "last\n" => Intent::done(),
            _ => Intent::of(self),
        })
    }
}

#[test]
fn another_thread_wakes_a_connection() {
    let (hand, handed) = mpsc::channel();
    let board = Board::default();
    let shared = board.clone();
    let server = start::<Reader>(Limits::default(), move || (shared, hand));
    let mut client = server.connect();
    let waker = handed.recv_timeout(PATIENCE).unwrap();
    for n in 0..200 {
        board.0.lock().unwrap().push(format!("{n}\n"));
        waker.wake();
        assert_eq!(client.line(), n.to_string());
        // What it waits for has stayed.
        client.send("hello\n");
        assert_eq!(client.line(), "hello");
    }
    // What it answers counts as any answer does.
    board.0.lock().unwrap().push("last\n".into());
    waker.wake();
    assert_eq!(client.rest(), b"last\n");
    drop(client);
    assert_eq!(server.end(), "done");
    waker.wake();
}

/// Does not say what it does when it is woken.
struct Deaf(u32);

impl Protocol for Deaf {
    type Context = mpsc::Sender<Waker>;
    type Message = Never;
    type Seed = ();

    fn create((): (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.send(conn.waker())?;
        Ok(Intent::of(Deaf(0)).line(100).after(PATIENCE * 10))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let n = self.0 + 1;
        writeln(conn, n, &line)?;
        Ok(match &*line {
            b"end" => Intent::done(),
            _ => Intent::of(Deaf(n)),
        })
    }
}

fn writeln<P: Protocol>(conn: &mut Conn<P>, n: u32, line: &[u8]) -> Result<()> {
    writeln!(conn.out, "{n} {}", String::from_utf8_lossy(line))?;
    Ok(())
}

/// Neither a protocol that does not expect it nor a stream that lingers is disturbed.
#[test]
fn a_wake_disturbs_nobody() {
    let (hand, handed) = mpsc::channel();
    let server = start::<Deaf>(Limits::default(), move || hand);
    let mut client = server.connect();
    let waker = handed.recv_timeout(PATIENCE).unwrap();
    for n in 1..=20 {
        waker.wake();
        client.send("half ");
        waker.wake();
        client.send("and half\n");
        assert_eq!(client.line(), format!("{n} half and half"));
    }
    client.send("end\nunread");
    assert_eq!(client.line(), "21 end");
    // It lingers until this side closes too.
    for _ in 0..20 {
        waker.wake();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(server.ends.try_recv().is_err());
    assert_eq!(client.rest(), b"");
    drop(client);
    assert_eq!(server.end(), "done");
}

/// Counts its wakes, and wakes itself as long as there are fewer than so many.
struct Counting(u32);

type Counts = Rc<(Cell<u32>, RefCell<Option<Waker>>)>;

impl Protocol for Counting {
    type Context = Counts;
    type Message = Never;
    type Seed = u32;

    fn create(times: u32, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let waker = conn.waker();
        waker.wake();
        conn.ctx.1.replace(Some(waker));
        Ok(Intent::of(Counting(times)))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&data)?;
        Ok(Intent::of(self))
    }

    fn woken(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let count = conn.ctx.0.get() + 1;
        conn.ctx.0.set(count);
        conn.out.write(b".")?;
        if count < self.0 {
            conn.ctx.1.borrow().iter().for_each(Waker::wake);
            Ok(Intent::of(self))
        } else {
            Ok(Intent::of(self).end_output())
        }
    }
}

#[test]
fn protocols_in_a_simulation_are_woken() {
    check(0..100, |sim| {
        let at = Addr::Tcp(([127, 0, 0, 1], 7).into());
        let streams = Streams::new(Limits::default());
        let listens = at.clone();
        let counts = Counts::default();
        let context = counts.clone();
        let server = sim.add::<Service<Counting>>(Config::default(), move |setup| {
            let seed = AcceptSeed::new(listens, &streams, &setup.spawner(), |_| 30);
            setup.add::<Accept<Counting>>(seed)?;
            Ok(context)
        });
        let server = server.unwrap();
        sim.run_for(Duration::from_millis(1));
        let peer = sim.connect(at);
        sim.run_for(Duration::from_secs(1));
        assert_eq!((counts.0.get(), sim.stats(&server).woken), (30, 30));
        assert_eq!(&*sim.received(peer), [b'.'; 30]);
        assert!(sim.saw_eof(peer));
    });
}
