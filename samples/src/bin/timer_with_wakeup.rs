//! A wakeup replaces a deadline of 5 s by one of 1 s, which is followed by one of 500 ms.

use rotor_fsm::prelude::*;
use std::time::Duration;

enum Alarm {
    Long,
    Short,
    Last,
}

struct Hurry;

impl Machine for Alarm {
    type Context = ();
    type Message = Hurry;
    type Seed = ();

    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        println!("deadline in 5 s");
        Ok(Response::of(Alarm::Long).after(Duration::from_secs(5)))
    }

    fn wakeup(self, _: Hurry, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        println!("woken: deadline in 1 s");
        Ok(Response::of(Alarm::Short).after(Duration::from_secs(1)))
    }

    fn timeout(self, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self {
            Alarm::Long => println!("5 s passed: the wakeup came too late"),
            Alarm::Short => {
                println!("1 s passed: deadline in 500 ms");
                return Ok(Response::of(Alarm::Last).after(Duration::from_millis(500)));
            }
            Alarm::Last => println!("500 ms passed"),
        }
        Ok(Response::done())
    }
}

fn main() -> Result<()> {
    let thread = LoopThread::<Alarm>::spawn(Config::default(), |_| Ok(()))?;
    let alarm = thread.spawn::<Alarm>(()).wait()?;
    alarm.send(Hurry)?;
    thread.join()
}
