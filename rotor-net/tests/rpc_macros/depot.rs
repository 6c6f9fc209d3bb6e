//! The service of most tests: each kind of call, and handlers that answer at once, later, and from other threads.

use crate::common::{self, PATIENCE};
use rotor_net::Limits;
use rotor_net::rpc::{
    CallError, CallInfo, CallScope, ClientConfig, Greeting, ItemReceiver, ItemSender, Refusal,
    Reply, Shape, service,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::thread;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Thing {
    pub name: String,
    pub grams: u32,
    pub inside: Vec<Thing>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Trouble {
    NotThere { name: String },
    TooHeavy(u32),
}

service! {
    /// Where the tests keep things.
    #[derive(Clone, Debug, PartialEq)]
    pub mod depot {
        /// All things, by name.
        fn list_all() -> Vec<Thing>;
        /// One thing; answered from the thread pool.
        fn get(name: String) -> Result<Thing, Trouble>;
        fn clear();
        /// Answered never.
        fn forget(name: String) -> u8;
        /// Panics.
        fn trip(r#type: u8) -> u8;
        fn count(from: u32, to: u32) -> stream u32;
        fn sum(start: u64, numbers: stream u32) -> Result<u64, Trouble>;
        fn echo(times: u8, lines: stream String) -> stream String;
        /// No word of it.
        oneway fn put(thing: Thing);
        /// What came along with the call.
        fn meta() -> Vec<u8>;
        fn forbidden();
    }
}

#[derive(Default)]
pub struct Keeper;

/// What is kept.
pub type Shelf = BTreeMap<String, Thing>;

impl depot::Service for Keeper {
    type Context = Shelf;

    fn admit(&mut self, hello: &Greeting<'_>, _: &mut CallScope<'_, Shelf>) -> Result<(), Refusal> {
        match hello.credential() {
            b"stranger" => Err("no strangers".into()),
            _ => Ok(()),
        }
    }

    fn authorise(&mut self, call: &CallInfo, _: &mut CallScope<'_, Shelf>) -> Result<(), Refusal> {
        match call.name {
            "forbidden" => Err(format!("nobody may call {}", call.name).into()),
            _ => Ok(()),
        }
    }

    fn list_all(&mut self, reply: Reply<Vec<Thing>>, scope: &mut CallScope<'_, Shelf>) {
        reply.ok(scope.ctx.values().cloned().collect());
    }

    fn get(
        &mut self,
        name: String,
        reply: Reply<Result<Thing, Trouble>>,
        scope: &mut CallScope<'_, Shelf>,
    ) {
        let found = scope.ctx.get(&name).cloned();
        let job = move || found.ok_or(Trouble::NotThere { name });
        scope
            .work(job, |found| reply.ok(found))
            .expect("there is place for the job");
    }

    fn clear(&mut self, reply: Reply<()>, scope: &mut CallScope<'_, Shelf>) {
        scope.ctx.clear();
        reply.ok(());
    }

    fn forget(&mut self, _: String, reply: Reply<u8>, _: &mut CallScope<'_, Shelf>) {
        drop(reply);
    }

    fn trip(&mut self, at: u8, _reply: Reply<u8>, _: &mut CallScope<'_, Shelf>) {
        panic!("tripped over {at}, as the test asked");
    }

    fn count(
        &mut self,
        from: u32,
        to: u32,
        mut items: ItemSender<u32>,
        _: &mut CallScope<'_, Shelf>,
    ) {
        thread::spawn(move || {
            for number in from..to {
                if items.send_blocking(number).is_err() {
                    return;
                }
            }
            let _ = items.end();
        });
    }

    fn sum(
        &mut self,
        start: u64,
        mut numbers: ItemReceiver<u32>,
        reply: Reply<Result<u64, Trouble>>,
        _: &mut CallScope<'_, Shelf>,
    ) {
        thread::spawn(move || {
            let mut sum = start;
            while let Some(number) = numbers.next_blocking() {
                match number {
                    Ok(number) if number > 1 << 30 => {
                        return reply.ok(Err(Trouble::TooHeavy(number)));
                    }
                    Ok(number) => sum += u64::from(number),
                    Err(error) => return reply.fail(error),
                }
            }
            reply.ok(Ok(sum));
        });
    }

    fn echo(
        &mut self,
        times: u8,
        mut lines: ItemReceiver<String>,
        mut items: ItemSender<String>,
        _: &mut CallScope<'_, Shelf>,
    ) {
        thread::spawn(move || {
            while let Some(Ok(line)) = lines.next_blocking() {
                for _ in 0..times {
                    if items.send_blocking(line.clone()).is_err() {
                        return;
                    }
                }
            }
            let _ = items.end();
        });
    }

    fn put(&mut self, thing: Thing, scope: &mut CallScope<'_, Shelf>) {
        scope.ctx.insert(thing.name.clone(), thing);
    }

    fn meta(&mut self, reply: Reply<Vec<u8>>, scope: &mut CallScope<'_, Shelf>) {
        reply.ok(scope.meta().to_vec());
    }

    fn forbidden(&mut self, reply: Reply<()>, _: &mut CallScope<'_, Shelf>) {
        reply.ok(());
    }
}

pub type Server = common::Server<depot::Session<Keeper>>;

pub fn start() -> Server {
    common::start(Limits::default(), Shelf::new)
}

/// A server, and a client of it that never waits for ever for a connection.
pub fn pair() -> (Server, depot::Client) {
    let server = start();
    let client = connect(&server);
    (server, client)
}

pub fn connect(server: &Server) -> depot::Client {
    let config = ClientConfig {
        connect: PATIENCE,
        ..ClientConfig::default()
    };
    depot::Client::connect_with(&server.addr.to_string(), config).expect("the client connects")
}

pub fn thing(name: &str, inside: Vec<Thing>) -> Thing {
    Thing {
        name: name.to_owned(),
        grams: 7,
        inside,
    }
}

/// Waits for an answer, but not for ever.
pub fn answer<T: Send + 'static>(pending: rotor_net::rpc::Pending<T>) -> Result<T, CallError> {
    pending.within(PATIENCE).wait()
}
