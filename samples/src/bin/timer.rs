//! Counts down from 3 by deadlines, a tenth of a second apart.

use rotor_fsm::prelude::*;
use std::time::Duration;

const STEP: Duration = Duration::from_millis(100);

struct Countdown(u32);

impl Machine for Countdown {
    type Context = ();
    type Message = Never;
    type Seed = u32;

    fn create(from: u32, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Countdown(from)).after(STEP))
    }

    fn timeout(self, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        println!("{}", self.0);
        match self.0 {
            0 => Ok(Response::done()),
            n => Ok(Response::of(Countdown(n - 1)).after(STEP)),
        }
    }
}

fn main() -> Result<()> {
    run::<Countdown>((), 3)
}
