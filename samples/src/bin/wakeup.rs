//! 51 wakeups from another thread to a machine that ends after 11; the rest are told that it is closed.

use rotor_fsm::SendError;
use rotor_fsm::prelude::*;
use std::time::Duration;

struct Sleeper {
    wakeups: u32,
}

impl Machine for Sleeper {
    type Context = ();
    type Message = u32;
    type Seed = ();

    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Sleeper { wakeups: 0 }))
    }

    fn wakeup(self, number: u32, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        println!("wakeup {number}");
        match self.wakeups + 1 {
            11 => Ok(Response::done()),
            wakeups => Ok(Response::of(Sleeper { wakeups })),
        }
    }
}

fn main() -> Result<()> {
    let mut main_loop = Loop::<Sleeper>::new(Config::default(), |_| Ok(()))?;
    let sleeper = main_loop.spawn::<Sleeper>(())?;
    let sender = std::thread::spawn(move || {
        let mut refused = 0;
        for number in 1..=51 {
            match sleeper.send(number) {
                Ok(()) => {}
                Err(SendError::Closed(_)) => refused += 1,
                Err(SendError::Full(_)) => println!("wakeup {number} found the inbox full"),
            }
            // Give the machine time to end, so that the rest can be told.
            std::thread::sleep(Duration::from_millis(if number == 11 { 200 } else { 1 }));
        }
        refused
    });
    main_loop.run()?;
    println!("machine ended");
    match sender.join() {
        Ok(refused) => println!("{refused} wakeups were told that the machine is closed"),
        Err(_) => return Err(Error::msg("the sending thread panicked")),
    }
    Ok(())
}
