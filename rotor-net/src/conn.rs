//! `Conn`: all that a protocol's handler may do besides answering its intent.

use crate::{Limits, Protocol, Stream, StreamSeed};
use rotor_fsm::{
    Addr, Full, IoError, IoErrorKind, MachineId, Notifier, Output, Own, Result, Spawned, Time,
    Waker,
};
use std::fmt;
use std::time::Duration;

/// A connection, as its protocol's handlers see it. `ctx` and `out` are fields, so that they borrow separately.
#[non_exhaustive]
pub struct Conn<'a, P: Protocol> {
    /// What all machines of this loop share.
    pub ctx: &'a mut P::Context,
    /// What is written here leaves when the dispatch ends, in one write.
    pub out: Out<'a>,
    pub(crate) own: Own<'a, Stream<P>>,
    pub(crate) rest: &'a [u8],
    pub(crate) limits: &'a Limits,
}

impl<P: Protocol> Conn<'_, P> {
    /// Sends messages to this protocol. Allocates where the stream is a part of a composed machine.
    pub fn notifier(&self) -> Notifier<P::Message> {
        self.own.notifier()
    }

    /// Wakes this protocol from any thread, without a message: [`Protocol::woken`] is called then. Each call makes a
    /// waker of its own, which allocates; keep it, and clone it.
    pub fn waker(&self) -> Waker {
        self.own.waker()
    }

    /// The stream machine's id.
    pub fn id(&self) -> MachineId {
        self.own.id()
    }

    /// The other side's address. Asks the system.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn peer(&self) -> Result<Addr, IoError> {
        self.out.output.peer_addr()
    }

    /// This side's address. Asks the system.
    ///
    /// # Errors
    /// If the connection is gone already.
    pub fn local(&self) -> Result<Addr, IoError> {
        self.out.output.local_addr()
    }

    /// Probes the peer when the connection has been idle this long (whole seconds), or never: a host that is gone
    /// without a word is noticed so. TCP only.
    ///
    /// # Errors
    /// If the connection is gone already, or the system refuses.
    pub fn set_keepalive(&mut self, after: Option<Duration>) -> Result<(), IoError> {
        self.out.output.set_keepalive(after)
    }

    /// The limits of this stream.
    pub fn limits(&self) -> &Limits {
        self.limits
    }

    /// The time, read at most once a turn of the loop.
    pub fn now(&mut self) -> Time {
        self.out.output.now()
    }

    /// 64 random bits, not for secrets; in the simulator they follow from the seed.
    pub fn random(&mut self) -> u64 {
        self.out.output.random()
    }

    /// Makes another stream with the same protocol, such as a connection to another peer
    /// ([`Streams::connect`](crate::Streams::connect)).
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the loop has no room for it or shuts down.
    pub fn spawn(&self, seed: StreamSeed<P>) -> Result<Spawned<Stream<P>>, Full<StreamSeed<P>>> {
        self.own.spawn(seed)
    }

    /// Runs `job` on the thread pool, then `then` on this thread; what that returns arrives as this protocol's
    /// message. A job that has not begun when the stream ends is cancelled. Allocates.
    ///
    /// # Errors
    /// A limit error if too many jobs are out.
    pub fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(T) -> P::Message + 'static,
    ) -> Result<(), IoError> {
        self.own.work(&mut self.out.output, job, then)
    }

    /// Shuts the loop down when this dispatch ends.
    pub fn shutdown(&mut self, grace: Duration) {
        self.own.shutdown(grace);
    }

    /// In [`eof`](Protocol::eof) and [`failed`](Protocol::failed): what had arrived of a frame that will never be
    /// complete. Empty elsewhere.
    pub fn rest(&self) -> &[u8] {
        self.rest
    }

    /// Takes it apart, for layers built on protocols: the pieces borrow separately, all for the same time.
    #[cfg(any(test, feature = "rpc"))]
    pub(crate) fn split(&mut self) -> (&mut P::Context, Out<'_>, Own<'_, Stream<P>>) {
        (self.ctx, self.out.reborrow(), self.own)
    }
}

/// The output of a connection.
pub struct Out<'a> {
    pub(crate) output: Output<'a>,
    pub(crate) bytes_max: usize,
}

impl Out<'_> {
    /// The same for a shorter time, as a `&mut` of a `&mut`.
    pub fn reborrow(&mut self) -> Out<'_> {
        Out {
            output: self.output.reborrow(),
            bytes_max: self.bytes_max,
        }
    }

    /// Takes all of `bytes`, or none. After a write has failed, what is written is thrown away: that failure arrives
    /// as an event (see [`Protocol::failed`]).
    ///
    /// # Errors
    /// `Limit` if more than [`Limits::output_bytes_max`](crate::Limits::output_bytes_max) would wait: a handler that
    /// passes it on with `?` cuts a peer that reads too slowly. `ShutDown` after
    /// [`Intent::end_output`](crate::Intent::end_output).
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        match self.output.write_within(bytes, self.bytes_max) {
            Err(error) if error.kind() == IoErrorKind::Closed => Ok(()),
            other => other,
        }
    }

    /// For `write!(conn.out, …)?`. At a limit, the pieces that fit stay written.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> Result<(), IoError> {
        let mut pieces = Pieces {
            out: self,
            error: None,
        };
        // Only our own `write_str` fails; a `Display` that does so by itself writes nothing more.
        let _ = fmt::write(&mut pieces, args);
        pieces.error.map_or(Ok(()), Err)
    }

    /// Bytes written that have not been handed to the kernel.
    #[inline]
    pub fn queued(&mut self) -> usize {
        self.output.peek_queued()
    }
}

/// Formatted text on its way to the output.
struct Pieces<'a, 'b> {
    out: &'a mut Out<'b>,
    error: Option<IoError>,
}

impl fmt::Write for Pieces<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.write(text.as_bytes()).map_err(|error| {
            self.error = Some(error);
            fmt::Error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Accept, AcceptSeed, Input, Intent, Limits, Service, Streams};
    use rotor_fsm::sim::check;
    use rotor_fsm::{Config, Never};

    /// What a layer hands to its own handlers: one lifetime for all.
    struct Taken<'c> {
        ctx: &'c mut u32,
        out: Out<'c>,
        own: Own<'c, Stream<Layered>>,
    }

    fn answer(taken: &mut Taken<'_>) -> Result<()> {
        *taken.ctx += 1;
        taken.out.reborrow().write(b"one ")?;
        let id = taken.own.id();
        assert_eq!(
            (taken.own.waker().id(), taken.own.notifier().id()),
            (id, id)
        );
        Ok(taken.out.write(b"two ")?)
    }

    struct Layered;

    impl Protocol for Layered {
        type Context = u32;
        type Message = Never;
        type Seed = ();

        fn create((): (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
            // As often as one likes, and the connection is whole again after.
            for _ in 0..2 {
                let (ctx, out, own) = conn.split();
                let mut taken = Taken { ctx, out, own };
                answer(&mut taken)?;
                answer(&mut taken)?;
            }
            assert_eq!(*conn.ctx, 4);
            conn.out.write(b"end")?;
            Ok(Intent::done())
        }

        fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
            Ok(Intent::of(self))
        }
    }

    #[test]
    fn a_connection_taken_apart_is_still_one() {
        check(0..3, |sim| {
            let at = Addr::Tcp(([127, 0, 0, 1], 7).into());
            let (listens, streams) = (at.clone(), Streams::new(Limits::default()));
            let server = sim.add::<Service<Layered>>(Config::default(), move |setup| {
                let seed = AcceptSeed::new(listens, &streams, &setup.spawner(), |_| ());
                setup.add::<Accept<Layered>>(seed)?;
                Ok(0)
            });
            let server = server.expect("the server starts");
            sim.run_for(Duration::from_millis(1));
            let peer = sim.connect(at);
            sim.run_for(Duration::from_secs(1));
            let expected = format!("{}end", "one two ".repeat(4));
            assert_eq!(&*sim.received(peer), expected.as_bytes());
            assert_eq!(sim.stats(&server).panics, 0);
        });
    }
}
