//! As many transfers at once as there are places, and what is asked beyond that.

use super::common::PATIENCE;
use super::support::{Served, bytes};
use rotor_net::rpc::{CallError, Channel, ClientConfig, ItemReceiver};
use samples::files::name::Name;
use samples::files::refusal::Refusal;
use samples::files::service::{Change, Piece, files};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

type Pieces = ItemReceiver<Result<Piece, Refusal>>;

/// What one worker does at once, and calls that one connection may have in flight.
const TRANSFERS_MAX: usize = 512;
const IN_FLIGHT_MAX: usize = 256;
/// Who may watch at once, of all connections.
const WATCHERS_MAX: usize = 1024;
/// More than the windows and buffers of a stream hold.
const LARGE: usize = 1 << 20;

fn client(served: &Served) -> files::Client {
    let config = ClientConfig {
        // A transfer stands still after its first pieces.
        window_bytes: 64 << 10,
        ..ClientConfig::default()
    };
    let at = served.server.addr.to_string();
    files::Client::new(&Channel::connect_with(&at, config).unwrap())
}

/// A download that has begun, or why not.
fn begin(client: &files::Client) -> Result<Pieces, Refusal> {
    let mut pieces = client.get(Name::from("a"), 0).within(PATIENCE);
    match pieces
        .next_blocking()
        .expect("an answer")
        .expect("no error")
    {
        Ok(_) => Ok(pieces),
        Err(why) => Err(why),
    }
}

#[test]
fn what_is_too_much_at_once_is_refused_and_places_come_back() {
    let served = Served::with("places", &["--workers", "1"]);
    fs::write(served.at("a"), bytes(LARGE)).unwrap();
    let clients: Vec<_> = (0..3).map(|_| client(&served)).collect();
    let mut under_way: Vec<_> = (0..TRANSFERS_MAX)
        .map(|n| begin(&clients[n / IN_FLIGHT_MAX]).expect("there is a place"))
        .collect();
    let last = &clients[2];
    assert_eq!(begin(last).unwrap_err(), Refusal::Busy);
    let mut batches = last.list_all().within(PATIENCE);
    assert_eq!(batches.next_blocking(), Some(Ok(Err(Refusal::Busy))));
    assert_eq!(batches.next_blocking(), None);
    let (_chunks, reply) = last.put(Name::from("b"), false);
    assert_eq!(reply.wait(), Ok(Err(Refusal::Busy)));
    // What takes no such place is done meanwhile.
    assert_eq!(last.size(Name::from("a")).wait(), Ok(Ok(LARGE as u64)));
    // To drop a download is to cancel it.
    under_way.pop();
    let deadline = Instant::now() + PATIENCE;
    while begin(last).is_err() {
        assert!(Instant::now() < deadline, "the place does not come back");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn more_watchers_than_places_are_refused_and_places_come_back() {
    let served = Served::new("watchers");
    let clients: Vec<_> = (0..WATCHERS_MAX / IN_FLIGHT_MAX + 1)
        .map(|_| client(&served))
        .collect();
    let begin = |n: usize| {
        let mut changes = clients[n / IN_FLIGHT_MAX].watch().within(PATIENCE);
        match changes.next_blocking() {
            Some(Ok(Ok(Change::Watching))) => Ok(changes),
            Some(Ok(Err(why))) => Err(why),
            other => panic!("{other:?}"),
        }
    };
    let mut watching: Vec<_> = (0..WATCHERS_MAX)
        .map(|n| begin(n).expect("there is a place"))
        .collect();
    assert_eq!(begin(WATCHERS_MAX).unwrap_err(), Refusal::Busy);
    // All of them are told.
    fs::create_dir(served.at("new")).unwrap();
    for changes in &mut watching {
        let created = Change::Created(Name::from("new"));
        assert_eq!(changes.next_blocking(), Some(Ok(Ok(created))));
    }
    watching.pop();
    let deadline = Instant::now() + PATIENCE;
    while begin(WATCHERS_MAX).is_err() {
        assert!(Instant::now() < deadline, "the place does not come back");
        thread::sleep(Duration::from_millis(5));
    }
}

/// More than there are places for jobs: all are answered, by a size or by a refusal.
#[test]
fn a_rush_of_small_calls_is_answered_to_the_last() {
    let served = Served::with("rush", &["--workers", "1"]);
    fs::write(served.at("a"), b"abc").unwrap();
    let clients: Vec<_> = (0..8).map(|_| client(&served)).collect();
    let calls: Vec<_> = (0..8 * IN_FLIGHT_MAX)
        .map(|n| {
            clients[n % 8]
                .size(Name::from("a"))
                .within(PATIENCE)
                .start()
        })
        .collect();
    for call in calls {
        let answer = call.wait().expect("an answer");
        assert!(matches!(answer, Ok(3) | Err(Refusal::Busy)), "{answer:?}");
    }
    assert_eq!(clients[0].size(Name::from("a")).wait(), Ok(Ok(3)));
}

#[test]
fn what_does_not_fit_into_a_clients_window_is_told() {
    let served = Served::new("window");
    fs::write(served.at("a"), bytes(LARGE)).unwrap();
    let config = ClientConfig {
        window_bytes: 2 << 10,
        ..ClientConfig::default()
    };
    let at = served.server.addr.to_string();
    let client = files::Client::new(&Channel::connect_with(&at, config).unwrap());
    let mut pieces = client.get(Name::from("a"), 0).within(PATIENCE);
    let size = Piece::Size(LARGE as u64);
    assert_eq!(pieces.next_blocking(), Some(Ok(Ok(size))));
    let refused = pieces.next_blocking();
    assert!(
        matches!(refused, Some(Err(CallError::TooLarge(_)))),
        "{refused:?}"
    );
    assert_eq!(pieces.next_blocking(), None);
}
