//! Every interleaving of those who share the table. Run with `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.

use super::*;
use loom::sync::Arc;
use loom::thread;

fn table() -> Arc<Table> {
    Arc::new(Table::new(2).unwrap())
}

#[test]
fn loom_a_release_and_an_overtaking_share_one_connection() {
    loom::model(|| {
        let table = table();
        let first = table.enter(0, 1, 10).unwrap();
        let worker = thread::spawn({
            let table = table.clone();
            move || table.release(first)
        });
        let second = table.enter(0, 2, 20).unwrap();
        assert!(!table.is_live(first));
        assert_eq!(table.worker_of(second), Some(2));
        let released = worker.join().unwrap();
        assert_eq!(usize::from(released) + table.overtaken(), 1);
        assert_eq!(table.live(), 1);
        assert!(!table.release(first));
        assert_eq!(
            table.worker_of(second),
            Some(2),
            "a stale release harms nobody"
        );
        assert!(table.release(second));
        assert_eq!(table.live(), 0);
    });
}

#[test]
fn loom_of_two_releases_one_counts_whatever_moves_meanwhile() {
    loom::model(|| {
        let table = table();
        let id = table.enter(1, 1, 0).unwrap();
        let other = thread::spawn({
            let table = table.clone();
            move || table.release(id)
        });
        let mover = thread::spawn({
            let table = table.clone();
            move || table.assign(id, 2)
        });
        let ours = table.release(id);
        let theirs = other.join().unwrap();
        assert!(ours ^ theirs);
        mover.join().unwrap();
        assert_eq!((table.live(), table.worker_of(id)), (0, None));
    });
}

#[test]
fn loom_a_connection_is_never_given_the_age_of_the_next() {
    loom::model(|| {
        let table = table();
        let first = table.enter(0, 1, 10).unwrap();
        let reader = thread::spawn({
            let table = table.clone();
            move || table.since_ns(first)
        });
        let second = table.enter(0, 1, 20).unwrap();
        assert!(matches!(reader.join().unwrap(), None | Some(10)));
        assert_eq!(table.since_ns(second), Some(20));
    });
}

#[test]
fn loom_what_was_handed_over_is_found_by_its_worker() {
    loom::model(|| {
        let table = table();
        let word = Arc::new(AtomicUsize::new(0));
        let acceptor = thread::spawn({
            let (table, word) = (table.clone(), word.clone());
            move || {
                table.enter(1, 3, 0).unwrap();
                word.store(1, Ordering::Release);
            }
        });
        let told = word.load(Ordering::Acquire) == 1;
        let found = table.for_worker(3).count();
        assert!(found == 1 || !told);
        acceptor.join().unwrap();
        assert_eq!(table.for_worker(3).count(), 1);
    });
}

#[test]
fn loom_misuse_two_entries_of_one_descriptor_are_two_connections() {
    loom::model(|| {
        let table = table();
        let other = thread::spawn({
            let table = table.clone();
            move || table.enter(0, 1, 0).unwrap()
        });
        let ours = table.enter(0, 2, 0).unwrap();
        let theirs = other.join().unwrap();
        assert_ne!(ours, theirs);
        assert_eq!((table.live(), table.overtaken()), (1, 1));
        assert!(table.is_live(ours) ^ table.is_live(theirs));
    });
}
