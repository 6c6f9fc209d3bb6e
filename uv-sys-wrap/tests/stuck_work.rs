//! Thread-pool work that outlasts the grace (U3). A process of its own: it leaks on purpose, so it does
//! nothing under valgrind.

mod common;
use common::*;
use std::sync::mpsc;
use std::time::Duration;
use uv_sys_wrap::*;

fn stuck() -> (Loop<Nobody>, mpsc::Sender<()>, mpsc::Receiver<()>) {
    let (release, waits) = mpsc::channel::<()>();
    let (says, done) = mpsc::channel();
    let config = LoopConfig {
        close_grace: Duration::from_millis(30),
        ..LoopConfig::default()
    };
    let uv_loop = Loop::new(config, |_| Nobody).unwrap();
    let (started, starts) = mpsc::channel();
    let job = move || {
        started.send(()).unwrap();
        let _ = waits.recv_timeout(PATIENCE);
        says.send(()).unwrap();
    };
    uv_loop.uv().work(Token(1), Box::new(job)).unwrap();
    // It runs: it can no longer be cancelled.
    starts.recv_timeout(PATIENCE).unwrap();
    (uv_loop, release, done)
}

#[test]
fn u03_work_past_the_grace_is_leaked_and_reported() {
    if slow() {
        return;
    }
    let (uv_loop, release, done) = stuck();
    let uv = uv_loop.uv().clone();
    let error = uv_loop.close().err().unwrap();
    assert_eq!((error.op(), error.kind()), (Op::Close, Kind::Busy));
    assert_eq!(Timer::new(&uv, Token(1)).unwrap_err().kind(), Kind::Closed);
    // The job still ends well: its loop's memory is all there.
    release.send(()).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    // Let the pool thread report to the dead loop.
    std::thread::sleep(Duration::from_millis(50));
    // A drop reports on stderr instead.
    let (uv_loop, release, done) = stuck();
    drop(uv_loop);
    release.send(()).unwrap();
    done.recv_timeout(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    drop(uv);
}

struct Nobody;
impl Sink for Nobody {
    fn event(&mut self, _: Token, _: HandleId, _: Event<'_>) {}
}
