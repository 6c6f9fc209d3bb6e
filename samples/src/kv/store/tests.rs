//! The store against a plain map, its limit, its cursors and its expiry.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

const NO_LIMIT: u64 = u64::MAX;

fn store() -> Store {
    Store::new(NO_LIMIT, [1, 2])
}

fn key(n: usize) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

/// What the counters must say, from the entries themselves.
fn check_accounts(store: &Store) {
    let (mut len, mut bytes, mut expiring) = (0, 0, 0);
    for slot in 0..store.slab.slots() as u32 {
        let Some(entry) = store.slab.entry(slot) else {
            continue;
        };
        let key = entry.key.as_bytes();
        len += 1;
        bytes += ENTRY_BYTES + Key::heap_bytes(key) + entry.value.heap_bytes();
        expiring += usize::from(entry.due != NEVER);
        assert_eq!(
            store.index.find(store.hash_key.hash(key), |s| s == slot),
            Some(slot)
        );
    }
    assert_eq!(
        (store.len(), store.used_bytes(), store.expiring()),
        (len, bytes, expiring)
    );
}

#[test]
fn an_entry_goes_at_its_time_and_not_before() {
    let mut store = store();
    store.set(b"a", b"1", Ttl::At(100), 0).unwrap();
    assert_eq!(store.get(b"a", 99), Some(&b"1"[..]));
    assert_eq!(store.next_expiry(), Some(100));
    assert_eq!(store.expire_due(99, 10), 0);
    assert_eq!(store.get(b"a", 100), None);
    assert_eq!(
        (store.len(), store.next_expiry(), store.expired()),
        (0, None, 1)
    );
}

#[test]
fn expiry_comes_in_bounded_batches() {
    let mut store = store();
    for n in 0..100 {
        store
            .set(&key(n), b"x", Ttl::At(10 + n as u64 % 3), 0)
            .unwrap();
    }
    assert_eq!(store.expire_due(9, 1000), 0);
    assert_eq!(store.expire_due(50, 30), 30);
    assert_eq!((store.len(), store.expire_due(50, 1000)), (70, 70));
    assert_eq!((store.len(), store.next_expiry()), (0, None));
    check_accounts(&store);
}

#[test]
fn prolonged_entries_are_found_early_at_most() {
    let mut store = store();
    for n in 0..100 {
        store.set(&key(n), b"x", Ttl::At(10), 0).unwrap();
        store.set(&key(n), b"x", Ttl::At(1000), 0).unwrap();
    }
    // Each call looks at a bounded number, and together they get through.
    let mut calls = 0;
    while store.next_expiry().is_some_and(|next| next <= 10) {
        assert_eq!(store.expire_due(10, 8), 0);
        calls += 1;
        assert!(calls < 100);
    }
    assert_eq!(
        (store.next_expiry(), store.expire_due(1000, 1000)),
        (Some(1000), 100)
    );
}

#[test]
fn a_full_store_refuses_growth_and_takes_it_again_after_removal() {
    let mut store = Store::new(10 * ENTRY_BYTES, [1, 2]);
    for n in 0..10 {
        store.set(&key(n), b"x", Ttl::Clear, 0).unwrap();
    }
    let big = [b'x'; 100];
    assert_eq!(store.set(b"another", b"x", Ttl::Clear, 0), Err(StoreFull));
    assert_eq!(store.set(&key(1), &big, Ttl::Clear, 0), Err(StoreFull));
    assert_eq!(store.append(&key(1), &big, 0), Err(StoreFull));
    assert_eq!(store.append(b"another", b"x", 0), Err(StoreFull));
    assert_eq!(store.get(&key(1), 0), Some(&b"x"[..]));
    // What needs no more memory is fine.
    assert_eq!(store.set(&key(1), b"y", Ttl::Clear, 0), Ok(()));
    assert!(!store.has_room([(&b"k"[..], &b"v"[..])].into_iter(), 0));
    assert!(store.remove(&key(2), 0));
    assert!(store.has_room([(&b"k"[..], &b"v"[..])].into_iter(), 0));
    assert!(!store.has_room([(&b"k"[..], &b"v"[..]), (b"l", b"v")].into_iter(), 0));
    assert_eq!(store.set(b"another", b"x", Ttl::Clear, 0), Ok(()));
    check_accounts(&store);
}

#[test]
fn a_scan_meets_every_lasting_key_once_while_all_else_changes() {
    let mut store = store();
    for n in 0..2000 {
        store.set(&key(n), b"x", Ttl::Clear, 0).unwrap();
    }
    let (mut met, mut cursor, mut round) = (HashMap::new(), 0, 0);
    loop {
        let next = store.page_end(cursor, 10);
        for key in store.keys(cursor..next, 0) {
            *met.entry(key.to_vec()).or_insert(0) += 1;
        }
        if next >= store.cursor_end() {
            break;
        }
        assert!(next > cursor);
        cursor = next;
        // Odd keys come and go, new ones make the index grow; even keys last.
        for n in 0..50 {
            store.remove(&key((round * 98 + n * 2 + 1) % 2000), 0);
            store
                .set(&key(10_000 + round * 50 + n), b"x", Ttl::Clear, 0)
                .unwrap();
            store.set(&key(n * 2), b"changed", Ttl::Clear, 0).unwrap();
        }
        round += 1;
        // The new keys must not outrun the scan for ever.
        if round > 150 {
            for n in 0..50 {
                store.remove(&key(10_000 + round * 50 + n - 50), 0);
            }
        }
    }
    for n in (0..2000).step_by(2) {
        assert_eq!(met.get(&key(n)), Some(&1), "key {n}");
    }
    check_accounts(&store);
}

#[test]
fn a_page_over_holes_is_bounded() {
    let mut store = store();
    for n in 0..1000 {
        store.set(&key(n), b"x", Ttl::Clear, 0).unwrap();
    }
    for n in 0..990 {
        store.remove(&key(n), 0);
    }
    assert_eq!(store.page_end(0, 10), 100);
    assert_eq!(store.page_end(950, 3), 980);
    assert_eq!(store.page_end(985, 3), 993);
    assert_eq!(store.page_end(985, u64::MAX), store.cursor_end());
    assert_eq!(store.page_end(u64::MAX, 10), u64::MAX);
}

#[derive(Clone, Debug)]
enum Change {
    Set(usize, usize, Option<u64>),
    SetKeep(usize, usize),
    Append(usize, usize),
    Remove(usize),
    SetDue(usize, Option<u64>),
    Get(usize),
    Pass(u64),
    Expire(usize),
    Clear,
}

fn change() -> impl Strategy<Value = Change> {
    let key = || 0..40usize;
    let ttl = || prop::option::of(0..50u64);
    prop_oneof![
        8 => (key(), 0..60usize, ttl()).prop_map(|(k, n, t)| Change::Set(k, n, t)),
        2 => (key(), 0..60usize).prop_map(|(k, n)| Change::SetKeep(k, n)),
        2 => (key(), 0..60usize).prop_map(|(k, n)| Change::Append(k, n)),
        4 => key().prop_map(Change::Remove),
        3 => (key(), ttl()).prop_map(|(k, t)| Change::SetDue(k, t)),
        3 => key().prop_map(Change::Get),
        3 => (0..20u64).prop_map(Change::Pass),
        2 => (0..10usize).prop_map(Change::Expire),
        1 => Just(Change::Clear),
    ]
}

type Model = BTreeMap<usize, (Vec<u8>, Option<u64>)>;

fn apply(store: &mut Store, model: &mut Model, now: &mut u64, change: Change) {
    model.retain(|_, (_, due)| due.is_none_or(|due| due > *now));
    match change {
        Change::Set(k, n, ttl) => {
            let due = ttl.map(|ttl| *now + ttl + 1);
            let ttl = due.map_or(Ttl::Clear, Ttl::At);
            store.set(&key(k), &vec![b'x'; n], ttl, *now).unwrap();
            model.insert(k, (vec![b'x'; n], due));
        }
        Change::SetKeep(k, n) => {
            store.set(&key(k), &vec![b'y'; n], Ttl::Keep, *now).unwrap();
            model.entry(k).or_insert((vec![], None)).0 = vec![b'y'; n];
        }
        Change::Append(k, n) => {
            let value = model.entry(k).or_insert((vec![], None));
            value.0.extend(vec![b'z'; n]);
            assert_eq!(
                store.append(&key(k), &vec![b'z'; n], *now),
                Ok(value.0.len())
            );
        }
        Change::Remove(k) => {
            assert_eq!(store.remove(&key(k), *now), model.remove(&k).is_some());
        }
        Change::SetDue(k, ttl) => {
            let due = ttl.map(|ttl| *now + ttl + 1);
            let exists = model.get_mut(&k).map(|value| value.1 = due).is_some();
            assert_eq!(store.set_due(&key(k), due, *now), exists);
        }
        Change::Get(k) => {
            let value = model.get(&k);
            assert_eq!(store.get(&key(k), *now), value.map(|(text, _)| &text[..]));
            assert_eq!(store.due(&key(k), *now), value.map(|(_, due)| *due));
            assert_eq!(store.contains(&key(k), *now), value.is_some());
        }
        Change::Pass(ms) => *now += ms,
        Change::Expire(max) => assert!(store.expire_due(*now, max) <= max),
        Change::Clear => {
            store.clear();
            model.clear();
        }
    }
    let first = model.values().filter_map(|(_, due)| *due).min();
    assert!(store.next_expiry().unwrap_or(NEVER) <= first.unwrap_or(NEVER));
}

proptest! {
    #[test]
    fn agrees_with_a_map(changes in prop::collection::vec(change(), 0..400)) {
        let (mut store, mut model, mut now) = (store(), Model::new(), 1000);
        for change in changes {
            apply(&mut store, &mut model, &mut now, change);
        }
        model.retain(|_, (_, due)| due.is_none_or(|due| due > now));
        let keys: HashSet<Vec<u8>> = store.keys(0..u64::MAX, now).map(<[u8]>::to_vec).collect();
        prop_assert_eq!(keys, model.keys().map(|k| key(*k)).collect::<HashSet<_>>());
        check_accounts(&store);
    }
}
