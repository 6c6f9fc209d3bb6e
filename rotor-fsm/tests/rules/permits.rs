//! R4 for permits: places in the inbox that are taken before there is a message.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{MessageCounts, Permit, SendError};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

const fn shared<T: Send + Sync>() {}
const _: () = shared::<Permit<Cell<u8>>>();

fn small_inbox(messages: usize) -> Config {
    Config {
        inbox_messages_max: messages,
        ..Config::default()
    }
}

/// Notes numbers; 0 ends it.
fn noter() -> Script<Vec<String>, u32> {
    act(|on, scope: &mut NotingScope<'_>| match on {
        On::Message(0) => done(),
        On::Message(n) => {
            scope.ctx.push(n.to_string());
            stay()
        }
        _ => stay(),
    })
}

fn counts(main_loop: &Loop<Noting>) -> (u64, u64) {
    let MessageCounts {
        delivered, dropped, ..
    } = main_loop.handle().messages();
    (delivered, dropped)
}

/// A place is one less for others, whoever asks, and a message in it is never refused.
#[test]
fn r4_a_permit_is_a_place_in_a_full_inbox() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(3));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    let first = machine.reserve().unwrap();
    let second = machine.reserve().unwrap();
    machine.send(1).unwrap();
    assert_eq!(machine.send(9), Err(SendError::Full(9)));
    assert_eq!(machine.reserve().err(), Some(SendError::Full(())));
    // In the order in which they are sent, not that of the permits.
    second.send(2);
    first.send(3);
    assert_eq!(machine.send(9), Err(SendError::Full(9)));
    let last = machine.clone();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(5)),
            _ => {
                last.reserve().unwrap().send(0);
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["1", "2", "3"]);
    assert_eq!(counts(&main_loop), (4, 0));
}

#[test]
fn r4_a_dropped_permit_gives_its_place_back() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(1));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    for _ in 0..3 {
        let permit = machine.reserve().unwrap();
        assert!(machine.send(1).is_err());
        drop(permit);
    }
    machine.send(0).unwrap();
    main_loop.run().unwrap();
    assert_eq!(counts(&main_loop), (1, 0));
}

/// Whatever has ended since: the message is dropped, once, and counted; and only the message.
#[test]
fn r4_a_message_for_whom_has_ended_since_is_dropped_and_counted() {
    let _dog = watchdog();
    type Counted = Act<(), Option<Citizen>>;
    let census = Census::default();
    let mut main_loop = Loop::<Counted>::new(small_inbox(10), |_| Ok(())).unwrap();
    let ends = || {
        act(|on, _: &mut Scope<'_, Counted>| match on {
            On::Message(_) => done(),
            _ => stay(),
        })
    };
    let machine = main_loop.spawn::<Counted>(ends()).unwrap();
    let [ended, given_back, closed] = [(); 3].map(|()| machine.reserve().unwrap());
    machine.send(None).unwrap();
    main_loop.run().unwrap();
    assert!(!machine.is_live());
    assert_eq!(machine.reserve().err(), Some(SendError::Closed(())));
    drop(given_back);
    ended.send(Some(census.one()));
    // The successor has the same slot, and hears nothing of it.
    let successor = main_loop.spawn::<Counted>(ends()).unwrap();
    successor.send(None).unwrap();
    main_loop.run().unwrap();
    let handle = main_loop.handle();
    drop(main_loop);
    let counts = handle.messages();
    assert_eq!((counts.delivered, counts.dropped), (2, 1));
    closed.send(Some(census.one()));
    let counts = handle.messages();
    assert_eq!((counts.delivered, counts.dropped), (2, 2));
    assert_eq!((census.made(), census.alive()), (2, 0));
    assert_eq!(successor.reserve().err(), Some(SendError::Closed(())));
}

#[test]
fn r4_permits_of_mapped_notifiers_map_what_is_sent() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(1));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    let words = machine.map(|text: &'static str| match text {
        "panic" => panic!("cannot map"),
        text => text.len() as u32,
    });
    let lists = words.map(|list: Vec<&'static str>| list[0]);
    for _ in 0..2 {
        let permit = lists.reserve().unwrap();
        assert_eq!(words.reserve().err(), Some(SendError::Full(())));
        // The place comes back, once.
        assert!(catch_unwind(AssertUnwindSafe(|| permit.send(vec!["panic"]))).is_err());
        drop(lists.reserve().unwrap());
    }
    lists.reserve().unwrap().send(vec!["abc"]);
    assert_eq!(machine.send(9), Err(SendError::Full(9)));
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(5)),
            _ => {
                words.reserve().unwrap().send("");
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["3"]);
    assert_eq!(counts(&main_loop), (2, 0));
}

/// A permit may be used long after, on another thread, while the loop sleeps.
#[test]
fn r4_a_permit_wakes_a_sleeping_loop() {
    let _dog = watchdog();
    let (hand, handed) = mpsc::channel();
    let thread = LoopThread::<Noting>::spawn(Config::default(), move |setup| {
        hand.send(setup.add::<Noting>(noter())?)?;
        Ok(Vec::new())
    })
    .unwrap();
    let permit = handed.recv().unwrap().reserve().unwrap();
    wait_until("the machine is there", || thread.machines() == 1);
    std::thread::sleep(ms(5));
    permit.send(0);
    thread.join().unwrap();
}
