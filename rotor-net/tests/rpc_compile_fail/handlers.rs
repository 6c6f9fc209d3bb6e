use rotor_net::rpc::{CallScope, Reply, service};

service! {
    pub mod files {
        fn size(path: String) -> u64;
        oneway fn touch(path: String);
    }
}

struct Disk;

// One is missing, and one is not in the service.
impl files::Service for Disk {
    type Context = ();

    fn size(&mut self, path: String, reply: Reply<u64>, _: &mut CallScope<'_, ()>) {
        reply.ok(path.len() as u64);
    }

    fn erase(&mut self, _: String, _: &mut CallScope<'_, ()>) {}
}

struct Nothing;

fn main() {
    let _ = rotor_net::serve::<files::Session<Nothing>>("127.0.0.1:0", Default::default(), ());
}
