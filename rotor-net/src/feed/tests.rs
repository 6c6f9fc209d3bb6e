//! Frames against a model that sees the whole input at once, however the input is cut; and the work of searching.

use super::*;
use crate::Until;
use proptest::prelude::*;
use std::cell::RefCell;

#[derive(Default)]
#[allow(clippy::vec_box)] // boxes are what a stream holds
struct Shelf(RefCell<Vec<Box<Held>>>);

impl Spares for Shelf {
    fn take(&self) -> Box<Held> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    fn put_back(&self, mut held: Box<Held>) {
        held.clear();
        self.0.borrow_mut().push(held);
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Cut {
    frames: Vec<Vec<u8>>,
    /// Bytes left over, or the limit that was exceeded.
    end: Result<Vec<u8>, u32>,
}

/// Cuts input, that arrives in these pieces, into frames; each `want` is for one frame, in turn. Counts the work.
fn cut(pieces: &[&[u8]], wants: &[Want], bytes_max: usize) -> (Cut, usize) {
    let (shelf, mut held, mut work) = (Shelf::default(), None, 0);
    let mut frames = Vec::new();
    let mut turn = 0;
    // What is waited for is looked at before anything arrives, too.
    for piece in [&b""[..]].iter().chain(pieces) {
        let mut feed = Feed::new(held, piece);
        loop {
            match feed.find(&wants[turn % wants.len()], bytes_max) {
                Found::Frame(frame) => {
                    frames.push(feed.front(frame.whole)[..frame.data].to_vec());
                    feed.consume(frame.whole, &shelf);
                    turn += 1;
                    if wants.len() > 1 {
                        feed.rescan();
                    }
                }
                Found::Partial => break,
                Found::TooLong(max) => {
                    return (
                        Cut {
                            frames,
                            end: Err(max),
                        },
                        work + feed.work,
                    );
                }
            }
        }
        work += feed.work;
        held = feed.into_held(&shelf);
        assert!(shelf.0.borrow().len() <= 1, "one buffer is enough");
    }
    let rest = held.map_or(Vec::new(), |held| held.rest().to_vec());
    (
        Cut {
            frames,
            end: Ok(rest),
        },
        work,
    )
}

/// The same, naively, on the whole input.
fn model(mut input: &[u8], wants: &[Want], bytes_max: usize) -> Cut {
    let mut frames = Vec::new();
    loop {
        let want = wants[frames.len() % wants.len()];
        let max = bytes_max.min(want.count as usize);
        let taken = match want.kind {
            Kind::Any => unreachable!("depends on the pieces"),
            Kind::Bytes if want.count as usize > bytes_max => {
                return Cut {
                    frames,
                    end: Err(bytes_max as u32),
                };
            }
            Kind::Bytes => (input.len() >= max).then_some((max, max)),
            Kind::Delimiter | Kind::Line => {
                let d = want.delimiter;
                let at = (0..input.len()).find(|&i| input[i..].starts_with(d));
                let line = want.kind == Kind::Line;
                let found = at.map(|at| match line && input[..at].ends_with(b"\r") {
                    true => (at - 1, at + 1),
                    false => (at, at + d.len()),
                });
                let least = found.map_or(
                    (input.len() + 1).saturating_sub(d.len() + line as usize),
                    |(data, _)| data,
                );
                if least > max {
                    return Cut {
                        frames,
                        end: Err(max as u32),
                    };
                }
                found
            }
        };
        let Some((data, whole)) = taken else {
            return Cut {
                frames,
                end: Ok(input.to_vec()),
            };
        };
        frames.push(input[..data].to_vec());
        input = &input[whole..];
    }
}

/// Input with many near-delimiters, and where it is cut.
fn input() -> impl Strategy<Value = (Vec<u8>, Vec<usize>)> {
    let byte = prop_oneof![3 => Just(b'a'), 2 => Just(b'\r'), 2 => Just(b'\n'), 1 => any::<u8>()];
    (
        proptest::collection::vec(byte, 0..300),
        proptest::collection::vec(0usize..300, 0..12),
    )
}

fn pieces<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    cuts.sort_unstable();
    let mut start = 0;
    let mut pieces = Vec::new();
    for cut in cuts.into_iter().chain([input.len()]) {
        if cut > start {
            pieces.push(&input[start..cut]);
            start = cut;
        }
    }
    pieces
}

fn until() -> impl Strategy<Value = Until> {
    prop_oneof![
        (1usize..40).prop_map(Until::Bytes),
        (0usize..60).prop_map(Until::Line),
        (0usize..60).prop_map(|max| Until::Delimiter(b"\r\n", max)),
        (0usize..60).prop_map(|max| Until::Delimiter(b"\r\n\r\n", max)),
        (0usize..60).prop_map(|max| Until::Delimiter(b"a\r\r", max)),
        (0usize..60).prop_map(|max| Until::Delimiter(b"a", max)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn l3_any_split_gives_the_same_frames_and_the_work_is_linear(
        (input, cuts) in input(),
        until in until(),
        bytes_max in 30usize..80,
    ) {
        let want = [Want::from(until)];
        let (cut, work) = cut(&pieces(&input, &cuts), &want, bytes_max);
        prop_assert_eq!(cut, model(&input, &want, bytes_max));
        prop_assert!(work <= input.len(), "each byte is looked at once: {} of {}", work, input.len());
    }

    #[test]
    fn any_split_gives_the_same_frames_when_what_is_waited_for_changes(
        (input, cuts) in input(),
        untils in proptest::collection::vec(until(), 2..5),
    ) {
        let wants: Vec<Want> = untils.into_iter().map(Want::from).collect();
        prop_assert_eq!(cut(&pieces(&input, &cuts), &wants, 60).0, model(&input, &wants, 60));
    }

    #[test]
    fn any_gives_everything_once((input, cuts) in input()) {
        let pieces = pieces(&input, &cuts);
        let (cut, _) = cut(&pieces, &[Until::Any.into()], 0);
        prop_assert_eq!(cut.frames, pieces.iter().map(|piece| piece.to_vec()).collect::<Vec<_>>());
    }
}

/// One byte at a time is the worst case of a search that begins anew with every read.
#[test]
fn l3_a_delimiter_that_drips_in_is_searched_once() {
    let mut input = vec![b'\r'; 100_000];
    input.extend(b"\n");
    let pieces: Vec<&[u8]> = input.chunks(1).collect();
    let (cut, work) = cut(
        &pieces,
        &[Until::Delimiter(b"\r\n", 1 << 20).into()],
        1 << 20,
    );
    assert_eq!(
        (cut.frames.len(), cut.frames[0].len(), work),
        (1, 99_999, input.len())
    );
}

#[test]
fn l3_the_limit_is_checked_before_bytes_are_kept() {
    let shelf = Shelf::default();
    let long = vec![b'x'; 60_000];
    let mut feed = Feed::new(None, &long);
    assert_eq!(
        feed.find(&Until::Line(100).into(), 1 << 20),
        Found::TooLong(100)
    );
    assert!(feed.work <= 102, "no more is searched than may be taken");
    assert!(shelf.0.borrow().is_empty());
    assert_eq!(
        Feed::new(None, b"").find(&Until::Bytes(101).into(), 100),
        Found::TooLong(100)
    );
}

#[test]
fn a_whole_frame_is_not_copied_and_a_begun_one_takes_only_what_it_needs() {
    let shelf = Shelf::default();
    let want = Until::Bytes(4).into();
    let mut feed = Feed::new(None, b"abcdef");
    let range = feed.fresh.as_ptr_range();
    assert!(matches!(feed.find(&want, 100), Found::Frame(_)));
    assert!(range.contains(&feed.front(4).as_ptr()));
    feed.consume(4, &shelf);
    let held = feed.into_held(&shelf);
    let mut feed = Feed::new(held, b"ghijkl");
    assert_eq!(feed.front(4), b"efgh");
    feed.consume(4, &shelf);
    assert!(
        feed.held.is_none() && feed.fresh == b"ijkl",
        "the rest stays where it was read"
    );
    assert_eq!(shelf.0.borrow().len(), 1, "the buffer is free again");
    assert_eq!(feed.front(4), b"ijkl");
    feed.consume(4, &shelf);
    assert!(
        feed.is_empty() && feed.into_held(&shelf).is_none(),
        "an idle connection keeps nothing"
    );
}
