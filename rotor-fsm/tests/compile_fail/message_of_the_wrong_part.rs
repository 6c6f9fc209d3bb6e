use rotor_fsm::prelude::*;

struct Boss;
struct Worker;

impl Machine for Boss {
    type Context = ();
    type Message = String;
    type Seed = ();
    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Boss))
    }
}

impl Machine for Worker {
    type Context = ();
    type Message = u64;
    type Seed = ();
    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Worker))
    }
}

compose! { enum App(()) { Boss(Boss), Worker(Worker) } }

fn main() -> Result<()> {
    let mut main_loop = Loop::<App>::new(Config::default(), |_| Ok(()))?;
    let boss = main_loop.spawn::<Boss>(())?;
    boss.send(3)?;
    Ok(())
}
