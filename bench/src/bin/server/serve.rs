//! The server, told what to do on standard input.

use crate::{BYTES, LAST};
use rotor_bench::args::{Args, fail};
use rotor_net::prelude::*;
use rotor_net::server::{Dispatch, Server};
use std::time::Duration;

/// The server's side of a connection.
struct Echo {
    is_last: bool,
}

impl Protocol for Echo {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Echo { is_last: false }).read(Until::Bytes(BYTES)))
    }

    fn received(self, request: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if !self.is_last {
            conn.out.write(&request)?;
            return Ok(Intent::of(self));
        }
        let mut reply = [LAST; BYTES];
        reply[1..].copy_from_slice(&request[1..]);
        conn.out.write(&reply)?;
        Ok(Intent::done())
    }

    /// Goes on until the request that is on its way, or the next, is answered.
    fn finish(self, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Echo { is_last: true }))
    }
}

/// Serves until standard input ends, or a drain is ordered.
pub fn serve(mut args: Args) -> Result<()> {
    let workers: usize = args.required("--workers");
    let connections: usize = args.required("--connections");
    let dispatch = match args.required::<String>("--dispatch").as_str() {
        "least" => Dispatch::LeastLoaded,
        "reuse" => Dispatch::ReusePort,
        other => fail(&format!("--dispatch {other}: expected least or reuse")),
    };
    args.finish();
    let server = Server::<Stream<Echo>>::builder()
        .listen("127.0.0.1:0")
        .workers(workers)
        .connections(connections)
        .dispatch(dispatch)
        .on_notice(|_| ())
        .start(|_| Ok(()), |connection, _| connection.stream(()))?;
    println!("{}", server.addresses()[0]);
    for line in std::io::stdin().lines() {
        match line?.as_str() {
            "stats" => {
                let stats = server.stats();
                let loads: Vec<_> = stats.workers.iter().map(|w| w.connections).collect();
                let machines: u64 = stats.workers.iter().map(|w| w.machines).sum();
                println!("{} {machines} {} {loads:?}", stats.connections, open_fds());
            }
            "drain" => {
                println!("{}", server.drain(Duration::from_secs(20))?);
                return Ok(());
            }
            other => fail(&format!("{other}: no such order")),
        }
    }
    server.stop().map(drop)
}

fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count() - 1)
}
