//! The keys shared out among workers, each of them a thread with its own loop, its own store and its own clients.
//!
//! A key's hash says which worker holds it (`Sharding`). A command whose keys are all held by its client's own worker
//! is executed there and then, as if there were no others. Any other command travels, in an [`Envelope`], to the
//! [`Shard`] machine of the worker that holds its keys, and its reply comes back the same way. The client's machine
//! goes on with the next command meanwhile; its `Pipeline` puts the replies in order.
//!
//! ```text
//! Client --route--> own store                                 (as with one worker)
//!    |
//!    +--> Pipeline: a slot per command, in order
//!           +--> Lane per other worker --Envelope--> Mesh --> Shard --> its store
//!           +<-------- replies --------Envelope<-- the client's notifier
//! ```
//!
//! # What is promised, and what is not
//!
//! - A client's commands take effect on each worker in the order in which it sent them, and its replies come in that
//!   order. So what one client sees is what it would see with one worker.
//! - A command all of whose keys are on one worker is atomic. `{tags}` in keys bring keys together, as in a Redis
//!   cluster.
//! - A command on keys of several workers (`MSET`, `MGET`, `DEL`, `UNLINK`, `EXISTS`, `TOUCH`) and one on all keys
//!   (`DBSIZE`, `FLUSHALL`, `KEYS`, `INFO`) is done by each worker at its own time: another client may see it half
//!   done. `MSET` is all or nothing on each worker only; if one has no memory left, its error is the reply, and the
//!   others have set their keys. Different from a Redis cluster such commands are not refused: there is none among them
//!   that cannot be parted.
//! - Two commands of one client on keys of different workers may be seen by others in either order, until the reply
//!   to the first has come.
//! - Each worker has an equal part of `maxmemory`.
//! - A worker that dies loses its keys; the others go on. Until it is back, and for what was on its way to it,
//!   commands on its keys are answered with `-CLUSTERDOWN`.
//!
//! # Bounds
//!
//! A client has one envelope with each worker, so an inbox holds at most one message for each client of other workers
//! and one for each envelope of its own. What gathers meanwhile is bounded by `SHARE_BYTES`, what an envelope brings
//! back by the same and one reply more, and the number of commands by [`Limits::awaited_max`](super::Limits::awaited_max);
//! beyond, the client is not read. If an inbox is full all the same, sender and receiver keep the envelope and try
//! again after `RETRY`.

mod answers;
mod envelope;
mod join;
mod lane;
mod machine;
mod parts;
mod pipeline;
mod sharding;
mod workers;

use std::time::Duration;

pub use envelope::Envelope;
pub(super) use join::Join;
pub use machine::Shard;
pub(super) use pipeline::{Means, Pipeline, Sending, Taken};
pub(super) use sharding::Sharding;
pub(super) use workers::Place;
pub use workers::Workers;

/// Reply bytes after which others have their turn: of a client's requests in one dispatch, of an envelope's commands
/// in one journey.
pub(super) const SHARE_BYTES: usize = 64 << 10;
/// After so long an envelope that found an inbox full is sent again.
pub(super) const RETRY: Duration = Duration::from_millis(1);
/// After so long a client looks whether an envelope was lost, and as often as that.
pub(super) const LOOK_AFTER: Duration = Duration::from_secs(1);
