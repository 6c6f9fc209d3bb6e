//! Code of the user's that panics on the connection's machine.

use crate::service::{self, Double};
use crate::wire::*;
use crate::world::World;
use rotor_fsm::sim::check;
use rotor_net::rpc::{CallError, ClientConfig, Method, NoItems, ServiceInfo};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Bomb(u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

struct TouchBomb;

impl Method for TouchBomb {
    type Request = Bomb;
    type Input = NoItems;
    type Output = ();
    const INDEX: usize = service::TOUCH as usize;
    fn service() -> &'static ServiceInfo {
        Double::service()
    }
}

/// The machine has the last share of such a call.
#[test]
fn a_request_that_panics_when_it_is_dropped_ends_nothing() {
    check(0..10, |sim| {
        let mut world = World::new(sim, ClientConfig::default());
        let listener = world.listen();
        world.channel.one_way::<TouchBomb>(Bomb(5)).unwrap();
        world.call(1, None);
        let peer = world.greet(listener);
        assert_eq!(number(&world.expect(peer, ONE_WAY)), 5);
        let call = world.expect(peer, CALL);
        world.answer(peer, &call, 11);
        assert_eq!(world.take_results(), [(1, Ok::<_, CallError>(11))]);
    });
}
