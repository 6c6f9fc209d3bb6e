//! R12 for protocols: after warm-up, a connection that is accepted, spoken on and closed allocates nothing on the
//! loop's thread. (What libuv allocates is counted by rotor-fsm's tests.)

mod common;

use common::start_with;
use rotor_net::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts the allocations of threads that ask for it.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that is ending has no flag any more, and is not counted.
    if IS_COUNTED.try_with(Cell::get) == Ok(true) {
        COUNT.fetch_add(1, SeqCst);
    }
}

// SAFETY: every method hands its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Echoes lines, with an idle deadline.
struct Echo;

impl Protocol for Echo {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        IS_COUNTED.set(true);
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
    let before = COUNT.load(SeqCst);
    assert!(before > 0, "nothing is counted");
    talk(100);
    assert_eq!(
        COUNT.load(SeqCst) - before,
        0,
        "allocations in 200 connections"
    );
}
