//! The table against a model, at its bounds, and what it costs in memory.

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

#[test]
fn a_connection_enters_moves_and_leaves_once() {
    let table = Table::new(16).unwrap();
    let id = table.enter(7, 3, 42).unwrap();
    assert_eq!((id.fd(), id.generation()), (7, 1));
    assert_eq!(id.to_string(), "7.1");
    assert_eq!(ConnectionId::from_bits(id.to_bits()), id);
    assert_eq!(table.worker_of(id), Some(3));
    assert_eq!(table.since_ns(id), Some(42));
    assert!(table.assign(id, u16::MAX));
    assert_eq!(table.worker_of(id), Some(u16::MAX));
    assert_eq!(table.for_worker(u16::MAX).collect::<Vec<_>>(), [id]);
    assert!(table.release(id));
    assert!(!table.release(id) && !table.assign(id, 1));
    assert_eq!(table.since_ns(id), None);
    let next = table.enter(7, 0, 43).unwrap();
    assert_ne!(next, id);
    assert!(!table.is_live(id) && table.is_live(next));
    assert_eq!((table.live(), table.overtaken()), (1, 0));
}

#[test]
fn descriptors_beyond_the_table_are_turned_away() {
    let table = Table::new(4).unwrap();
    for fd in [4, 5, RawFd::MAX, -1, RawFd::MIN] {
        assert_eq!(table.enter(fd, 0, 0), None, "{fd}");
    }
    let strange = ConnectionId {
        fd: 4,
        generation: 1,
    };
    assert!(!table.is_live(strange) && !table.release(strange) && !table.assign(strange, 0));
    assert!(table.enter(3, 0, 0).is_some());
    for len in [0, RawFd::MAX as usize + 1, usize::MAX] {
        let error = Table::new(len).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_free_slot_is_nobodys_even_by_its_own_generation() {
    let table = Table::new(1).unwrap();
    let never = ConnectionId {
        fd: 0,
        generation: 0,
    };
    assert!(!table.is_live(never) && !table.release(never) && !table.assign(never, 5));
    assert_eq!((table.live(), table.for_worker(5).count()), (0, 0));
}

#[test]
fn generations_wrap_around_zero() {
    let table = Table::new(1).unwrap();
    let last = State::of(u32::MAX, None);
    table.slots[0].state.store(last.0, Ordering::Relaxed);
    assert_eq!(table.enter(0, 0, 0).unwrap().generation(), 1);
}

#[test]
fn a_slot_is_sixteen_bytes() {
    assert_eq!(size_of::<Slot>(), 16);
    assert_eq!(size_of::<ConnectionId>(), 8);
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
#[test]
fn only_pages_of_descriptors_in_use_are_committed() {
    let table = Table::new(1 << 20).unwrap();
    let page = rustix::param::page_size();
    assert_eq!(table.reserved_bytes(), 16 << 20);
    assert_eq!(table.resident_bytes(), Some(0));
    table.enter(5, 0, 0).unwrap();
    assert_eq!(table.resident_bytes(), Some(page));
    table.enter((1 << 20) - 1, 0, 0).unwrap();
    assert_eq!(table.resident_bytes(), Some(2 * page));
}

/// Where there are huge pages at all. Whether the system would use one here unasked is its configuration.
#[cfg(target_os = "linux")]
#[test]
fn the_table_asks_not_to_be_given_huge_pages() {
    if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
        return;
    }
    let table = Table::new(1 << 20).unwrap();
    let start = table.slots.as_ptr() as usize;
    let covers = |line: &str| {
        let range = line
            .split_once(' ')
            .and_then(|(range, _)| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        range.is_some_and(|(from, to)| {
            number(from).is_some_and(|from| from <= start)
                && number(to).is_some_and(|to| start < to)
        })
    };
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut ours = maps.lines().skip_while(|line| !covers(line));
    let flags = ours.find_map(|line| line.strip_prefix("VmFlags:")).unwrap();
    assert!(flags.split_whitespace().any(|flag| flag == "nh"), "{flags}");
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
#[test]
fn a_table_whose_end_is_no_page_is_counted_whole() {
    let table = Table::new(3).unwrap();
    assert_eq!(
        (table.reserved_bytes(), table.resident_bytes()),
        (48, Some(0))
    );
    table.enter(2, 0, 0).unwrap();
    assert_eq!(table.resident_bytes(), Some(rustix::param::page_size()));
}

#[test]
fn threads_that_enter_and_release_leave_an_empty_table() {
    const ROUNDS: u32 = 20_000;
    const FDS: RawFd = 3;
    let table = Arc::new(Table::new(FDS as usize).unwrap());
    let (hand, take) = std::sync::mpsc::channel();
    let worker = std::thread::spawn({
        let table = table.clone();
        move || take.iter().filter(|&id| table.release(id)).count()
    });
    for round in 0..ROUNDS {
        let id = table.enter(round as RawFd % FDS, 1, 0).unwrap();
        hand.send(id).unwrap();
    }
    drop(hand);
    let released = worker.join().unwrap();
    assert_eq!(released + table.overtaken(), ROUNDS as usize);
    assert_eq!((table.live(), table.for_worker(1).count()), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Enter { fd: RawFd, worker: u16 },
    Assign { nth: usize, worker: u16 },
    Release { nth: usize },
}

const LEN: usize = 6;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = || prop_oneof![0..3_u16, Just(u16::MAX)];
    let step = prop_oneof![
        (-1..LEN as RawFd + 1, worker()).prop_map(|(fd, worker)| Step::Enter { fd, worker }),
        (any::<usize>(), worker()).prop_map(|(nth, worker)| Step::Assign { nth, worker }),
        any::<usize>().prop_map(|nth| Step::Release { nth }),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn it_does_what_a_map_of_live_connections_does(steps in steps()) {
        let table = Table::new(LEN).unwrap();
        let mut ever: Vec<ConnectionId> = Vec::new();
        let mut model: HashMap<ConnectionId, (u16, u64)> = HashMap::new();
        let mut overtaken = 0;
        for (now_ns, step) in (1..).zip(steps) {
            match step {
                Step::Enter { fd, worker } => {
                    let entered = table.enter(fd, worker, now_ns);
                    prop_assert_eq!(entered.is_some(), (0..LEN as RawFd).contains(&fd));
                    let Some(id) = entered else { continue };
                    prop_assert!(!ever.contains(&id), "{} twice", id);
                    let before = model.len();
                    model.retain(|live, _| live.fd() != id.fd());
                    overtaken += before - model.len();
                    ever.push(id);
                    model.insert(id, (worker, now_ns));
                }
                Step::Assign { nth, worker } if !ever.is_empty() => {
                    let id = ever[nth % ever.len()];
                    let live = model.get_mut(&id);
                    prop_assert_eq!(table.assign(id, worker), live.is_some());
                    if let Some(live) = live {
                        live.0 = worker;
                    }
                }
                Step::Release { nth } if !ever.is_empty() => {
                    let id = ever[nth % ever.len()];
                    prop_assert_eq!(table.release(id), model.remove(&id).is_some());
                }
                Step::Assign { .. } | Step::Release { .. } => {}
            }
            prop_assert_eq!(table.live(), model.len());
            prop_assert_eq!(table.overtaken(), overtaken);
            for &id in &ever {
                let live = model.get(&id);
                prop_assert_eq!(table.worker_of(id), live.map(|live| live.0));
                prop_assert_eq!(table.since_ns(id), live.map(|live| live.1));
                prop_assert_eq!(table.is_live(id), live.is_some());
            }
            for worker in [0, 1, 2, u16::MAX] {
                let mut expected: Vec<_> =
                    model.iter().filter(|(_, live)| live.0 == worker).map(|(&id, _)| id).collect();
                expected.sort();
                prop_assert_eq!(table.for_worker(worker).collect::<Vec<_>>(), expected);
            }
        }
    }
}
