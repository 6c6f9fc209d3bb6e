//! The smallest loop: one machine that ends as soon as it is created.

use rotor_fsm::prelude::*;

struct Empty;

impl Machine for Empty {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        println!("created");
        Ok(Response::done())
    }
}

fn main() -> Result<()> {
    run::<Empty>((), ())?;
    println!("loop ended");
    Ok(())
}
