//! Versions: an old client of a new server, a new client of an old server, and what cannot be told in old words.

mod new;
mod old;

use crate::common;
use crate::depot::answer;
use rotor_net::Limits;
use rotor_net::rpc::{
    CallError, CallScope, ItemReceiver, ItemSender, NoItems, Older, Reply, Shape, service,
};
use serde::{Deserialize, Serialize};

/// Tells, from another thread, how many items there were.
fn counted<T: Send + 'static>(mut items: ItemReceiver<T>, then: impl FnOnce(u32) + Send + 'static) {
    std::thread::spawn(move || {
        let mut count = 0;
        while let Some(item) = items.next_blocking() {
            item.expect("an item");
            count += 1;
        }
        then(count);
    });
}

/// All items of a stream.
fn all<T: Send + 'static>(items: ItemReceiver<T>) -> Vec<T> {
    let mut items = items.within(common::PATIENCE);
    let mut all = Vec::new();
    while let Some(item) = items.next_blocking() {
        all.push(item.expect("an item"));
    }
    all
}

#[test]
fn the_menu_has_each_version_the_newest_first() {
    let versions = |call: usize| {
        let versions = new::store::info().calls[call].versions.iter();
        versions
            .map(|version| (version.number, &version.signature[..]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        versions(0),
        [
            (3, "size(name: String, unit: Unit) -> u64"),
            (2, "size(request: (String, Unit)) -> u64"),
            (1, "size(request: Name) -> u32"),
        ]
    );
    assert_eq!(
        versions(2),
        [
            (2, "append(name: String, lines: stream Line) -> u64"),
            (1, "append(request: Name, lines: stream String) -> u32"),
        ]
    );
}

#[test]
fn an_old_client_of_a_new_server() {
    let server = common::start::<new::store::Session<new::New>>(Limits::default(), Vec::new);
    let client = old::store::Client::connect(&server.addr.to_string()).unwrap();
    assert_eq!(answer(client.size("four".into())), Ok(4));
    let told = answer(client.size("huge".into())).unwrap_err();
    assert_eq!(told, CallError::Remote("too large for version 1".into()));
    client.touch("a".into()).unwrap();
    client.touch("b".into()).unwrap();
    assert_eq!(answer(client.size("touched".into())), Ok(2));
    assert_eq!(all(client.tail("x".into())), ["0: x", "1: x", "2: x"]);
    let (mut lines, count) = client.append("x".into());
    let count = count.within(common::PATIENCE).start();
    for n in 0..5 {
        lines.send_blocking(n.to_string()).unwrap();
    }
    lines.end().unwrap();
    assert_eq!(count.wait(), Ok(5));
    let (mut lines, mut items) = client.chat();
    items.start();
    lines.send_blocking("hello".into()).unwrap();
    lines.end().unwrap();
    assert_eq!(all(items), ["10: hello"]);
}

#[test]
fn a_new_client_of_an_old_server() {
    use new::{Line, Unit};
    let server = common::start::<old::store::Session<old::Old>>(Limits::default(), Vec::new);
    let client = new::store::Client::connect(&server.addr.to_string()).unwrap();
    assert_eq!(answer(client.size("four".into(), Unit::Bytes)), Ok(4));
    let told = answer(client.size("four".into(), Unit::Words)).unwrap_err();
    assert_eq!(told.to_string(), "version 1 has no Words");
    client.touch(vec!["a".into()]).unwrap();
    let line = |text: &str| Line {
        text: text.into(),
        number: 0,
    };
    assert_eq!(
        all(client.tail("x".into(), 7)),
        [line("x 0"), line("x 1"), line("x 2")]
    );
    let (mut lines, count) = client.append("x".into());
    let count = count.within(common::PATIENCE).start();
    for n in 0..5 {
        lines.send_blocking(line(&n.to_string())).unwrap();
    }
    lines.end().unwrap();
    assert_eq!(count.wait(), Ok(5));
    let (mut lines, mut items) = client.chat();
    items.start();
    lines
        .send_blocking(Line {
            text: "hello".into(),
            number: 3,
        })
        .unwrap();
    lines.end().unwrap();
    assert_eq!(all(items), [line("hello, once 3")]);
}

#[test]
fn sides_of_the_same_age_need_no_bridge() {
    let server = common::start::<new::store::Session<new::New>>(Limits::default(), Vec::new);
    let client = new::store::Client::connect(&server.addr.to_string()).unwrap();
    assert_eq!(
        answer(client.size("one two".into(), new::Unit::Words)),
        Ok(2)
    );
    assert_eq!(
        answer(client.size("huge".into(), new::Unit::Words)),
        Ok(u64::MAX)
    );
    client.touch(vec!["a".into(), "b".into()]).unwrap();
    assert_eq!(
        answer(client.size("touched".into(), new::Unit::Words)),
        Ok(2)
    );
    let numbers: Vec<_> = all(client.tail("x".into(), 7))
        .into_iter()
        .map(|line| line.number)
        .collect();
    assert_eq!(numbers, [7, 8, 9]);
}
