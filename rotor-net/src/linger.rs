//! Lingering: what a stream does after its protocol has ended (L4).
//!
//! Output that was accepted leaves, then our FIN; what the peer still sends is read and thrown away until it closes
//! too. Closing right away with unread input would reset the connection, and the peer would lose output that it has
//! not read yet. A time and a byte limit end it in any case.

use crate::link::{EOF, FIN_SENT, Link, OUTPUT_ENDED, OUTPUT_FAILED, READING};
use rotor_fsm::{Error, Io, Machine, Result, Scope};

/// Why the protocol ended, and how much was thrown away since.
pub(crate) struct Lingering {
    error: Option<Error>,
    discarded_bytes: u32,
}

impl Lingering {
    /// Begins, or answers how the machine ends where there is nothing to linger for: a connection that is broken, or
    /// one whose both sides are done.
    pub fn begin<M: Machine>(
        mut link: Link,
        error: Option<Error>,
        scope: &mut Scope<'_, M>,
    ) -> Result<(Link, Self), Result<()>> {
        let lingering = Self {
            error,
            discarded_bytes: 0,
        };
        let has_output = scope.parts(&link.socket).out.peek_queued() > 0;
        let is_read = link.flags & EOF != 0;
        if link.flags & OUTPUT_ENDED == 0 && (has_output || !is_read) {
            link.end_output(scope);
        }
        if link.flags & OUTPUT_FAILED != 0 || (is_read && !has_output) {
            return Err(lingering.result());
        }
        if link.flags & (EOF | READING) == 0 {
            link.read(true, scope);
        }
        Ok((link, lingering))
    }

    /// An event while lingering. `Some` is the end.
    pub fn io(&mut self, link: &mut Link, event: &Io<'_>) -> Option<Result<()>> {
        match event {
            Io::Read(bytes) => {
                let so_far = self.discarded_bytes as usize + bytes.len();
                self.discarded_bytes = u32::try_from(so_far).unwrap_or(u32::MAX);
                if so_far > link.ticket.streams().limits().linger_bytes_max {
                    return Some(self.take_result());
                }
            }
            Io::Eof => link.flags |= EOF,
            Io::ShutDown => link.flags |= FIN_SENT,
            // Whichever side failed: output goes nowhere, so there is no reason to stay.
            Io::Failed(_) => return Some(self.take_result()),
            _ => {}
        }
        let both = EOF | FIN_SENT;
        (link.flags & both == both).then(|| self.take_result())
    }

    /// How the machine ends: as its protocol did.
    pub fn result(mut self) -> Result<()> {
        self.take_result()
    }

    fn take_result(&mut self) -> Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
}
