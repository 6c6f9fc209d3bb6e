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
use super::setup::Setup;
use crate::Conn;
use rotor_fsm::Time;
use std::cell::Cell;
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
        let info = setup.ranked(header, &opening)?;
        let deadline = self.deadline(&opening, setup, conn);
        let id = header.id;
        let has_reply = header.kind == Kind::Call;
        let objection = self.objection(&opening, info, setup);
        let is_at_hand = self.has_desk
            && objection.is_none()
            && info.is_some_and(|info| info.kind == CallKind::Unary);
        let flows = info.map_or_else(Flows::default, |info| Flows::of(info.kind, setup));
        let mut waiting_bytes = 0;
        if is_at_hand {
            at_hand::take_up(id);
        } else if has_reply {
            waiting_bytes = self.shared().begin(id, deadline, flows.clone())?;
            self.has_desk = false;
        }
        if let Some(error) = objection {
            if has_reply {
                self.shared().fail(id, &error);
            }
            return Ok(waiting_bytes);
        }
        flows.open(self.shared(), id);
        let is_taken = Cell::new(false);
        let call = Arrived {
            rank: header.number,
            request,
            shared: self.shared(),
            id,
            deadline,
            flows: &flows,
            is_taken: &is_taken,
        };
        let outcome = match info {
            Some(info) => hand_over(call, info, opening.meta, service, conn),
            None => hand_on(call, &opening, service, conn),
        };
        if !has_reply {
            return Ok(waiting_bytes);
        }
        match outcome {
            Some(Err(error)) => self.shared().fail(id, &error),
            _ if is_taken.get() => {}
            Some(Ok(())) => self.shared().fail(id, &CallError::Unanswered),
            None => self.shared().fail(id, &CallError::Panicked),
        }
        if is_at_hand {
            let is_unanswered;
            (is_unanswered, waiting_bytes) = at_hand::put_down();
            if !is_unanswered {
                return Ok(waiting_bytes);
            }
            self.shared().begin_late(id, deadline)?;
            self.has_desk = false;
        }
        self.calls_due = self.calls_due.min(deadline);
        Ok(waiting_bytes)
    }

    /// Whether the call is the next one, and in a place that there is.
    #[inline]
    fn check(&mut self, header: Header, setup: &Setup) -> Result<(), SessionError> {
        let expected = self.next_sequence;
        if self.has_last_call {
            return Err(unexpected(header.kind));
        }
        if header.id.sequence != expected {
            let got = header.id.sequence;
            return Err(SessionError::OutOfOrder { expected, got });
        }
        self.next_sequence = expected.wrapping_add(1);
        let in_flight_max = setup.in_flight_max;
        match header.kind {
            Kind::OneWay if header.id.slot != u32::MAX => Err(SessionError::BadFrame {
                what: "a one-way call without a slot",
            }),
            Kind::Call
                if header.id.slot as usize >= in_flight_max || header.id.slot == u32::MAX =>
            {
                Err(SessionError::TooManyCalls { in_flight_max })
            }
            _ => Ok(()),
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
        let longest = setup.config.deadline_max;
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
    fn objection(
        &self,
        opening: &Opening<'_>,
        info: Option<&CallInfo>,
        setup: &Setup,
    ) -> Option<CallError> {
        let meta_bytes_max = usize::from(setup.config.meta_bytes_max);
        if self.is_draining {
            Some(CallError::Draining)
        } else if opening.deadline_ms == Some(0) {
            Some(CallError::TimedOut)
        } else if opening.meta.len() > meta_bytes_max {
            let bytes = opening.meta.len();
            let words = format!("{bytes} bytes of metadata, of at most {meta_bytes_max}");
            Some(CallError::BadRequest(words.into()))
        } else if info.is_none() && setup.config.unknown != Unknown::Proxy {
            Some(CallError::Unknown)
        } else if Arc::strong_count(self.shared()) > setup.halves_max {
            let words = "too much of what this client has cancelled is still worked on";
            Some(CallError::Refused(words.into()))
        } else {
            None
        }
    }
}

impl Setup {
    /// What is called; `None` if it is not on the menu.
    ///
    /// # Errors
    /// If such calls end the session, or if it is no call of the kind that the frame says.
    #[inline]
    fn ranked(
        &self,
        header: Header,
        opening: &Opening<'_>,
    ) -> Result<Option<&'static CallInfo>, SessionError> {
        let info = match opening.named {
            None => self.ranks.get(usize::from(header.number)).copied(),
            Some(_) => None,
        };
        match info {
            Some(info) if (info.kind == CallKind::OneWay) != (header.kind == Kind::OneWay) => {
                Err(unexpected(header.kind))
            }
            None if self.config.unknown == Unknown::Close => Err(SessionError::UnknownCall {
                rank: header.number,
            }),
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
