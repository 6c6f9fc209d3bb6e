//! The plain style: any pair of enums, no macro.

use crate::common;
use crate::depot::answer;
use rotor_net::Limits;
use rotor_net::rpc::{
    CallError, CallScope, PlainClient, PlainServer, PlainService, Reply, Session,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    Add(i64),
    Total,
    Say(String),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Number(i64),
    Said(String),
}

#[derive(Default)]
struct Oracle;

impl PlainService for Oracle {
    type Context = i64;
    type Request = Ask;
    type Reply = Answer;

    fn call(&mut self, ask: Ask, reply: Reply<Answer>, scope: &mut CallScope<'_, i64>) {
        match ask {
            Ask::Add(number) => {
                *scope.ctx += number;
                reply.ok(Answer::Number(*scope.ctx));
            }
            Ask::Total => reply.ok(Answer::Number(*scope.ctx)),
            Ask::Say(words) if words.is_empty() => {
                reply.fail(CallError::Remote("say something".into()))
            }
            Ask::Say(words) => reply.ok(Answer::Said(words)),
        }
    }
}

#[test]
fn a_pair_of_enums_is_a_service() {
    let server = common::start::<Session<PlainServer<Oracle>>>(Limits::default(), || 40);
    let oracle = PlainClient::<Ask, Answer>::connect(&server.addr.to_string()).unwrap();
    assert_eq!(answer(oracle.call(Ask::Add(2))), Ok(Answer::Number(42)));
    assert_eq!(
        answer(oracle.clone().call(Ask::Total)),
        Ok(Answer::Number(42))
    );
    assert_eq!(
        answer(oracle.call(Ask::Say("so".into()))),
        Ok(Answer::Said("so".into()))
    );
    let refused = answer(oracle.call(Ask::Say(String::new())));
    assert_eq!(refused, Err(CallError::Remote("say something".into())));
}

/// Shapes are not compared, so enums that differ are noticed only when they are read.
#[test]
fn other_enums_are_named_errors_at_most() {
    let server = common::start::<Session<PlainServer<Oracle>>>(Limits::default(), || 0);
    let at = server.addr.to_string();
    let confused = PlainClient::<(u8, u64), Answer>::connect(&at).unwrap();
    let error = answer(confused.call((9, 9))).unwrap_err();
    assert!(matches!(error, CallError::BadRequest(_)), "{error}");
    let deaf = PlainClient::<Ask, [bool; 5]>::new(confused.channel());
    let error = answer(deaf.call(Ask::Total)).unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
    let sound = PlainClient::<Ask, Answer>::new(confused.channel());
    assert_eq!(answer(sound.call(Ask::Total)), Ok(Answer::Number(0)));
}

/// A service of the macro is another one, and says so.
#[test]
fn a_plain_client_of_another_service_is_told() {
    let server = crate::depot::start();
    let oracle = PlainClient::<Ask, Answer>::connect(&server.addr.to_string()).unwrap();
    let error = answer(oracle.call(Ask::Total)).unwrap_err();
    assert_eq!(error.to_string(), "the server does not offer `call`");
}
