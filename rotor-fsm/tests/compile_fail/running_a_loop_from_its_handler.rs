use rotor_fsm::prelude::*;
use std::cell::RefCell;
use std::rc::Rc;

struct Greedy;

impl Machine for Greedy {
    type Context = Option<Loop<Greedy>>;
    type Message = Never;
    type Seed = ();
    fn create(_: (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.run()?;
        Ok(Response::done())
    }
}

fn main() -> Result<()> {
    let mut outer = Loop::<Greedy>::new(Config::default(), |_| Ok(None))?;
    let _shared = Rc::new(RefCell::new(()));
    let inside = &mut outer;
    *inside.context().unwrap() = Some(outer);
    Ok(())
}
