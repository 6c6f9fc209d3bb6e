use rotor_net::rpc::{CallScope, ItemSender, Reply, service};

service! {
    pub mod files {
        fn size(path: String) -> u64;
        fn watch(path: String) -> stream String;
        fn exists(path: String) -> bool;
    }
}

struct Disk;

impl files::Service for Disk {
    type Context = ();

    // The reply's type is not what was declared.
    fn size(&mut self, path: String, reply: Reply<String>, _: &mut CallScope<'_, ()>) {
        reply.ok(path);
    }

    // What is sent is not.
    fn watch(&mut self, path: String, mut items: ItemSender<String>, _: &mut CallScope<'_, ()>) {
        let _ = items.send(path.len());
    }

    // What is answered is not.
    fn exists(&mut self, path: String, reply: Reply<bool>, _: &mut CallScope<'_, ()>) {
        reply.ok(path);
    }
}

fn client(files: files::Client) {
    // Nor can the client take it for something else.
    let _: Result<String, _> = files.size("a".into()).wait();
    // Or ask for something else.
    let _ = files.size(7).wait();
}

fn main() {}
