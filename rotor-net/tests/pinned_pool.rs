//! Workers are pinned; libuv's thread pool, which they share, is not: its threads would otherwise all run on the core of
//! the worker that used it first.
//!
//! A program of its own, because the pool starts once in a process.

mod common;

use common::Client;
use rotor_net::prelude::*;
use rotor_net::server::Server;

/// Answers on how many cores a worker's thread and a job of it may run.
struct Cores;

impl Protocol for Cores {
    type Context = ();
    type Message = u32;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.work(cores, |cores| cores)?;
        Ok(Intent::of(Cores))
    }

    fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(self))
    }

    fn wakeup(self, job: u32, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let worker = cores();
        writeln_to(conn, worker, job)?;
        Ok(Intent::done())
    }
}

fn writeln_to(conn: &mut Conn<'_, Cores>, worker: u32, job: u32) -> Result<()> {
    Ok(conn.out.write_fmt(format_args!("{worker} {job}\n"))?)
}

/// How many cores this thread may run on.
fn cores() -> u32 {
    rustix::thread::sched_getaffinity(None).map_or(0, |set| set.count())
}

#[test]
fn jobs_of_pinned_workers_run_on_every_core() {
    let all = cores();
    let server = Server::<Stream<Cores>>::builder()
        .listen("127.0.0.1:0")
        .workers(1)
        .pin(true)
        .start(|_| Ok(()), |connection, _| connection.stream(()))
        .unwrap();
    let Addr::Tcp(addr) = server.addresses()[0] else {
        panic!("no TCP address");
    };
    assert_eq!(Client::connect(addr).line(), format!("1 {all}"));
}
