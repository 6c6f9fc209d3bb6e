//! Each kind of call, from a thread, against a server on another one.

use crate::common::PATIENCE;
use crate::depot::{Trouble, answer, connect, depot, pair, start, thing};
use rotor_net::rpc::{CallError, ClientConfig};

#[test]
fn unary_calls_and_one_way_calls() {
    let (_server, client) = pair();
    assert_eq!(answer(client.list_all()), Ok(vec![]));
    let tree = thing(
        "box",
        vec![
            thing("ball", vec![]),
            thing("bag", vec![thing("nut", vec![])]),
        ],
    );
    client.put(tree.clone()).unwrap();
    client.put(thing("ant", vec![])).unwrap();
    // Calls of one client arrive in order, one-way ones among them.
    assert_eq!(
        answer(client.list_all()),
        Ok(vec![thing("ant", vec![]), tree.clone()])
    );
    assert_eq!(answer(client.get("box".into())), Ok(Ok(tree)));
    let name = || "eel".to_owned();
    assert_eq!(
        answer(client.get(name())),
        Ok(Err(Trouble::NotThere { name: name() }))
    );
    assert_eq!(answer(client.clear()), Ok(()));
    assert_eq!(answer(client.list_all()), Ok(vec![]));
    assert_eq!(
        answer(client.meta().with_meta(b"trace 7")),
        Ok(b"trace 7".to_vec())
    );
}

#[test]
fn calls_that_fail_leave_the_others_alone() {
    let (_server, client) = pair();
    assert_eq!(
        answer(client.forget("it".into())),
        Err(CallError::Unanswered)
    );
    assert_eq!(answer(client.trip(3)), Err(CallError::Panicked));
    let refused = CallError::Refused("nobody may call forbidden".into());
    assert_eq!(answer(client.forbidden()), Err(refused));
    assert_eq!(answer(client.list_all()), Ok(vec![]));
}

#[test]
fn strangers_are_not_admitted() {
    let server = start();
    let config = ClientConfig {
        credential: b"stranger".to_vec(),
        ..ClientConfig::default()
    };
    let error = depot::Client::connect_with(&server.addr.to_string(), config)
        .err()
        .unwrap();
    assert!(error.to_string().contains("no strangers"), "{error}");
    assert_eq!(answer(connect(&server).list_all()), Ok(vec![]));
}

#[test]
fn a_server_stream_comes_in_order_and_ends() {
    let (_server, client) = pair();
    let mut items = client.count(10, 5000).within(PATIENCE);
    for number in 10..5000 {
        assert_eq!(items.next_blocking(), Some(Ok(number)));
    }
    assert_eq!(items.next_blocking(), None);
    assert_eq!(items.next_blocking(), None);
    // One that is given up does not disturb the next.
    let mut items = client.count(0, u32::MAX).within(PATIENCE);
    assert_eq!(items.next_blocking(), Some(Ok(0)));
    drop(items);
    let mut items = client.count(5, 6).within(PATIENCE);
    assert_eq!(items.next_blocking(), Some(Ok(5)));
    assert_eq!(items.next_blocking(), None);
}

#[test]
fn a_client_stream_is_added_up() {
    let (_server, client) = pair();
    let (mut numbers, sum) = client.sum(1000);
    let sum = sum.within(PATIENCE).start();
    for number in 0..100_000 {
        numbers.send_blocking(number).unwrap();
    }
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(Ok(1000 + 99_999 * 100_000 / 2)));
    // The server may answer before the end.
    let (mut numbers, sum) = client.sum(0);
    let sum = sum.within(PATIENCE).start();
    numbers.send_blocking(u32::MAX).unwrap();
    assert_eq!(sum.wait(), Ok(Err(Trouble::TooHeavy(u32::MAX))));
}

#[test]
fn streams_both_ways_take_turns() {
    let (_server, client) = pair();
    let (mut lines, echo) = client.echo(2);
    let mut echo = echo.within(PATIENCE);
    echo.start();
    for n in 0..200 {
        lines.send_blocking(format!("line {n}")).unwrap();
        for _ in 0..2 {
            assert_eq!(echo.next_blocking(), Some(Ok(format!("line {n}"))));
        }
    }
    lines.end().unwrap();
    assert_eq!(echo.next_blocking(), None);
}
