use rotor_fsm::prelude::*;

struct Listed;
struct Stranger;

impl Machine for Listed {
    type Context = ();
    type Message = Never;
    type Seed = ();
    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::done())
    }
}

impl Machine for Stranger {
    type Context = ();
    type Message = Never;
    type Seed = ();
    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::done())
    }
}

compose! { enum App(()) { Listed(Listed) } }

fn main() -> Result<()> {
    let mut main_loop = Loop::<App>::new(Config::default(), |_| Ok(()))?;
    main_loop.spawn::<Stranger>(())?;
    Ok(())
}
