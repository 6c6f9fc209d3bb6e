//! R12 for protocols: after warm-up, a connection that is accepted, spoken on and closed allocates nothing on the
//! loop's thread. (What libuv allocates is counted by rotor-fsm's tests.)

mod common;
#[path = "common/counting.rs"]
mod counting;

use common::start_with;
use counting::{allocations, count_here};
use rotor_net::prelude::*;

/// Echoes lines, with an idle deadline.
struct Echo;

impl Protocol for Echo {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        count_here(true);
        Ok(Intent::of(Echo).line(1000).after(common::PATIENCE))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&line)?;
        conn.out.write(b"\n")?;
        Ok(match &*line {
            b"quit" => Intent::done(),
            _ => Intent::of(self).after(common::PATIENCE),
        })
    }
}

#[test]
fn r12_a_connection_allocates_nothing_in_the_steady_state() {
    // Full at two, so that pausing and resuming the listener is counted as well.
    let limits = Limits {
        connections: 2,
        ..Limits::default()
    };
    let server = start_with::<Echo>(Config::default(), limits, || ());
    let talk = |rounds: usize| {
        for _ in 0..rounds {
            let mut one = common::Client::connect(server.addr);
            let mut other = common::Client::connect(server.addr);
            for _ in 0..20 {
                // In two pieces, so that input is kept.
                one.send("half ");
                other.send("another\nand one more\n");
                assert_eq!(other.line(), "another");
                assert_eq!(other.line(), "and one more");
                one.send("and half\n");
                assert_eq!(one.line(), "half and half");
            }
            one.send("quit\nunread");
            assert_eq!(one.rest(), b"quit\n");
            other.half_close();
            assert_eq!(other.rest(), b"");
        }
    };
    talk(50);
    let before = allocations();
    assert!(before > 0, "nothing is counted");
    talk(100);
    assert_eq!(allocations() - before, 0, "allocations in 200 connections");
}
