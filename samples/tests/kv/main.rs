//! The `kv` sample as its users meet it: the program on real sockets, and its machines in the simulator.

mod dialogue;
mod faults;
mod limits;
mod protocol;
mod pubsub;
mod sim;
mod support;
mod tools;
mod workers;
mod world;
