//! `Routes`: how the calls of this client are named to this server: by ranks of its menu, looked up once per service.

use super::super::ask::Target;
use super::super::call::ClientCall;
use crate::rpc::handshake::{Resolved, VERSIONS_SHOWN_MAX};
use crate::rpc::{CallError, CallKind, Menu, Mismatch, ServiceInfo};

/// Services that this client calls, few.
#[derive(Default)]
pub(super) struct Routes(Vec<Service>);

struct Service {
    info: &'static ServiceInfo,
    calls: Vec<Result<Resolved, Mismatch>>,
}

/// How a call is named, and in which version its types travel.
pub(super) enum Route {
    Ranked(Resolved),
    ByName,
}

impl Routes {
    /// # Errors
    /// How client and server differ in this call.
    pub fn find(
        &mut self,
        call: &dyn ClientCall,
        menu: &Menu,
        takes_unknown: bool,
    ) -> Result<Route, CallError> {
        let mut found = Err(CallError::Misuse("a call that says what it calls"));
        call.target(&mut |target| {
            found = match target {
                Target::Method(service, index) => self.ranked(service, index, menu),
                Target::Named(name, version) => named(name, version, menu, takes_unknown),
            };
        });
        found
    }

    fn ranked(
        &mut self,
        info: &'static ServiceInfo,
        index: usize,
        menu: &Menu,
    ) -> Result<Route, CallError> {
        let known = self
            .0
            .iter()
            .position(|service| std::ptr::eq(service.info, info));
        let at = known.unwrap_or_else(|| {
            let calls = menu.resolve(info);
            self.0.push(Service { info, calls });
            self.0.len() - 1
        });
        match self.0[at].calls.get(index) {
            Some(Ok(resolved)) => Ok(Route::Ranked(*resolved)),
            Some(Err(mismatch)) => Err(mismatch.clone().into()),
            None => Err(CallError::Misuse("a call of its service")),
        }
    }
}

fn named(name: &str, version: u16, menu: &Menu, takes_unknown: bool) -> Result<Route, CallError> {
    let mut there = Vec::new();
    for (rank, entry) in menu.entries.iter().enumerate() {
        if entry.name != name {
            continue;
        }
        if entry.version != version {
            if there.len() < VERSIONS_SHOWN_MAX {
                there.push(entry.version);
            }
            continue;
        }
        return match (entry.kind, u16::try_from(rank)) {
            (CallKind::Unary, Ok(rank)) => Ok(Route::Ranked(Resolved { rank, version: 0 })),
            (kind, _) => Err(Mismatch::Kind {
                call: format!("{name} version {version}"),
                here: CallKind::Unary,
                there: kind,
            }
            .into()),
        };
    }
    let call = name.to_owned();
    match (takes_unknown, there.is_empty()) {
        (true, _) => Ok(Route::ByName),
        (false, true) => Err(Mismatch::NotOffered { call }.into()),
        (false, false) => Err(Mismatch::NoCommonVersion {
            call,
            here: vec![version],
            there,
        }
        .into()),
    }
}
