//! What takes a while, each as a fiber: it reads as what it does, and waits for the thread pool and for the peer by turns,
//! so neither holds more than a piece at a time.
//!
//! What is open is closed on the thread pool, too: an upload that is given up is removed then. Only of a fiber that is made
//! to end, when the server does and the grace is over, the loop's thread closes and removes it.

use super::name::Name;
use super::refusal::Refusal;
use super::root;
use super::serve::Shared;
use super::service::Piece;
use super::upload::Upload;
use super::walk::{Entry, Walk};
use bytes::Bytes;
use rotor_fsm::Error;
use rotor_net::fiber::{Cx, FiberError};
use rotor_net::rpc::{CallError, ItemReceiver, ItemSender, Reply, SendItemError};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a file that are read and sent at a time: an item may not be longer than the peer's window, and this fits also
/// into a small one.
pub const PIECE_BYTES: u64 = 32 << 10;

/// A stream of answers.
pub type Items<T> = ItemSender<Result<T, Refusal>>;

/// Why a transfer ends early.
enum Stop {
    Refused(Refusal),
    /// The client has left, or cancelled.
    Gone,
    /// Something is wrong with the call, and the client is to be told.
    Call(CallError),
    Failed(Error),
}

/// Sends all files of the directory.
///
/// # Errors
/// If the fiber is asked to finish.
pub fn list_all(cx: &Cx<'_, Shared>, mut items: Items<Vec<Entry>>) -> Result<(), Error> {
    let sent = send_list(cx, &mut items);
    conclude(cx, items, sent)
}

fn send_list(cx: &Cx<'_, Shared>, items: &mut Items<Vec<Entry>>) -> Result<(), Stop> {
    let (root, idle) = cx.with_context(|shared| (shared.root.clone(), shared.idle))?;
    let mut walk = cx.work(move || Walk::new(&root))??;
    while let Some((rest, batch)) = cx.work(move || next(walk))?? {
        walk = rest;
        if !batch.is_empty()
            && let Err(why) = items.send_in(&cx.within(idle), Ok(batch))
        {
            cx.work(move || drop(walk))?;
            return Err(why.into());
        }
    }
    Ok(())
}

/// The next batch and the walk that goes on; where there is none, the walk has ended, on this thread.
fn next(mut walk: Walk) -> Result<Option<(Walk, Vec<Entry>)>, Refusal> {
    Ok(walk.batch()?.map(|batch| (walk, batch)))
}

/// Sends a file.
///
/// # Errors
/// If the fiber is asked to finish.
pub fn get(
    cx: &Cx<'_, Shared>,
    name: Name,
    offset: u64,
    mut items: Items<Piece>,
) -> Result<(), Error> {
    let sent = send_file(cx, name, offset, &mut items);
    conclude(cx, items, sent)
}

fn send_file(
    cx: &Cx<'_, Shared>,
    name: Name,
    offset: u64,
    items: &mut Items<Piece>,
) -> Result<(), Stop> {
    let (root, idle) = cx.with_context(|shared| (shared.root.clone(), shared.idle))?;
    let (file, size) = cx.work(move || root.file(&name))??;
    let file = Arc::new(file);
    let sent = send_pieces(cx, idle, &file, offset..size, items);
    cx.work(move || drop(file))?;
    sent
}

fn send_pieces(
    cx: &Cx<'_, Shared>,
    idle: Duration,
    file: &Arc<File>,
    part: Range<u64>,
    items: &mut Items<Piece>,
) -> Result<(), Stop> {
    let (mut at, size) = (part.start, part.end);
    items.send_in(&cx.within(idle), Ok(Piece::Size(size)))?;
    while at < size {
        let file = file.clone();
        let bytes = (size - at).min(PIECE_BYTES);
        let piece = cx.work(move || root::read_at(&file, at, bytes as usize))??;
        at += bytes;
        items.send_in(&cx.within(idle), Ok(Piece::Bytes(piece.into())))?;
    }
    Ok(())
}

/// Ends a stream of items as the transfer has ended.
fn conclude<T: Send + Sync + 'static>(
    cx: &Cx<'_, Shared>,
    mut items: Items<T>,
    sent: Result<(), Stop>,
) -> Result<(), Error> {
    match sent {
        Ok(()) => {}
        Err(Stop::Refused(why)) => {
            let idle = cx.with_context(|shared| shared.idle)?;
            // The client may have left.
            let _ = items.send_in(&cx.within(idle), Err(why));
        }
        Err(Stop::Gone) => return Ok(()),
        Err(Stop::Call(why)) => {
            items.fail(why);
            return Ok(());
        }
        Err(Stop::Failed(error)) => return Err(error),
    }
    let _ = items.end();
    Ok(())
}

/// Receives a file.
///
/// # Errors
/// If the fiber is asked to finish.
pub fn put(
    cx: &Cx<'_, Shared>,
    name: Name,
    may_replace: bool,
    mut chunks: ItemReceiver<Bytes>,
    reply: Reply<Result<u64, Refusal>>,
) -> Result<(), Error> {
    match receive_file(cx, name, may_replace, &mut chunks) {
        Ok(bytes) => reply.ok(Ok(bytes)),
        Err(Stop::Refused(why)) => reply.ok(Err(why)),
        Err(Stop::Gone) => {}
        Err(Stop::Call(why)) => reply.fail(why),
        Err(Stop::Failed(error)) => return Err(error),
    }
    Ok(())
}

fn receive_file(
    cx: &Cx<'_, Shared>,
    name: Name,
    may_replace: bool,
    chunks: &mut ItemReceiver<Bytes>,
) -> Result<u64, Stop> {
    let (root, idle, bytes_max) =
        cx.with_context(|shared| (shared.root.clone(), shared.idle, shared.upload_bytes_max))?;
    let mut upload = cx.work(move || Upload::begin(&root, &name, may_replace, bytes_max))??;
    loop {
        match chunks.next_in(&cx.within(idle)) {
            // If that fails the upload is gone, and removed by the thread that tried.
            Some(Ok(chunk)) => {
                upload = cx.work(move || upload.write(&chunk).map(|()| upload))??;
            }
            Some(Err(why)) => {
                cx.work(move || drop(upload))?;
                return Err(why.into());
            }
            None => return Ok(cx.work(move || upload.store())??),
        }
    }
}

/// The client neither leaves nor goes on, for longer than it may.
fn too_idle() -> CallError {
    CallError::Remote("nothing moved for too long".into())
}

impl From<Refusal> for Stop {
    fn from(why: Refusal) -> Self {
        Self::Refused(why)
    }
}

impl From<FiberError> for Stop {
    fn from(error: FiberError) -> Self {
        match error {
            // Only jobs are asked of the system here, and there are too many.
            FiberError::Io(_) => Self::Refused(Refusal::Busy),
            other => Self::Failed(other.into()),
        }
    }
}

/// The end of a stream of chunks.
impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        match error {
            CallError::TimedOut => Self::Call(too_idle()),
            _ => Self::Gone,
        }
    }
}

impl<T> From<SendItemError<T>> for Stop {
    fn from(error: SendItemError<T>) -> Self {
        match error {
            SendItemError::NoCredit(_) => Self::Call(too_idle()),
            SendItemError::Refused(CallError::Cancelled) => {
                Self::Failed(FiberError::Cancelled.into())
            }
            // Such as an item that is longer than the client's window.
            SendItemError::Refused(why) => Self::Call(why),
            _ => Self::Gone,
        }
    }
}
