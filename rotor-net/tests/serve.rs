//! The one-line server: it says where it listens, and drains on SIGTERM. One test, because signals are the process's.

mod common;

use common::{Client, PATIENCE};
use rotor_net::prelude::*;
use std::sync::mpsc::channel;

struct Polite;

impl Protocol for Polite {
    type Context = &'static str;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        writeln!(conn.out, "hello from {}", conn.ctx)?;
        Ok(Intent::of(Polite).line(100))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        match &*line {
            b"panic" => panic!("as the test asked"),
            _ => writeln!(conn.out, "yes")?,
        }
        Ok(Intent::of(self))
    }

    fn finish(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(b"bye\n")?;
        Ok(Intent::done())
    }
}

#[test]
fn serves_until_sigterm_and_lets_everybody_finish() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let error = serve::<Polite>(&at, Limits::default(), "nowhere").unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let error = serve::<Polite>("somewhere", Limits::default(), "nowhere").unwrap_err();
    assert!(error.to_string().contains("is not an address"), "{error}");

    let (tell, told) = channel();
    let server = std::thread::spawn(move || {
        let listening = move |at: &Addr| tell.send(at.to_string()).unwrap();
        serve_with::<Polite>(
            "127.0.0.1:0",
            Limits::default(),
            Config::default(),
            "here",
            listening,
        )
    });
    let addr = told.recv_timeout(PATIENCE).unwrap().parse().unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.line(), "hello from here");
    }
    // One that panics ends alone.
    let mut unlucky = Client::connect(addr);
    unlucky.send("panic\n");
    assert_eq!(unlucky.line(), "hello from here");
    assert_eq!(unlucky.line(), "");
    clients[0].send("still there?\n");
    assert_eq!(clients[0].line(), "yes");
    // SAFETY: a signal to this very process, whose handler is libuv's.
    assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGTERM) }, 0);
    for mut client in clients {
        assert_eq!(client.rest(), b"bye\n");
    }
    server.join().unwrap().unwrap();
    assert!(
        std::net::TcpStream::connect_timeout(&addr, PATIENCE).is_err(),
        "nobody listens any more"
    );
}
