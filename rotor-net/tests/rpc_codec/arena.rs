//! Arenas: their indices are checked, whatever the nodes look like and however arenas nest.

use crate::rich::Node;
use crate::{decoded, encoded, varint};
use proptest::prelude::*;
use rotor_net::rpc::codec::{Arena, CodecError, Index};
use serde::{Deserialize, Serialize};

/// A list of so many cells, which would be too deep as boxes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Cell {
    value: u32,
    next: Option<Index<Cell>>,
}

#[test]
fn a_chain_of_a_hundred_thousand_nodes_travels() {
    let mut cells = Arena::new();
    for value in 0..100_000 {
        let next = cells.last();
        cells.push(Cell { value, next });
    }
    let cells: Arena<Cell> = decoded(&encoded(&cells).unwrap()).unwrap();
    let mut at = cells.last();
    for value in (0..100_000).rev() {
        let cell = &cells[at.expect("there is another")];
        assert_eq!(cell.value, value);
        at = cell.next;
    }
    assert_eq!(at, None);
}

#[test]
fn nodes_are_found_and_changed_by_index() {
    let mut arena = Arena::default();
    assert!(arena.is_empty() && arena.last().is_none());
    let a = arena.push("a");
    let b = arena.push("b");
    assert_eq!((arena[a], arena.get(b), arena.len()), ("a", Some(&"b"), 2));
    assert_eq!((a.position(), arena.last()), (0, Some(b)));
    arena[a] = "c";
    *arena.get_mut(b).unwrap() = "d";
    assert_eq!(arena.iter().collect::<Vec<_>>(), [(a, &"c"), (b, &"d")]);
    assert_eq!(Arena::<&str>::new().get(a), None);
    assert!(a < b && a == Clone::clone(&a) && format!("{b:?}") == "#1");
}

fn out_of_range(error: CodecError) -> bool {
    matches!(&error, CodecError::Custom(text) if text.contains("to which one of them refers"))
}

#[test]
fn an_index_out_of_range_is_refused() {
    // Two cells, of which the second names another.
    for (next, is_in_range) in [(0, true), (1, true), (2, false), (u32::MAX.into(), false)] {
        let bytes = [vec![2, 7, 0, 8, 1], varint(next)].concat();
        match decoded::<Arena<Cell>>(&bytes) {
            Ok(cells) => assert!(is_in_range && cells.len() == 2),
            Err(error) => {
                let text =
                    format!("an arena of 2 nodes has no node {next}, to which one of them refers");
                assert_eq!(error, CodecError::Custom(text.into()));
                assert!(!is_in_range);
            }
        }
    }
}

#[test]
fn an_index_out_of_range_is_not_encoded() {
    let mut large = Arena::new();
    let first = large.push(Cell {
        value: 1,
        next: None,
    });
    let second = large.push(Cell {
        value: 2,
        next: None,
    });
    let mut small = Arena::new();
    small.push(Cell {
        value: 3,
        next: Some(first),
    });
    assert!(encoded(&small).is_ok());
    small.push(Cell {
        value: 4,
        next: Some(second),
    });
    let mut smaller = Arena::new();
    smaller.push(Cell {
        value: 5,
        next: Some(second),
    });
    assert!(encoded(&small).is_ok());
    assert!(encoded(&smaller).is_err_and(out_of_range));
}

/// An arena of one type inside an arena of another, whose nodes refer to both, and to a third that is elsewhere.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Function {
    blocks: Arena<Block>,
    calls: Vec<Index<Function>>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Block {
    next: Vec<Index<Block>>,
    calls: Vec<Index<Function>>,
    of_type: Vec<Index<Cell>>,
}

fn function(blocks: usize, next: u32, calls: u32) -> Vec<u8> {
    let block = [
        &[1][..],
        &varint(next.into()),
        &[1],
        &varint(calls.into()),
        &[1, 99],
    ]
    .concat();
    [varint(blocks as u64), block.repeat(blocks), vec![0]].concat()
}

#[test]
fn an_index_belongs_to_the_innermost_arena_of_its_type() {
    let program = |functions: &[Vec<u8>]| {
        let bytes = [varint(functions.len() as u64), functions.concat()].concat();
        decoded::<Arena<Function>>(&bytes)
    };
    // Indices of cells are of an arena that is not here, and nobody's business.
    assert!(program(&[function(3, 2, 0)]).is_ok());
    assert!(program(&[function(3, 3, 0)]).is_err_and(out_of_range));
    // An inner arena is over when its function is: the next one's is another.
    assert!(program(&[function(3, 2, 1), function(1, 0, 0)]).is_ok());
    assert!(program(&[function(3, 2, 1), function(1, 2, 0)]).is_err_and(out_of_range));
    // From inside a block to the outer arena.
    assert!(program(&[function(9, 8, 1), function(1, 0, 1)]).is_ok());
    assert!(program(&[function(9, 8, 2), function(1, 0, 1)]).is_err_and(out_of_range));
}

/// An arena inside a node of another of the same type.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Crate {
    inside: Option<Arena<Crate>>,
    beside: Vec<Index<Crate>>,
}

#[test]
fn an_inner_arena_of_the_same_type_hides_the_outer_one_until_it_ends() {
    // Three crates, the first with a crate in it.
    let crates = |inner: u8, outer: u8| {
        decoded::<Arena<Crate>>(&[3, 1, 1, 0, 1, inner, 1, outer, 0, 0, 0, 0])
    };
    assert!(crates(0, 2).is_ok());
    assert!(crates(1, 2).is_err_and(out_of_range));
    assert!(crates(0, 3).is_err_and(out_of_range));
}

#[test]
fn an_arena_that_failed_leaves_nothing_behind() {
    let truncated = [2, 7, 1, 90];
    assert_eq!(
        decoded::<Arena<Cell>>(&truncated),
        Err(CodecError::Truncated)
    );
    let fine = [1, 7, 1, 0];
    assert!(decoded::<Arena<Cell>>(&fine).is_ok());
    // One beside an arena is known to nobody, so `get` is how to look it up.
    let (cells, root): (Arena<Cell>, Index<Cell>) = decoded(&[1, 7, 0, 5]).unwrap();
    assert_eq!(cells.get(root), None);
}

proptest! {
    #[test]
    fn a_decoded_arena_can_be_followed(bytes in proptest::collection::vec(0_u8..8, 0..64)) {
        if let Ok(graph) = decoded::<Arena<Node>>(&bytes) {
            for (_, node) in graph.iter() {
                prop_assert!(node.edges.iter().all(|&edge| graph.get(edge).is_some()));
            }
        }
    }
}
