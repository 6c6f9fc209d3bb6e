//! A server that lives and never answers.

use super::common::run;
use super::support::{files, refusal};
use bytes::Bytes;
use rotor_net::Stream;
use rotor_net::rpc::{CallScope, ItemReceiver, ItemSender, Reply};
use rotor_net::server::{Server, Workers};
use samples::files::name::Name;
use samples::files::refusal::Refusal;
use samples::files::service::{Change, Piece, files as service};
use samples::files::walk::Entry;
use std::any::Any;
use std::time::{Duration, Instant};

/// Keeps whatever it should answer by.
#[derive(Default)]
struct Silent(Vec<Box<dyn Any>>);

type Items<T> = ItemSender<Result<T, Refusal>>;
type Answer<T> = Reply<Result<T, Refusal>>;
type Scope<'c> = CallScope<'c, ()>;

impl service::Service for Silent {
    type Context = ();

    fn list_all(&mut self, items: Items<Vec<Entry>>, _: &mut Scope<'_>) {
        self.0.push(Box::new(items));
    }

    fn size(&mut self, _: Name, reply: Answer<u64>, _: &mut Scope<'_>) {
        self.0.push(Box::new(reply));
    }

    fn get(&mut self, _: Name, _: u64, items: Items<Piece>, _: &mut Scope<'_>) {
        self.0.push(Box::new(items));
    }

    fn put(
        &mut self,
        _: Name,
        _: bool,
        chunks: ItemReceiver<Bytes>,
        reply: Answer<u64>,
        _: &mut Scope<'_>,
    ) {
        self.0.push(Box::new((chunks, reply)));
    }

    fn exists(&mut self, _: Name, reply: Answer<bool>, _: &mut Scope<'_>) {
        self.0.push(Box::new(reply));
    }

    fn del(&mut self, _: Name, reply: Answer<()>, _: &mut Scope<'_>) {
        self.0.push(Box::new(reply));
    }

    fn watch(&mut self, items: Items<Change>, _: &mut Scope<'_>) {
        self.0.push(Box::new(items));
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = Server::<Stream<service::Session<Silent>>>::builder()
        .listen("127.0.0.1:0")
        .workers(Workers::Count(1))
        .start(
            |_| Ok(()),
            |connection, _| connection.stream(Default::default()),
        )
        .unwrap();
    let at = server.addresses()[0].to_string();
    for command in ["size", "exists", "del"] {
        let begun = Instant::now();
        let args = [command, "a", "--timeout", "1", "--connect", &at];
        let words = refusal(&run(files().args(args), b""));
        assert_eq!(words, "a: the call's deadline passed", "{command}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{command}");
    }
    server.stop().unwrap();
}
