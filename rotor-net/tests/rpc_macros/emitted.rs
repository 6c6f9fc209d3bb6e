//! What is emitted beside handlers and methods: requests, `Req` and `Rep`, and the menu; and what becomes of clients
//! whose types have changed.

use crate::depot::{Thing, Trouble, answer, depot, start, thing};
use rotor_net::rpc::codec::{self, Limits};
use rotor_net::rpc::{CallError, Channel, Menu, Method, Mismatch, TypeInfo, service};

#[test]
fn requests_convert_to_req_and_back() {
    let get = depot::Get { name: "box".into() };
    let req = depot::Req::from(get.clone());
    assert_eq!(req, depot::Req::Get(get.clone()));
    assert_eq!(depot::Put::try_from(req.clone()), Err(req.clone()));
    assert_eq!(depot::Get::try_from(req), Ok(get));
    assert_eq!(
        depot::Req::from(depot::ListAll),
        depot::Req::ListAll(depot::ListAll)
    );
}

#[test]
fn replies_are_told_apart_by_their_call() {
    let rep = depot::Forget::to_rep(7);
    assert_eq!(rep, depot::Rep::Forget(7));
    assert_eq!(depot::Trip::from_rep(rep.clone()), Err(rep.clone()));
    assert_eq!(depot::Forget::from_rep(rep), Ok(7));
}

#[test]
fn req_and_rep_travel() {
    let mut bytes = Vec::new();
    let req = depot::Req::Put(depot::Put {
        thing: thing("box", vec![]),
    });
    codec::encode(&req, &Limits::DEFAULT, &mut bytes).unwrap();
    assert_eq!(codec::decode(&bytes, &Limits::DEFAULT), Ok(req));
    bytes.clear();
    let rep = depot::Rep::Get(Err(Trouble::TooHeavy(3)));
    codec::encode(&rep, &Limits::DEFAULT, &mut bytes).unwrap();
    assert_eq!(codec::decode(&bytes, &Limits::DEFAULT), Ok(rep));
    assert_ne!(
        TypeInfo::of::<depot::Req>().digest,
        TypeInfo::of::<depot::Rep>().digest
    );
}

#[test]
fn a_request_is_tied_to_its_reply() {
    fn reply_of<M: Method>() -> &'static str {
        std::any::type_name::<M::Output>()
    }
    assert_eq!(reply_of::<depot::Meta>(), std::any::type_name::<Vec<u8>>());
    assert_eq!(reply_of::<depot::Put>(), "()");
    assert_eq!((depot::ListAll::INDEX, depot::Count::INDEX), (0, 5));
}

#[test]
fn the_menu_says_how_calls_are_written() {
    let menu = Menu::of(depot::info());
    assert_eq!(menu.service, "depot");
    let signatures: Vec<_> = menu
        .entries
        .iter()
        .map(|entry| &entry.signature[..])
        .collect();
    assert_eq!(
        signatures,
        [
            "list_all() -> Vec<Thing>",
            "get(name: String) -> Result<Thing, Trouble>",
            "clear()",
            "forget(name: String) -> u8",
            "trip(type: u8) -> u8",
            "count(from: u32, to: u32) -> stream u32",
            "sum(start: u64, numbers: stream u32) -> Result<u64, Trouble>",
            "echo(times: u8, lines: stream String) -> stream String",
            "oneway put(thing: Thing)",
            "meta() -> Vec<u8>",
            "forbidden()",
        ]
    );
    assert!(
        menu.entries
            .iter()
            .all(|entry| entry.version == 1 && !entry.digests.contains(&0))
    );
}

#[test]
fn a_client_gets_the_menu() {
    let server = start();
    let channel = Channel::connect(&server.addr.to_string()).unwrap();
    assert_eq!(channel.menu(), Some(Menu::of(depot::info())));
}

/// The same service, as another program believes it to be.
mod elsewhere {
    use super::*;
    use rotor_net::rpc::Shape;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
    pub struct Heavy {
        pub name: String,
        pub grams: u64,
        pub inside: Vec<Heavy>,
    }

    service! {
        #[name = "depot"]
        pub mod store {
            fn list_all() -> Vec<Heavy>;
            fn get(name: Vec<String>) -> Result<Thing, Trouble>;
            fn sum(start: u64, numbers: stream i32) -> Result<u64, Trouble>;
            fn count(from: u32, to: u32) -> u32;
            fn gone();
            #[version(2)]
            fn meta() -> Vec<u8>;
            // The same by another name, and by types of other names.
            #[name = "forget"]
            fn lose(name: Box<str>) -> u8;
            #[unchecked]
            fn clear() -> Strange;
        }
    }

    /// Without a shape.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub struct Strange;
}

#[test]
fn a_mismatch_makes_that_call_unavailable_and_says_what_differs() {
    let server = start();
    let client = elsewhere::store::Client::connect(&server.addr.to_string()).unwrap();
    let differs = |error: CallError| match error {
        CallError::Unavailable(mismatch) => match *mismatch {
            Mismatch::Shape {
                call,
                part,
                type_here,
                signature_there,
                ..
            } => (call, part, type_here, signature_there),
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    };
    let says =
        |call: &str, part, here, there: &str| (call.to_owned(), part, here, there.to_owned());
    assert_eq!(
        differs(answer(client.list_all()).unwrap_err()),
        says(
            "list_all version 1",
            "output",
            "Vec<Heavy>",
            "list_all() -> Vec<Thing>"
        )
    );
    assert_eq!(
        differs(answer(client.get(vec![])).unwrap_err()),
        says(
            "get version 1",
            "request",
            "Get",
            "get(name: String) -> Result<Thing, Trouble>"
        )
    );
    let (_numbers, sum) = client.sum(0);
    assert_eq!(differs(answer(sum).unwrap_err()).1, "input");
    let told = |error: CallError| error.to_string();
    assert_eq!(
        told(answer(client.count(0, 1)).unwrap_err()),
        "`count version 1` is a unary call here and a call with a server stream there"
    );
    assert_eq!(
        told(answer(client.gone()).unwrap_err()),
        "the server does not offer `gone`"
    );
    assert_eq!(
        told(answer(client.meta()).unwrap_err()),
        "no common version of `meta`: here [2], there [1]"
    );
    // What is the same goes on.
    assert_eq!(answer(client.lose("it".into())), Err(CallError::Unanswered));
    assert_eq!(answer(client.clear()), Ok(elsewhere::Strange));
}

/// A name that emitted code might have used for itself.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, rotor_net::rpc::Shape)]
pub struct S(u8);

service! {
    /// Calls and types of one letter.
    #[derive(PartialEq)]
    pub mod letters {
        fn t(s: S) -> S;
        fn m(t: S) -> stream S;
    }
}

#[test]
fn calls_and_types_may_have_names_of_one_letter() {
    let names = letters::info().calls.iter().map(|call| call.name);
    assert_eq!(names.collect::<Vec<_>>(), ["t", "m"]);
    assert_eq!(letters::T { s: S(1) }.s, letters::M { t: S(1) }.t);
}
