use rotor_fsm::prelude::*;

fn give_away(socket: Socket) {
    std::thread::spawn(move || drop(socket));
}

fn main() {
    let _ = give_away;
}
