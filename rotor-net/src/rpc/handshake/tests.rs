//! Greetings as bytes, and menus against services.

use super::*;
use crate::rpc::call::{CallInfo, TypeInfo, VersionInfo};
use crate::rpc::frame::{self, Front};
use proptest::prelude::*;

/// A version of a call whose types are known by digests alone.
fn version(number: u16, digests: [u64; 3]) -> VersionInfo {
    let [request, input, output] = digests.map(|digest| TypeInfo {
        name: "Here",
        digest,
    });
    VersionInfo {
        number,
        request,
        input,
        output,
        signature: format!("signature {number}"),
    }
}

fn call(name: &'static str, kind: CallKind, versions: Vec<VersionInfo>) -> CallInfo {
    CallInfo {
        name,
        kind,
        versions,
    }
}

fn service(calls: Vec<CallInfo>) -> ServiceInfo {
    ServiceInfo {
        name: "files",
        calls,
    }
}

/// A service of the one call `get` with these versions, all of the same shape.
fn get(numbers: &[u16]) -> ServiceInfo {
    let versions = numbers.iter().map(|&number| version(number, [1, 2, 3]));
    service(vec![call("get", CallKind::Unary, versions.collect())])
}

/// What the only call of `here` is to a server that has `there`.
fn only(here: &ServiceInfo, there: &ServiceInfo) -> Result<Resolved, Mismatch> {
    let mut all = Menu::of(there).resolve(here);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn the_highest_version_that_both_have_counts() {
    let resolved = |rank, version| Ok(Resolved { rank, version });
    assert_eq!(only(&get(&[1]), &get(&[1])), resolved(0, 0));
    assert_eq!(only(&get(&[3, 2, 1]), &get(&[5, 2, 1])), resolved(1, 1));
    assert_eq!(only(&get(&[3, 1]), &get(&[4, 3, 2, 1])), resolved(1, 0));
    assert_eq!(only(&get(&[1]), &get(&[3, 2, 1])), resolved(2, 0));
}

#[test]
fn ranks_go_over_the_versions_of_all_calls() {
    let versions = |numbers: &[u16]| numbers.iter().map(|&n| version(n, [0; 3])).collect();
    let there = service(vec![
        call("size", CallKind::Unary, versions(&[2, 1])),
        call("watch", CallKind::ServerStream, versions(&[7])),
        call("get", CallKind::Unary, versions(&[4, 3])),
    ]);
    let here = service(vec![
        call("get", CallKind::Unary, versions(&[3])),
        call("gone", CallKind::Unary, versions(&[1])),
        call("watch", CallKind::ServerStream, versions(&[8, 7])),
    ]);
    let all = Menu::of(&there).resolve(&here);
    assert_eq!(
        all[0],
        Ok(Resolved {
            rank: 4,
            version: 0
        })
    );
    assert!(matches!(&all[1], Err(Mismatch::NotOffered { call }) if call == "gone"));
    assert_eq!(
        all[2],
        Ok(Resolved {
            rank: 2,
            version: 1
        })
    );
    // A rank means the same to the server.
    let (call, at) = there.ranked(4).unwrap();
    assert_eq!((call.name, call.versions[at].number), ("get", 3));
    assert!(there.ranked(5).is_none());
}

#[test]
fn no_common_version_says_which_there_are() {
    let mismatch = only(&get(&[3, 2]), &get(&[5, 1])).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "no common version of `get`: here [3, 2], there [5, 1]"
    );
    assert_eq!(
        only(&get(&[3]), &service(vec![])).unwrap_err().to_string(),
        "the server does not offer `get`"
    );
}

#[test]
fn streams_on_one_side_only_are_told() {
    let there = service(vec![call(
        "get",
        CallKind::ServerStream,
        vec![version(1, [1, 2, 3])],
    )]);
    let mismatch = only(&get(&[1]), &there).unwrap_err();
    assert_eq!(
        mismatch.to_string(),
        "`get version 1` is a unary call here and a call with a server stream there"
    );
}

#[test]
fn a_type_that_differs_is_named() {
    let there = |digests| {
        let versions = vec![version(2, digests), version(1, [1, 2, 3])];
        service(vec![call("get", CallKind::Unary, versions)])
    };
    let parts = [
        ([9, 2, 3], Some("request")),
        ([1, 9, 3], Some("input")),
        ([1, 2, 9], Some("output")),
        // The first of those that differ.
        ([1, 9, 9], Some("input")),
        // What either side does not check is not compared.
        ([0, 0, 0], None),
        ([1, 0, 3], None),
    ];
    for (digests, differs) in parts {
        // That version 1 would fit does not matter: both have version 2.
        match only(&get(&[2, 1]), &there(digests)) {
            Err(Mismatch::Shape {
                call,
                part,
                type_here,
                signature_there,
                digest_there,
                ..
            }) => {
                assert_eq!(Some(part), differs);
                assert_eq!((&call[..], type_here), ("get version 2", "Here"));
                assert_eq!((&signature_there[..], digest_there), ("signature 2", 9));
            }
            other => assert_eq!((other.is_ok(), differs), (true, None)),
        }
        let unchecked = service(vec![call("get", CallKind::Unary, vec![version(2, [0; 3])])]);
        assert!(only(&unchecked, &there(digests)).is_ok());
    }
}

/// Each call that differs gets a copy of what the menu says of it.
#[test]
fn what_is_said_of_a_difference_is_cut() {
    let there: Vec<u16> = (2..60_000).collect();
    let Err(Mismatch::NoCommonVersion { there, .. }) = only(&get(&[1]), &get(&there)) else {
        panic!("a version that the server does not have");
    };
    assert_eq!(there, Vec::from_iter(2..18));
    let mut menu = Menu::of(&get(&[1]));
    menu.entries[0].digests[0] = 7;
    menu.entries[0].signature = "x".to_owned() + &"é".repeat(100_000);
    let Err(Mismatch::Shape {
        signature_there, ..
    }) = menu.resolve(&get(&[1])).remove(0)
    else {
        panic!("another shape");
    };
    assert_eq!(signature_there, "x".to_owned() + &"é".repeat(511));
}

#[test]
fn preambles_agree_on_the_newest_version_that_both_speak() {
    let from = |newest, oldest| [b"\xf7rotor" as &[u8], &[newest, oldest]].concat();
    assert_eq!(read_preamble(&preamble()), Ok(Some(NEWEST)));
    assert_eq!(read_preamble(&from(200, OLDEST)), Ok(Some(NEWEST)));
    assert_eq!(read_preamble(&from(200, NEWEST)), Ok(Some(NEWEST)));
    let none = |theirs| {
        Err(SessionError::NoCommonProtocol {
            theirs,
            ours: (OLDEST, NEWEST),
        })
    };
    let newer = NEWEST + 1;
    assert_eq!(
        read_preamble(&from(newer + 1, newer)),
        none((newer, newer + 1))
    );
    assert_eq!(read_preamble(&from(OLDEST - 1, 0)), none((0, OLDEST - 1)));
    // Oldest above newest: no version at all.
    assert_eq!(read_preamble(&from(NEWEST, newer)), none((newer, NEWEST)));
}

#[test]
fn a_peer_of_another_kind_is_noticed_at_its_first_byte() {
    let got = |text: &[u8]| {
        let mut got = [0; 8];
        got[..text.len()].copy_from_slice(text);
        Err(SessionError::BadMagic { got })
    };
    assert_eq!(read_preamble(b"G"), got(b"G"));
    assert_eq!(read_preamble(b"\xf7rotax"), got(b"\xf7rotax"));
    assert_eq!(read_preamble(b"GET / HTTP/1.1\r\n"), got(b"GET / HT"));
    for bytes in 0..PREAMBLE_BYTES {
        assert_eq!(read_preamble(&preamble()[..bytes]), Ok(None));
    }
}

/// The body of the frame that follows a preamble.
fn body(written: &[u8], expected: Kind) -> &[u8] {
    assert_eq!(read_preamble(written), Ok(Some(NEWEST)));
    match frame::front(&written[PREAMBLE_BYTES..], WELCOME_BYTES_MAX) {
        Ok(Front::Frame(header, body, rest)) => {
            assert_eq!((header.kind, rest.len()), (expected, 0));
            body
        }
        other => panic!("{other:?}"),
    }
}

fn menus() -> impl Strategy<Value = Menu> {
    let kind = prop_oneof![
        Just(CallKind::Unary),
        Just(CallKind::ServerStream),
        Just(CallKind::ClientStream),
        Just(CallKind::BothStreams),
        Just(CallKind::OneWay),
    ];
    let entry = (any::<(String, u16, [u64; 3], String)>(), kind).prop_map(
        |((name, version, digests, signature), kind)| MenuEntry {
            name,
            version,
            kind,
            digests,
            signature,
        },
    );
    (any::<String>(), proptest::collection::vec(entry, 0..5))
        .prop_map(|(service, entries)| Menu { service, entries })
}

proptest! {
    #[test]
    fn greetings_come_as_they_were_sent(
        (frame_bytes_max, window_bytes, in_flight_max, meta_bytes_max, takes_unknown) in any::<(u32, u32, u32, u16, bool)>(),
        credential in proptest::collection::vec(any::<u8>(), 0..100),
        menu in menus(),
    ) {
        let hello = Hello { frame_bytes_max, window_bytes, credential: &credential };
        let mut bytes = Vec::new();
        write_hello(&hello, &mut bytes).unwrap();
        prop_assert_eq!(read_hello(body(&bytes, Kind::Hello)), Ok(hello));

        let welcome = Welcome { frame_bytes_max, window_bytes, in_flight_max, meta_bytes_max, takes_unknown, menu };
        let mut bytes = Vec::new();
        write_welcome(&welcome, &mut bytes).unwrap();
        let body = body(&bytes, Kind::Welcome);
        prop_assert_eq!(read_welcome(body), Ok(welcome));
        // Never out of a part, nor with anything behind it.
        for cut in 0..body.len() {
            prop_assert!(read_welcome(&body[..cut]).is_err());
        }
        prop_assert!(read_welcome(&[body, b"\0"].concat()).is_err());
    }

    #[test]
    fn any_bytes_are_a_greeting_or_a_named_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let preamble = read_preamble(&bytes);
        if let Ok(Some(version)) = preamble {
            prop_assert!((OLDEST..=NEWEST).contains(&version));
        }
        for greeting in [read_hello(&bytes).map(drop), read_welcome(&bytes).map(drop)] {
            let is_named = matches!(greeting, Ok(()) | Err(SessionError::BadFrame { .. }));
            prop_assert!(is_named);
        }
    }

    #[test]
    fn any_menu_resolves_to_places_that_exist(menu in menus(), numbers in proptest::collection::vec(any::<u16>(), 1..4), pick in any::<prop::sample::Index>()) {
        let name = match menu.entries.is_empty() {
            true => "get",
            false => menu.entries[pick.index(menu.entries.len())].name.clone().leak(),
        };
        let mut numbers = numbers;
        numbers.extend(menu.entries.iter().map(|entry| entry.version));
        let versions = numbers.into_iter().map(|number| version(number, [0; 3])).collect();
        let here = service(vec![call(name, CallKind::Unary, versions)]);
        for resolved in menu.resolve(&here).into_iter().flatten() {
            let entry = &menu.entries[usize::from(resolved.rank)];
            let mine = &here.calls[0].versions[resolved.version];
            prop_assert_eq!((&entry.name[..], entry.version), (name, mine.number));
        }
    }
}

#[test]
fn a_greeting_that_is_too_long_is_not_written() {
    let credential = vec![0; HELLO_BYTES_MAX];
    let hello = Hello {
        frame_bytes_max: 1,
        window_bytes: 1,
        credential: &credential,
    };
    let mut bytes = Vec::new();
    assert!(write_hello(&hello, &mut bytes).is_err());
    assert!(bytes.len() <= PREAMBLE_BYTES);
}
