//! Machines on the libuv loop: what responses, deadlines, messages and ends mean.

use rotor_fsm::SendError;
use rotor_fsm::prelude::*;
use std::time::{Duration, Instant};

struct Countdown(u32);
impl Machine for Countdown {
    type Context = Vec<u32>;
    type Message = u32;
    type Seed = u32;
    fn create(from: u32, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Countdown(from)).after(Duration::from_millis(5)))
    }
    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.push(self.0);
        match self.0 {
            0 => Ok(Response::done()),
            n => Ok(Response::of(Countdown(n - 1)).after(Duration::from_millis(5))),
        }
    }
    fn wakeup(self, n: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.push(n);
        Ok(Response::of(self))
    }
}

#[test]
fn r1_a_deadline_fires_and_stays_until_changed() {
    let mut main_loop = Loop::<Countdown>::new(Config::default(), |_| Ok(Vec::new())).unwrap();
    let machine = main_loop.spawn::<Countdown>(3).unwrap();
    machine.send(100).unwrap();
    let begun = Instant::now();
    main_loop.run().unwrap();
    assert_eq!(*main_loop.context().unwrap(), [100, 3, 2, 1, 0]);
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert_eq!(machine.send(1), Err(SendError::Closed(1)));
}
