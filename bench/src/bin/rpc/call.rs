//! The call that all systems serve: the same request of 40 bytes, the same work, the same reply.

use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};

/// What a client may ask of a store of files. The call that is measured is `Get`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Request {
    List,
    Get { name: String, offset: u64, len: u32 },
    Delete(String),
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Reply {
    Names(Vec<String>),
    Piece { name: String, end: u64, mode: u32 },
    Deleted(bool),
}

/// The request that every client sends.
pub fn request() -> Request {
    Request::Get {
        name: "reports/2026/summary.txt".into(),
        offset: 1 << 62,
        len: 1 << 28,
    }
}

/// What every server does with a request: next to nothing, so that the way there and back is what is measured.
#[inline]
pub fn answer(request: Request) -> Reply {
    match request {
        Request::List => Reply::Names(Vec::new()),
        Request::Get { name, offset, len } => Reply::Piece {
            name,
            end: offset.saturating_add(u64::from(len)),
            mode: MODE,
        },
        Request::Delete(name) => Reply::Deleted(!name.is_empty()),
    }
}

/// Five bytes when encoded, as the length of a piece.
pub const MODE: u32 = 1 << 28;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_and_reply_have_the_size_that_is_compared() {
        assert_eq!(postcard::to_stdvec(&request()).unwrap().len(), 40);
        assert_eq!(postcard::to_stdvec(&answer(request())).unwrap().len(), 40);
    }
}
