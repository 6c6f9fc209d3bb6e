//! `Scope`: which indices are met while an arena's nodes are encoded or decoded.
//!
//! Serde hands nothing down to the parts of a value, so what the parts are to tell their arena goes through a variable
//! of the thread. Invariant: it lists the arenas that are being worked on, outermost first; each [`Scope`] takes its
//! entry back when it is dropped, also on an error or a panic.

use std::any::TypeId;
use std::cell::RefCell;
use std::fmt;

thread_local! {
    static OPEN: RefCell<Vec<Open>> = const { RefCell::new(Vec::new()) };
}

/// An arena that is being worked on.
struct Open {
    nodes_of: TypeId,
    largest_seen: Option<u32>,
}

/// The entry of one arena.
pub(super) struct Scope {
    place: usize,
}

/// An index that its arena does not have.
#[derive(Debug)]
pub(super) struct OutOfRange {
    index: u32,
    len: usize,
}

/// An index of a node of this type was met: the innermost arena of such nodes, if there is one, is to know.
pub(super) fn saw<T: 'static>(index: u32) {
    OPEN.with_borrow_mut(|open| {
        let nodes_of = TypeId::of::<T>();
        let mut inwards = open.iter_mut().rev();
        if let Some(arena) = inwards.find(|arena| arena.nodes_of == nodes_of) {
            arena.largest_seen = arena.largest_seen.max(Some(index));
        }
    });
}

impl Scope {
    /// Begins that of an arena of such nodes.
    pub(super) fn of<T: 'static>() -> Self {
        OPEN.with_borrow_mut(|open| {
            open.push(Open {
                nodes_of: TypeId::of::<T>(),
                largest_seen: None,
            });
            Self {
                place: open.len() - 1,
            }
        })
    }

    /// Says whether an arena of so many nodes has all indices that were met.
    pub(super) fn check(&self, len: usize) -> Result<(), OutOfRange> {
        let largest_seen = OPEN.with_borrow(|open| open[self.place].largest_seen);
        match largest_seen {
            Some(index) if index as usize >= len => Err(OutOfRange { index, len }),
            _ => Ok(()),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        OPEN.with_borrow_mut(|open| open.truncate(self.place));
    }
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an arena of {} nodes has no node {}, to which one of them refers",
            self.len, self.index
        )
    }
}
