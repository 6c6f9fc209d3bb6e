//! `Arena`: nodes that refer to each other by checked indices, for what is not a tree, or too deep a one.
//!
//! Invariant: in an arena that was decoded, every index of a node of it, to a node of it, is in range. `scope` is how
//! that is seen, whatever the nodes look like.

mod scope;

use scope::Scope;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops;

/// Nodes in a row, which refer to each other by [`Index`]: a graph, cycles and all, or a tree deeper than a program's
/// stack. On the wire it is a sequence of nodes.
///
/// ```
/// use rotor_net::rpc::codec::{self, Arena, Index, Limits};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct City {
///     name: String,
///     roads: Vec<Index<City>>,
/// }
///
/// let mut map = Arena::new();
/// let thebes = map.push(City { name: "Thebes".into(), roads: vec![] });
/// let delphi = map.push(City { name: "Delphi".into(), roads: vec![thebes] });
/// map[thebes].roads.push(delphi);
///
/// let mut bytes = Vec::new();
/// codec::encode(&map, &Limits::DEFAULT, &mut bytes)?;
/// let map: Arena<City> = codec::decode(&bytes, &Limits::DEFAULT)?;
/// let road = map[thebes].roads[0];
/// assert_eq!(map[road].name, "Delphi");
/// # Ok::<(), codec::CodecError>(())
/// ```
///
/// # What is checked
///
/// An `Index<T>` inside a node of an `Arena<T>` belongs to that arena (to the innermost, if such arenas nest). If one of
/// them is out of range the arena is refused, when it is decoded and when it is encoded, with any format of serde. So
/// following them cannot fail. What is not known is which arena an `Index<T>` belongs to that travels **outside** of
/// any `Arena<T>`: beside one, say, as the root of a tree. Look such a one up with [`get`](Self::get). (Where the root is
/// the node that was pushed last, [`last`](Self::last) needs no index.)
///
/// Indices say nothing about cycles. Code that follows those of a peer counts its steps or marks where it has been.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arena<T> {
    nodes: Vec<T>,
}

/// The place of a node in its [`Arena`]. Four bytes.
pub struct Index<T> {
    at: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Arena<T> {
    /// An empty arena.
    pub const fn new() -> Self {
        Self { nodes: Vec::new() }
    }

    /// Adds a node and says where it is.
    ///
    /// # Panics
    /// If there are 2^32 nodes already.
    pub fn push(&mut self, node: T) -> Index<T> {
        let index = Index::at(self.nodes.len()).expect("an arena has at most 2^32 nodes");
        self.nodes.push(node);
        index
    }

    /// The node at an index. `None` if the index is of another, larger arena.
    #[inline]
    pub fn get(&self, index: Index<T>) -> Option<&T> {
        self.nodes.get(index.position())
    }

    /// The same, to change it.
    #[inline]
    pub fn get_mut(&mut self, index: Index<T>) -> Option<&mut T> {
        self.nodes.get_mut(index.position())
    }

    /// Where the node is that was added last. By convention that is a tree's root: it is made after what it is
    /// made of.
    pub fn last(&self) -> Option<Index<T>> {
        Index::at(self.nodes.len().checked_sub(1)?)
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes with their indices, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Index<T>, &T)> + DoubleEndedIterator {
        // A position in an arena fits.
        let indexed = |(at, node)| (Index::new(at as u32), node);
        self.nodes.iter().enumerate().map(indexed)
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// # Panics
/// If the index is of another, larger arena.
impl<T> ops::Index<Index<T>> for Arena<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: Index<T>) -> &T {
        &self.nodes[index.position()]
    }
}

/// # Panics
/// If the index is of another, larger arena.
impl<T> ops::IndexMut<Index<T>> for Arena<T> {
    #[inline]
    fn index_mut(&mut self, index: Index<T>) -> &mut T {
        &mut self.nodes[index.position()]
    }
}

impl<T: Serialize + 'static> Serialize for Arena<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let scope = Scope::of::<T>();
        let done = self.nodes.serialize(serializer)?;
        scope.check(self.nodes.len()).map_err(ser::Error::custom)?;
        Ok(done)
    }
}

impl<'de, T: Deserialize<'de> + 'static> Deserialize<'de> for Arena<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let scope = Scope::of::<T>();
        let nodes = Vec::deserialize(deserializer)?;
        scope.check(nodes.len()).map_err(de::Error::custom)?;
        Ok(Self { nodes })
    }
}

impl<T> Index<T> {
    fn new(at: u32) -> Self {
        Self {
            at,
            of: PhantomData,
        }
    }

    fn at(position: usize) -> Option<Self> {
        u32::try_from(position).ok().map(Self::new)
    }

    /// How many nodes were added before it.
    #[inline]
    pub fn position(self) -> usize {
        self.at as usize
    }
}

impl<T: 'static> Serialize for Index<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        scope::saw::<T>(self.at);
        self.at.serialize(serializer)
    }
}

impl<'de, T: 'static> Deserialize<'de> for Index<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at = u32::deserialize(deserializer)?;
        scope::saw::<T>(at);
        Ok(Self::new(at))
    }
}

// Derived ones would ask for the same of `T`.

impl<T> Clone for Index<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Index<T> {}

impl<T> PartialEq for Index<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Index<T> {}

impl<T> PartialOrd for Index<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Index<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl<T> Hash for Index<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.at.hash(state);
    }
}

impl<T> fmt::Debug for Index<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.at)
    }
}
