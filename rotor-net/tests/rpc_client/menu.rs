//! The menu: versions, and servers that differ.

use super::*;
use rotor_net::rpc::{CallKind, Mismatch};

/// A server with this menu, which answers any call with these bytes.
fn with_menu(entries: Vec<Entry>, reply: &'static [u8]) -> Scripted {
    with(
        Welcome {
            entries,
            ..service::welcome()
        },
        reply,
    )
}

fn with(welcome: Welcome, reply: &'static [u8]) -> Scripted {
    scripted(move |listener| {
        let mut peer = listener.greet_with(&welcome);
        while let Some(frame) = peer.next() {
            if frame.kind == CALL {
                peer.send(&frame.answer(REPLY, 0, reply));
            }
        }
    })
}

fn mismatch(error: CallError) -> Mismatch {
    match error {
        CallError::Unavailable(mismatch) => *mismatch,
        other => panic!("{other}"),
    }
}

#[test]
fn the_newest_common_version_is_spoken() {
    let server = with_menu(service::welcome().entries, &[0x81, 1]);
    let channel = connect(&server);
    assert_eq!(channel.unary::<Power>((3, 4)).wait(), Ok(129));
    drop(channel);
    server.join();
}

#[test]
fn an_older_version_is_bridged_by_its_converters() {
    let mut entries = service::welcome().entries;
    entries[5] = service::entry("power", 7, 0);
    let server = scripted(move |listener| {
        let mut peer = listener.greet_with(&Welcome {
            entries,
            ..service::welcome()
        });
        let call = peer.expect(CALL);
        assert_eq!((call.number, call.request()), (service::POWER_1, &[12][..]));
        peer.send(&call.answer(REPLY, 0, b"\x03144"));
        let call = peer.expect(CALL);
        peer.send(&call.answer(REPLY, 0, b"\x05words"));
        peer.double();
    });
    let channel = connect(&server);
    assert_eq!(channel.unary::<Power>((12, 2)).wait(), Ok(144));
    // What a converter refuses is not sent.
    let refused = channel.unary::<Power>((12, 3)).wait();
    assert_eq!(
        refused,
        Err(CallError::Remote("version 1 knows squares alone".into()))
    );
    let refused = channel.unary::<Power>((12, 2)).wait();
    assert_eq!(refused, Err(CallError::Remote("not a number".into())));
    drop(channel);
    server.join();
}

#[test]
fn what_differs_is_named_and_the_rest_works() {
    let mut entries = service::welcome().entries;
    entries[1].2 = 0;
    entries[2].3[1] = 77;
    entries[3].0 = "chatter".to_owned();
    entries[5].1 = 8;
    entries[6].1 = 9;
    let server = with_menu(entries, &[4]);
    let channel = connect(&server);
    let error = |kind: &str| match kind {
        "count" => channel
            .server_stream::<Count>(0)
            .next_blocking()
            .unwrap()
            .unwrap_err(),
        "sum" => channel.client_stream::<Sum>(0).1.wait().unwrap_err(),
        "chat" => channel
            .both_streams::<Chat>(0)
            .1
            .next_blocking()
            .unwrap()
            .unwrap_err(),
        _ => channel.unary::<Power>((1, 1)).wait().unwrap_err(),
    };
    assert_eq!(
        mismatch(error("count")),
        Mismatch::Kind {
            call: "count version 1".to_owned(),
            here: CallKind::ServerStream,
            there: CallKind::Unary,
        }
    );
    assert_eq!(
        mismatch(error("sum")),
        Mismatch::Shape {
            call: "sum version 1".to_owned(),
            part: "input",
            type_here: "Input",
            signature_there: "sum(..)".to_owned(),
            digest_here: 101,
            digest_there: 77,
        }
    );
    assert_eq!(
        mismatch(error("chat")),
        Mismatch::NotOffered {
            call: "chat".to_owned()
        }
    );
    assert_eq!(
        mismatch(error("power")),
        Mismatch::NoCommonVersion {
            call: "power".to_owned(),
            here: vec![2, 1],
            there: vec![8, 9],
        }
    );
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(4));
    drop(channel);
    server.join();
}

#[test]
fn an_item_sender_hears_that_its_call_is_unavailable() {
    let server = with_menu(vec![service::entry("double", 1, 0)], &[4]);
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    let error = numbers.send_blocking(1).unwrap_err();
    let expected = "the server does not offer `sum`";
    assert!(error.to_string().contains(expected), "{error}");
    assert_eq!(sum.wait().unwrap_err().to_string(), expected);
    drop((numbers, channel));
    server.join();
}

#[test]
fn the_menu_and_the_limits_can_be_looked_at() {
    let server = with_menu(service::welcome().entries, &[]);
    let channel = connect(&server);
    let menu = channel.menu().unwrap();
    assert_eq!((menu.service.as_str(), menu.entries.len()), ("tests", 7));
    assert_eq!(menu.entries[1].kind, CallKind::ServerStream);
    assert_eq!(menu.entries[5].digests, [200, 201, 202]);
    let info = channel.server().unwrap();
    assert_eq!((info.protocol_version, info.frame_bytes_max), (1, 10_000));
    assert_eq!((info.window_bytes, info.in_flight_max), (1000, 16));
    assert_eq!((info.meta_bytes_max, info.takes_unknown), (10, false));
    drop(channel);
    server.join();
}

#[test]
fn raw_calls_go_by_rank_where_the_menu_has_them() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!((call.number, call.flags), (service::POWER_1, 0));
        assert_eq!(call.body, b"any bytes");
        peer.send(&call.answer(REPLY, 0, b"others"));
        peer.double();
    });
    let channel = connect(&server);
    let reply = channel.raw("power", 1, b"any bytes".to_vec()).wait();
    assert_eq!(reply, Ok(b"others".to_vec()));
    for (name, version, expected) in [
        ("nothing", 1, "the server does not offer `nothing`"),
        (
            "double",
            2,
            "no common version of `double`: here [2], there [1]",
        ),
        (
            "count",
            1,
            "`count version 1` is a unary call here and a call with a server stream there",
        ),
    ] {
        let error = channel.raw(name, version, Vec::new()).wait().unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    drop(channel);
    server.join();
}

#[test]
fn raw_calls_go_by_name_where_the_server_takes_such() {
    let server = scripted(|listener| {
        let mut peer = listener.greet_with(&Welcome {
            takes_unknown: true,
            ..service::welcome()
        });
        let call = peer.expect(CALL);
        assert_eq!(call.flags, 6);
        assert_eq!(call.body, b"\x02\x00id\x03\x00\x07nothingbytes");
        peer.send(&call.answer(REPLY, 0, b"reply"));
        assert_eq!(peer.expect(CALL).flags, 0);
    });
    let channel = connect(&server);
    let call = channel
        .raw("nothing", 3, b"bytes".to_vec())
        .with_meta(b"id");
    assert_eq!(call.wait(), Ok(b"reply".to_vec()));
    // A name longer than its length can say cannot be sent.
    let long = "x".repeat(256);
    assert!(channel.raw(&long, 1, Vec::new()).wait().is_err());
    assert!(why(&channel.raw("double", 1, vec![1]).wait().unwrap_err()).0);
    server.join();
}

#[test]
fn of_the_versions_of_a_call_in_bytes_some_are_named() {
    let versions = (2..5000).map(|version| service::entry("double", version, 0));
    let server = with_menu(versions.collect(), &[4]);
    let channel = connect(&server);
    let error = channel.raw("double", 1, vec![2]).wait().unwrap_err();
    let Mismatch::NoCommonVersion { there, .. } = mismatch(error) else {
        panic!("a version that the server does not have");
    };
    assert_eq!(there, Vec::from_iter(2..18));
    drop(channel);
    server.join();
}
