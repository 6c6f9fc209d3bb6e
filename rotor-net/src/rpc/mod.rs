//! Typed calls between programs: the type of a reply belongs to the type of its request.
//!
//! Whatever a peer sends, it gets at most a named error for it, and the memory that it makes this program take stays
//! inside a budget. That begins with how values become bytes and bytes become values, which is [`codec`].

pub mod codec;
