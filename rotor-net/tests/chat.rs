//! A chat room: the program of the crate's readers, on real sockets.

mod common;

use common::{Client, Server, start};
use rotor_net::prelude::*;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(300);
const LINE_MAX: usize = 512;

#[derive(Default)]
struct Room {
    members: Group<Arc<str>>,
    history: VecDeque<Arc<str>>,
}

enum Chat {
    Naming,
    Talking { name: String, _seat: Seat },
}

impl Protocol for Chat {
    type Context = Room;
    type Message = Arc<str>;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(b"name? ")?;
        Ok(Intent::of(Chat::Naming).line(LINE_MAX).after(IDLE))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let text = str::from_utf8(&line)?.trim();
        let next = match self {
            Chat::Naming => {
                for old in &conn.ctx.history {
                    conn.out.write(old.as_bytes())?;
                }
                let _seat = conn.ctx.members.join(conn.notifier());
                Chat::Talking {
                    name: text.to_owned(),
                    _seat,
                }
            }
            Chat::Talking { .. } if text == "/quit" => return Ok(Intent::done()),
            Chat::Talking { ref name, .. } => {
                let said: Arc<str> = format!("{name}: {text}\n").into();
                if conn.ctx.history.len() == 20 {
                    conn.ctx.history.pop_front();
                }
                conn.ctx.history.push_back(said.clone());
                conn.ctx.members.send(said);
                self
            }
        };
        Ok(Intent::of(next).after(IDLE))
    }

    fn wakeup(self, said: Arc<str>, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(said.as_bytes())?; // a reader too slow to keep up is cut here
        Ok(Intent::of(self))
    }
}

fn room() -> Server<Chat> {
    let limits = Limits {
        output_bytes_max: 64 << 10,
        linger: Duration::from_millis(100),
        ..Limits::default()
    };
    start(limits, Room::default)
}

fn enter(room: &Server<Chat>, name: &str) -> Client {
    let mut client = room.connect();
    assert_eq!(client.exactly(6), b"name? ");
    client.send(format!("{name}\r\n"));
    client
}

#[test]
fn what_one_says_all_hear_and_latecomers_get_the_history() {
    let room = room();
    let mut ann = enter(&room, "ann");
    ann.send("hello?\n");
    assert_eq!(ann.line(), "ann: hello?");
    let mut bob = enter(&room, "bob");
    assert_eq!(bob.line(), "ann: hello?");
    bob.send("hi ann\nall well?\n");
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.line(), "bob: hi ann");
        assert_eq!(client.line(), "bob: all well?");
    }
    ann.send("/quit\n");
    assert_eq!(ann.rest(), b"");
    bob.send("bye\n");
    assert_eq!(bob.line(), "bob: bye");
}

#[test]
fn a_line_that_is_too_long_or_no_text_ends_that_connection_by_name() {
    let room = room();
    let mut ann = enter(&room, "ann");
    let mut long = enter(&room, "long");
    long.send(vec![b'x'; 600]);
    assert_eq!(long.rest(), b"");
    drop(long);
    assert_eq!(
        room.end(),
        "failed: the peer sent a frame of more than 512 bytes"
    );
    let mut odd = enter(&room, "\u{e4}");
    odd.send(b"\xff\xfe\n");
    assert_eq!(odd.rest(), b"");
    drop(odd);
    assert!(room.end().starts_with("failed: invalid utf-8"));
    ann.send("still here\n");
    assert_eq!(ann.line(), "ann: still here");
}

#[test]
fn l1_a_reader_too_slow_to_keep_up_is_cut_and_the_others_go_on() {
    let room = room();
    let slow = enter(&room, "slow");
    let mut ann = enter(&room, "ann");
    ann.send("x\n");
    assert_eq!(ann.line(), "ann: x");
    // More than the kernel's buffers for one connection and our limit hold.
    let line = "y".repeat(500);
    let mut said = 0;
    let cut = loop {
        ann.send(format!("{line}\n"));
        assert_eq!(ann.line().len(), 505);
        said += 505;
        assert!(said < 100 << 20, "the slow reader is never cut");
        if let Ok(reason) = room.ends.try_recv() {
            break reason;
        }
    };
    drop(slow);
    assert!(cut.starts_with("failed: write: "), "{cut}");
    ann.send("done\n");
    assert_eq!(ann.line(), "ann: done");
}
