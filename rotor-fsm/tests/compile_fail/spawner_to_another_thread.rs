use rotor_fsm::prelude::*;

struct Worker;

impl Machine for Worker {
    type Context = ();
    type Message = Never;
    type Seed = ();
    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::done())
    }
}

fn give_away(spawner: Spawner<Worker>) {
    std::thread::spawn(move || drop(spawner));
}

fn main() {
    let _ = give_away;
}
