//! Frames as they come, and which does what.

use super::super::CallError;
use super::super::error::{SessionError, words};
use super::super::frame::{CallId, Front, Header, Kind, front};
use super::super::serve::Serve;
use super::open::Open;
use super::{Read, Session};
use crate::Conn;

/// Frames that are read before others have their turn: well under a millisecond of ordinary handlers.
const FRAMES_PER_DISPATCH: usize = 256;

pub(super) fn unexpected(kind: Kind) -> SessionError {
    SessionError::Unexpected { frame: kind.name() }
}

impl<S: Serve> Session<S> {
    /// Reads whole frames, as many as are to be read now.
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &[u8],
        conn: &mut Conn<'_, Self>,
    ) -> Result<Read, SessionError> {
        let Some(open) = &mut self.open else {
            return Ok(Read::Part(input.len()));
        };
        open.is_heard = true;
        open.has_desk = open.shared().enter(open.next_sequence, open.had_calls);
        let high_bytes = open.shared().bounds.high_bytes;
        let mut left = input;
        for _ in 0..FRAMES_PER_DISPATCH {
            match front(left, self.setup.per_call.frame_bytes_max)? {
                Front::Frame(header, body, rest) => {
                    let waiting_bytes = self.frame(header, body, conn)?;
                    left = rest;
                    if left.is_empty() {
                        return Ok(Read::All);
                    }
                    if waiting_bytes > high_bytes {
                        break;
                    }
                }
                Front::Partial(_) => return Ok(Read::Part(left.len())),
            }
        }
        Ok(Read::Enough(left.len()))
    }

    /// Answers how much output waits, as far as that is known.
    #[inline]
    fn frame(
        &mut self,
        header: Header,
        body: &[u8],
        conn: &mut Conn<'_, Self>,
    ) -> Result<usize, SessionError> {
        let Self {
            service,
            setup,
            open: Some(open),
            ..
        } = self
        else {
            return Err(unexpected(header.kind));
        };
        match header.kind {
            Kind::Call | Kind::OneWay => open.call(header, body, service, setup, conn),
            other => open.rare(other, header, body).map(|()| 0),
        }
    }
}

/// All frames but calls.
impl Open {
    #[inline(never)]
    fn rare(&mut self, kind: Kind, header: Header, body: &[u8]) -> Result<(), SessionError> {
        match kind {
            Kind::Item | Kind::End | Kind::Credit | Kind::Cancel => {
                if !self.has_begun(header.id) {
                    return Err(unexpected(kind));
                }
                self.of_call(kind, header.id, body)
            }
            Kind::Ping => {
                self.shared()
                    .say(Header::new(Kind::Pong, CallId::default()), &[]);
                Ok(())
            }
            Kind::Pong => Ok(()),
            Kind::CloseStarted => {
                self.has_last_call = true;
                Ok(())
            }
            Kind::Goodbye => Err(SessionError::Goodbye(words(body))),
            Kind::Hello | Kind::Welcome | Kind::Reply | Kind::Fail => Err(unexpected(kind)),
            // Handled before.
            Kind::Call | Kind::OneWay => Err(unexpected(kind)),
        }
    }

    /// Whether this call was made on this connection, lately enough to be told from one of the future.
    fn has_begun(&self, id: CallId) -> bool {
        let age = self.next_sequence.wrapping_sub(id.sequence);
        (1..=u32::MAX / 2).contains(&age)
    }

    /// A frame of a call that has begun. If the call is over by now, the frame is late, and no fault.
    fn of_call(&mut self, kind: Kind, id: CallId, body: &[u8]) -> Result<(), SessionError> {
        let shared = self.shared();
        match kind {
            Kind::Item => match shared.inflow(id) {
                (_, Some(inflow)) => inflow
                    .push(body)
                    .map_err(|_| SessionError::CreditExceeded { slot: id.slot }),
                (true, None) => Err(unexpected(kind)),
                (false, None) => Ok(()),
            },
            Kind::End => match shared.end_input(id) {
                (_, Some(inflow)) => {
                    inflow.end(Ok(()));
                    Ok(())
                }
                (true, None) => Err(unexpected(kind)),
                (false, None) => Ok(()),
            },
            Kind::Credit => match (shared.outflow(id), body.try_into()) {
                (_, Err(_)) => Err(SessionError::BadFrame {
                    what: "credit in four bytes",
                }),
                ((_, Some(outflow)), Ok(bytes)) => {
                    outflow.credit(u32::from_le_bytes(bytes));
                    Ok(())
                }
                ((true, None), _) => Err(unexpected(kind)),
                ((false, None), _) => Ok(()),
            },
            _ => {
                shared.end(id, CallError::Cancelled);
                Ok(())
            }
        }
    }
}
