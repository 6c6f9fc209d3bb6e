//! Hot restart: a new process takes the listening sockets over from the old one, and nobody is refused meanwhile.
//!
//! ```text
//! old: bind_control ── accepts ── peer_is_us ── offer ──────────────── reads the answer: drains, or serves on
//! new:                 take ───────────────────── listens ── ready ──┘
//! ```
//!
//! The sockets are shared from the offer on: connections wait in the same queues whichever process accepts, so there is
//! no moment without a listener. The old process goes on serving until it reads the answer [`READY`]; if the stream
//! ends without it, the new process has failed, and nothing has happened. One that waits no longer says [`DISMISSED`]; one
//! that has ended before the answer says nothing, and the new process goes on. Invariant: descriptors that belong to no
//! whole and valid offer are closed here, whatever the other side sends.
//!
//! All of it works outside of a loop: [`take`] blocks, with a bound, and [`offer`] never does.

mod control;
mod message;

pub use control::{Control, bind_control};

use super::inherited::adopt;
use message::{FDS_PER_BATCH_MAX, HEAD_BYTES, Head};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The one byte by which the new process says that it accepts connections.
pub const READY: u8 = b'R';

/// The one byte by which the old process says that it waits no longer and goes on serving.
pub const DISMISSED: u8 = b'D';

/// The byte that carries a batch of descriptors.
const BATCH: u8 = b'F';

/// Offers listening sockets, each with its address in a form that the other side understands, to who connected.
///
/// Works on a blocking or nonblocking stream and never waits: the whole message, some tens of bytes for each listener,
/// must fit into the socket's buffer. After an error the stream is of no use.
///
/// # Errors
/// `InvalidInput` beyond 1024 listeners, or addresses that are too long; `WouldBlock` if the buffer is
/// full; else what the system says, such as `BrokenPipe` when nobody is there any more.
pub fn offer(stream: &UnixStream, listeners: &[(String, BorrowedFd<'_>)]) -> io::Result<()> {
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(stream, true)?;
    let message = message::encode(listeners.iter().map(|(address, _)| address.as_str()))?;
    send(stream, &message, &[])?;
    let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(|(_, fd)| *fd).collect();
    fds.chunks(FDS_PER_BATCH_MAX)
        .try_for_each(|batch| send(stream, &[BATCH], batch))
}

/// Connects to the process that listens at `path` and takes what it offers. `None` if nobody is there: no such file, or
/// one that a process left behind, or a process that ends before it has seen us.
///
/// # Errors
/// `TimedOut` if the offer is not complete within `timeout`; `PermissionDenied` if it is another user's process;
/// `InvalidData` if it is not an offer, or of another version; `UnexpectedEof` if it breaks off. Descriptors that had
/// arrived are closed, and the old process goes on serving.
pub fn take(path: impl AsRef<Path>, timeout: Duration) -> io::Result<Option<Taken>> {
    // Longer than any restart may last, and no overflow.
    let timeout = timeout.clamp(Duration::from_millis(1), Duration::from_secs(24 * 3600));
    let deadline = Instant::now() + timeout;
    let Some(stream) = control::connect(path.as_ref(), timeout)? else {
        return Ok(None);
    };
    if !peer_is_us(&stream) {
        let message = "the process that offers its sockets is another user's";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    stream.set_write_timeout(Some(timeout))?;
    let mut receiver = Receiver {
        stream,
        deadline,
        fds: Vec::new(),
        has_begun: false,
    };
    let listeners = match receiver.offer() {
        // Never accepted: the queue we waited in has closed. Who was accepted and sent away finds the stream at its end.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !receiver.has_begun => {
            return Ok(None);
        }
        offer => offer?,
    };
    Ok(Some(Taken {
        listeners,
        stream: receiver.stream,
    }))
}

/// What was taken over. Dropping it says that the new process has failed: the old one goes on serving.
#[derive(Debug)]
pub struct Taken {
    /// The listening sockets with their addresses, in the order of the offer; nonblocking and close-on-exec. Take them
    /// out before [`ready`](Self::ready), which closes those that are left.
    pub listeners: Vec<(String, OwnedFd)>,
    stream: UnixStream,
}

impl Taken {
    /// Says that this process accepts connections, so that the old one drains and ends. If that has ended already,
    /// nobody needs to hear it: this one goes on.
    ///
    /// # Errors
    /// `TimedOut` if the old process has waited too long, and goes on serving; else what the system says.
    pub fn ready(mut self) -> io::Result<()> {
        #[cfg(target_vendor = "apple")]
        rustix::net::sockopt::set_socket_nosigpipe(&self.stream, true)?;
        match self.stream.write_all(&[READY]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => match self.is_dismissed() {
                true => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the old process has waited too long for this one to serve, and goes on",
                )),
                false => Ok(()),
            },
            told => told,
        }
    }

    /// Whether the old process has closed the stream because it waits no longer.
    fn is_dismissed(&mut self) -> bool {
        let mut last = [0];
        self.stream.set_nonblocking(true).is_ok()
            && self.stream.read(&mut last).is_ok_and(|n| n > 0)
            && last == [DISMISSED]
    }
}

/// Whether the process at the other end runs as the same user. Where the system does not tell (that is known for Linux
/// alone), the mode of the control socket, 0600, has already kept others out, and the answer is yes.
pub fn peer_is_us(stream: &UnixStream) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let us = rustix::process::geteuid();
        rustix::net::sockopt::socket_peercred(stream).is_ok_and(|peer| peer.uid == us)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = stream;
        true
    }
}

/// Sends all bytes, with these descriptors, or fails.
fn send(stream: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_BATCH_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        let fits = control.push(SendAncillaryMessage::ScmRights(fds));
        debug_assert!(fits, "{} descriptors in a batch", fds.len());
    }
    let parts = [IoSlice::new(bytes)];
    let sent = match retry_on_intr(|| sendmsg(stream, &parts, &mut control, SEND_FLAGS)) {
        Err(Errno::AGAIN) => 0,
        sent => sent?,
    };
    if sent < bytes.len() {
        let message = "the socket's buffer is full: the other side does not read the offer";
        return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
    }
    Ok(())
}

#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT;

#[cfg(not(target_vendor = "apple"))]
const RECV_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const RECV_FLAGS: RecvFlags = RecvFlags::empty();

/// The receiving end of an offer; owns every descriptor that has arrived.
struct Receiver {
    stream: UnixStream,
    deadline: Instant,
    fds: Vec<OwnedFd>,
    /// Something has arrived.
    has_begun: bool,
}

impl Receiver {
    fn offer(&mut self) -> io::Result<Vec<(String, OwnedFd)>> {
        let mut head = [0; HEAD_BYTES];
        self.fill(&mut head, 0)?;
        let head = Head::parse(&head)?;
        let mut text = vec![0; head.text_bytes];
        self.fill(&mut text, 0)?;
        let addresses = head.addresses(&text)?;
        let mut batches = vec![0; head.count.div_ceil(FDS_PER_BATCH_MAX)];
        self.fill(&mut batches, head.count)?;
        if self.fds.len() != head.count || batches.iter().any(|&byte| byte != BATCH) {
            return Err(message::invalid(format!(
                "an offer of {} listeners came with {} descriptors",
                head.count,
                self.fds.len()
            )));
        }
        self.fds.iter().try_for_each(adopt)?;
        Ok(addresses.into_iter().zip(self.fds.drain(..)).collect())
    }

    /// Fills the buffer, and collects descriptors that come along, as long as there are at most `fds_max` in all.
    fn fill(&mut self, mut buffer: &mut [u8], fds_max: usize) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.receive(buffer)? {
                0 => {
                    let message = "the old process ended its offer before it was complete";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                }
                n => buffer = &mut buffer[n..],
            }
            if self.fds.len() > fds_max {
                return Err(message::invalid(format!(
                    "{} descriptors arrived where an offer has at most {fds_max}",
                    self.fds.len()
                )));
            }
        }
        Ok(())
    }

    /// One receive, until the deadline.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_late());
        }
        // At least what the option can express, for zero means forever.
        self.stream
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_PER_BATCH_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            recvmsg(
                &self.stream,
                &mut [IoSliceMut::new(buffer)],
                &mut control,
                RECV_FLAGS,
            )
        })
        .map_err(|errno| match io::Error::from(errno) {
            error if error.kind() == io::ErrorKind::WouldBlock => too_late(),
            error => error,
        })?;
        self.has_begun |= received.bytes > 0;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            let message = "descriptors were lost on the way: more than announced, or than this process may open";
            return Err(message::invalid(message.to_owned()));
        }
        Ok(received.bytes)
    }
}

fn too_late() -> io::Error {
    let message = "the old process did not complete its offer in time";
    io::Error::new(io::ErrorKind::TimedOut, message)
}

#[cfg(all(test, not(loom)))]
mod tests;
