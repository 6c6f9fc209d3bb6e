//! How a call begins: what is checked before its handler runs, and what becomes of the handler's outcome.

use super::super::call::{CallInfo, CallKind};
use super::super::config::Unknown;
use super::super::error::{CallError, SessionError};
use super::super::frame::{CallId, Header, Kind, Opening};
use super::super::guard::guarded;
use super::super::items::{Inflow, Outflow};
use super::super::line::Line;
use super::super::reply::RawReply;
use super::super::scope::CallScope;
use super::super::serve::{Serve, UnknownCall};
use super::Session;
use super::arrived::Arrived;
use super::at_hand;
use super::calls::Flows;
use super::frames::unexpected;
use super::open::Open;
use super::setup::{Rank, Setup};
use crate::Conn;
use rotor_fsm::Time;
use std::cell::Cell;
use std::hint::cold_path;
use std::sync::Arc;
use std::time::Duration;

impl Open {
    /// A call has come. Answers how much output waits.
    ///
    /// # Errors
    /// What breaks the protocol. What is wrong with the call fails the call.
    #[inline]
    pub(super) fn call<S: Serve>(
        &mut self,
        header: Header,
        body: &[u8],
        service: &mut S,
        setup: &Setup,
        conn: &mut Conn<'_, Session<S>>,
    ) -> Result<usize, SessionError> {
        self.check(header, setup)?;
        let (opening, request) = Opening::read(header.flags, body)?;
        let came = Came {
            header,
            deadline: self.deadline(&opening, setup, conn),
            opening,
            request,
            rank: setup.ranked(header, opening.named.is_some())?,
        };
        let objection = self.objection(&came, setup);
        match came.rank {
            Some(rank) if self.has_desk && rank.kind == CallKind::Unary && objection.is_none() => {
                self.call_at_hand(&came, rank.info, service, conn)
            }
            _ => self.call_in_table(&came, objection, service, setup, conn),
        }
    }

    /// Most calls are answered by their handler: they need no place in the table.
    #[inline]
    fn call_at_hand<S: Serve>(
        &mut self,
        came: &Came<'_>,
        info: &CallInfo,
        service: &mut S,
        conn: &mut Conn<'_, Session<S>>,
    ) -> Result<usize, SessionError> {
        let id = came.header.id;
        let flows = Flows::default();
        let is_taken = Cell::new(false);
        at_hand::take_up(id);
        let call = came.arrived(self.shared(), &flows, &is_taken);
        let outcome = hand_over(call, info, came.opening.meta, service, conn);
        self.conclude(id, outcome, &is_taken);
        let (is_unanswered, waiting_bytes) = at_hand::put_down();
        if is_unanswered {
            self.enter_late(id, came.deadline)?;
        }
        Ok(waiting_bytes)
    }

    /// The call's handler has returned, and its answer is still to come.
    #[inline(never)]
    fn enter_late(&mut self, id: CallId, deadline: Time) -> Result<(), SessionError> {
        self.shared().begin_late(id, deadline)?;
        self.has_desk = false;
        self.calls_due = self.calls_due.min(deadline);
        Ok(())
    }

    /// All others: they are entered before their handler runs. One-way calls have no place.
    #[inline(never)]
    fn call_in_table<S: Serve>(
        &mut self,
        came: &Came<'_>,
        objection: Option<Objection>,
        service: &mut S,
        setup: &Setup,
        conn: &mut Conn<'_, Session<S>>,
    ) -> Result<usize, SessionError> {
        let id = came.header.id;
        let has_reply = came.header.kind == Kind::Call;
        let flows = came
            .rank
            .map_or_else(Flows::default, |rank| Flows::of(rank.kind, setup));
        let mut waiting_bytes = 0;
        if has_reply {
            waiting_bytes = self.shared().begin(id, came.deadline, flows.clone())?;
            self.has_desk = false;
        }
        if let Some(objection) = objection {
            if has_reply {
                self.shared().fail(id, &objection.into_error(setup));
            }
            return Ok(waiting_bytes);
        }
        flows.open(self.shared(), id);
        let is_taken = Cell::new(false);
        let call = came.arrived(self.shared(), &flows, &is_taken);
        let outcome = match came.rank {
            Some(rank) => hand_over(call, rank.info, came.opening.meta, service, conn),
            None => hand_on(call, &came.opening, service, conn),
        };
        if has_reply {
            self.conclude(id, outcome, &is_taken);
            self.calls_due = self.calls_due.min(came.deadline);
        }
        Ok(waiting_bytes)
    }

    /// The handler has returned. A call of which nothing is left that could answer fails.
    #[inline]
    fn conclude(&self, id: CallId, outcome: Outcome, is_taken: &Cell<bool>) {
        let error = match outcome {
            Some(Ok(())) | None if is_taken.get() => return,
            Some(Ok(())) => CallError::Unanswered,
            None => CallError::Panicked,
            Some(Err(error)) => error,
        };
        self.shared().fail(id, &error);
    }

    /// Whether the call is the next one, and in a place that there is.
    #[inline]
    fn check(&mut self, header: Header, setup: &Setup) -> Result<(), SessionError> {
        let expected = self.next_sequence;
        if self.has_last_call {
            cold_path();
            return Err(unexpected(header.kind));
        }
        if header.id.sequence != expected {
            cold_path();
            let got = header.id.sequence;
            return Err(SessionError::OutOfOrder { expected, got });
        }
        self.next_sequence = expected.wrapping_add(1);
        let slot = header.id.slot;
        let in_flight_max = setup.per_call.in_flight_max;
        if header.kind == Kind::OneWay {
            match slot {
                u32::MAX => Ok(()),
                _ => Err(SessionError::BadFrame {
                    what: "a one-way call without a slot",
                }),
            }
        } else if slot as usize >= in_flight_max || slot == u32::MAX {
            cold_path();
            Err(SessionError::TooManyCalls { in_flight_max })
        } else {
            Ok(())
        }
    }

    /// Until when the client waits.
    #[inline]
    fn deadline<S: Serve>(
        &self,
        opening: &Opening<'_>,
        setup: &Setup,
        conn: &mut Conn<'_, Session<S>>,
    ) -> Time {
        let longest = setup.per_call.deadline_max;
        let wait = match opening.deadline_ms {
            Some(ms) => longest.min(Duration::from_millis(ms.into())),
            None => longest,
        };
        match wait {
            Duration::MAX => Time::NEVER,
            wait => conn.now() + wait,
        }
    }

    /// Why the call is not to be begun.
    #[inline]
    fn objection(&self, came: &Came<'_>, setup: &Setup) -> Option<Objection> {
        let meta_bytes = came.opening.meta.len();
        if self.is_draining {
            Some(Objection::Draining)
        } else if came.opening.deadline_ms == Some(0) {
            Some(Objection::TimedOut)
        } else if meta_bytes > usize::from(setup.per_call.meta_bytes_max) {
            Some(Objection::MetaTooLong(meta_bytes))
        } else if came.rank.is_none() && setup.config.unknown != Unknown::Proxy {
            Some(Objection::Unknown)
        } else if Arc::strong_count(self.shared()) > setup.per_call.halves_max {
            Some(Objection::TooMuchKept)
        } else {
            None
        }
    }
}

/// A call that has come.
struct Came<'a> {
    header: Header,
    opening: Opening<'a>,
    request: &'a [u8],
    deadline: Time,
    /// What is called; `None` if it is not on the menu.
    rank: Option<Rank>,
}

impl<'a> Came<'a> {
    /// What its handler gets.
    #[inline]
    fn arrived(
        &'a self,
        shared: &'a Arc<super::Shared>,
        flows: &'a Flows,
        is_taken: &'a Cell<bool>,
    ) -> Arrived<'a> {
        Arrived {
            rank: self.header.number,
            request: self.request,
            shared,
            id: self.header.id,
            deadline: self.deadline,
            flows,
            is_taken,
        }
    }
}

/// Why a call is not begun.
enum Objection {
    Draining,
    TimedOut,
    MetaTooLong(usize),
    Unknown,
    TooMuchKept,
}

impl Objection {
    fn into_error(self, setup: &Setup) -> CallError {
        match self {
            Self::Draining => CallError::Draining,
            Self::TimedOut => CallError::TimedOut,
            Self::MetaTooLong(bytes) => {
                let most = setup.per_call.meta_bytes_max;
                let words = format!("{bytes} bytes of metadata, of at most {most}");
                CallError::BadRequest(words.into())
            }
            Self::Unknown => CallError::Unknown,
            Self::TooMuchKept => {
                let words = "too much of what this client has cancelled is still worked on";
                CallError::Refused(words.into())
            }
        }
    }
}

impl Setup {
    /// What is called; `None` if it is not on the menu.
    ///
    /// # Errors
    /// If such calls end the session, or if it is no call of the kind that the frame says.
    #[inline]
    fn ranked(&self, header: Header, is_named: bool) -> Result<Option<Rank>, SessionError> {
        let rank = match is_named {
            false => self.per_call.ranks.get(usize::from(header.number)).copied(),
            true => None,
        };
        match rank {
            Some(rank) if (rank.kind == CallKind::OneWay) != (header.kind == Kind::OneWay) => {
                cold_path();
                Err(unexpected(header.kind))
            }
            None if self.config.unknown == Unknown::Close => {
                cold_path();
                Err(SessionError::UnknownCall {
                    rank: header.number,
                })
            }
            found => Ok(found),
        }
    }
}

impl Flows {
    /// Those that a call of this kind has.
    #[inline]
    fn of(kind: CallKind, setup: &Setup) -> Self {
        let window_bytes = setup.config.window_bytes.max(1);
        Self {
            inflow: kind.has_input().then(|| Inflow::new(window_bytes)),
            outflow: kind.has_items().then(Outflow::new),
        }
    }

    /// The call has begun.
    #[inline]
    fn open(&self, shared: &Arc<super::Shared>, id: CallId) {
        let line = || -> Arc<dyn Line> { shared.clone() };
        if let Some(inflow) = &self.inflow {
            inflow.open(line(), id, 0);
        }
        if let Some(outflow) = &self.outflow {
            let bounds = &shared.bounds;
            let window_bytes = bounds.client_window_bytes;
            outflow.open(line(), id, window_bytes, shared.body_bytes_max(), 0);
        }
    }
}

/// What the service did with a call; `None` if it panicked.
type Outcome = Option<Result<(), CallError>>;

/// Gives a call to its handler, if its caller may make it.
#[inline]
fn hand_over<S: Serve>(
    call: Arrived<'_>,
    info: &CallInfo,
    meta: &[u8],
    service: &mut S,
    conn: &mut Conn<'_, Session<S>>,
) -> Outcome {
    let (ctx, out, own) = conn.split();
    let mut scope = CallScope {
        ctx,
        output: out.output,
        host: &own,
        meta,
        deadline: call.deadline,
    };
    guarded(|| {
        let authorised = service.authorise(info, &mut scope);
        authorised.map_err(|refusal| CallError::Refused(refusal.0))?;
        service.dispatch(call, &mut scope)
    })
}

/// Gives a call that is not on the menu to the service, as it came.
fn hand_on<S: Serve>(
    call: Arrived<'_>,
    opening: &Opening<'_>,
    service: &mut S,
    conn: &mut Conn<'_, Session<S>>,
) -> Outcome {
    let (ctx, out, own) = conn.split();
    let mut scope = CallScope {
        ctx,
        output: out.output,
        host: &own,
        meta: opening.meta,
        deadline: call.deadline,
    };
    let unknown = UnknownCall {
        name: opening.named.map(|(name, _)| name),
        version: opening.named.map_or(0, |(_, version)| version),
        rank: opening.named.is_none().then_some(call.rank),
        request: call.request,
    };
    guarded(|| {
        service.unknown(unknown, RawReply::new(call.claim()), &mut scope);
        Ok(())
    })
}
