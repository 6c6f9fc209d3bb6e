use rotor_fsm::prelude::*;

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

// Nor can a loop be put where its handlers would find it.
fn main() -> Result<()> {
    let mut outer = Loop::<Greedy>::new(Config::default(), |_| Ok(None))?;
    let context = outer.context().unwrap();
    *context = Some(outer);
    Ok(())
}
