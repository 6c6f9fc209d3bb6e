//! The handshake: how a session begins.
//!
//! ```text
//! client: preamble, Hello (its limits, its credential)  ──→
//!         ←──  server: preamble, Welcome (its limits, its menu)
//! ```
//!
//! A preamble is eight bytes that never change with the protocol: the magic, and the newest and oldest version that its
//! sender speaks. Both sides choose the newest that both speak. The menu says what the server offers; calls then travel
//! by their rank in it.

use super::call::{CallKind, ServiceInfo};
use super::codec::{self, CodecError, Limits};
use super::error::{Mismatch, SessionError, cut};
use super::frame::{CallId, Header, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The first byte is in no text, so that a peer of another kind is noticed at once.
const MAGIC: [u8; 6] = *b"\xf7rotor";

/// The versions of the protocol that this code speaks.
pub(crate) const NEWEST: u8 = 1;
pub(crate) const OLDEST: u8 = 1;

/// Bytes of a preamble.
pub(crate) const PREAMBLE_BYTES: usize = 8;

/// Bytes of a `Hello`'s body, and of a `Welcome`'s.
pub(crate) const HELLO_BYTES_MAX: usize = 8 << 10;
pub(crate) const WELCOME_BYTES_MAX: usize = 1 << 20;

/// What this side sends first.
pub(crate) fn preamble() -> [u8; PREAMBLE_BYTES] {
    let [a, b, c, d, e, f] = MAGIC;
    [a, b, c, d, e, f, NEWEST, OLDEST]
}

/// Reads the peer's preamble; `None` if there are too few bytes yet, all of which fit. Answers the version to speak.
///
/// # Errors
/// `BadMagic` as soon as a byte does not fit; `NoCommonProtocol`.
pub(crate) fn read_preamble(input: &[u8]) -> Result<Option<u8>, SessionError> {
    let known = input.len().min(MAGIC.len());
    if input[..known] != MAGIC[..known] {
        let mut got = [0; 8];
        let shown = input.len().min(got.len());
        got[..shown].copy_from_slice(&input[..shown]);
        return Err(SessionError::BadMagic { got });
    }
    let Some(&[.., newest, oldest]) = input.first_chunk::<PREAMBLE_BYTES>() else {
        return Ok(None);
    };
    let version = newest.min(NEWEST);
    if version < oldest.max(OLDEST) {
        return Err(SessionError::NoCommonProtocol {
            theirs: (oldest, newest),
            ours: (OLDEST, NEWEST),
        });
    }
    Ok(Some(version))
}

/// What a client says of itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello<'a> {
    /// The longest body of a frame that it takes.
    pub frame_bytes_max: u32,
    /// Bytes of items that it takes on a stream before it gives more credit.
    pub window_bytes: u32,
    /// What the server may know it by.
    #[serde(borrow)]
    pub credential: &'a [u8],
}

/// What a server says of itself.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// The longest body of a frame that it takes.
    pub frame_bytes_max: u32,
    /// Bytes of items that it takes on a stream before it gives more credit.
    pub window_bytes: u32,
    /// Calls in flight that it takes.
    pub in_flight_max: u32,
    /// Metadata that it takes with a call.
    pub meta_bytes_max: u16,
    /// Whether calls that are not on the menu may be sent by name.
    pub takes_unknown: bool,
    /// The service, and what it offers.
    pub menu: Menu,
}

/// What a server offers, as it says in its handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Menu {
    /// The service's name.
    pub service: String,
    /// Each version of each call. The position is its rank.
    pub entries: Vec<MenuEntry>,
}

/// A version of a call on a menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuEntry {
    /// The call's name, within the service.
    pub name: String,
    /// Its version.
    pub version: u16,
    /// What streams it has.
    pub kind: CallKind,
    /// Digests of its request, of the items that the client sends, and of its reply or the items that the server sends. 0:
    /// not checked.
    pub digests: [u64; 3],
    /// How the server writes it, for people.
    pub signature: String,
}

/// Of the server's versions of a call, in an error that each such call gets a copy of.
pub(crate) const VERSIONS_SHOWN_MAX: usize = 16;

/// Names of the types that a menu has digests of.
const PARTS: [&str; 3] = ["request", "input", "output"];

impl Menu {
    /// The menu of a service.
    pub fn of(service: &ServiceInfo) -> Self {
        let entries = service.calls.iter().flat_map(|call| {
            call.versions.iter().map(|version| MenuEntry {
                name: call.name.to_owned(),
                version: version.number,
                kind: call.kind,
                digests: version.types().map(|info| info.digest),
                signature: version.signature.clone(),
            })
        });
        Self {
            service: service.name.to_owned(),
            entries: entries.collect(),
        }
    }

    /// For each call of a client's service: the rank by which to call it and the position of the version in
    /// [`CallInfo::versions`](super::CallInfo::versions), or how the two sides differ. The highest version that both
    /// have counts.
    pub(crate) fn resolve(&self, service: &ServiceInfo) -> Vec<Result<Resolved, Mismatch>> {
        let calls = service.calls.iter();
        calls.map(|call| self.resolve_call(call)).collect()
    }

    fn resolve_call(&self, call: &super::CallInfo) -> Result<Resolved, Mismatch> {
        let offered = || {
            let ranked = self.entries.iter().enumerate();
            ranked.filter(|(_, entry)| entry.name == call.name)
        };
        let best = call.versions.iter().enumerate().find_map(|(at, version)| {
            let (rank, entry) = offered().find(|(_, entry)| entry.version == version.number)?;
            Some((at, version, rank, entry))
        });
        let Some((at, version, rank, entry)) = best else {
            let there = offered().map(|(_, entry)| entry.version);
            let there: Vec<u16> = there.take(VERSIONS_SHOWN_MAX).collect();
            let name = call.name.to_owned();
            return Err(match there.is_empty() {
                true => Mismatch::NotOffered { call: name },
                false => Mismatch::NoCommonVersion {
                    call: name,
                    here: call.versions.iter().map(|version| version.number).collect(),
                    there,
                },
            });
        };
        let name = || format!("{} version {}", call.name, version.number);
        if entry.kind != call.kind {
            return Err(Mismatch::Kind {
                call: name(),
                here: call.kind,
                there: entry.kind,
            });
        }
        for (part, (info, digest_there)) in PARTS
            .into_iter()
            .zip(version.types().into_iter().zip(entry.digests))
        {
            if info.digest != digest_there && info.digest != 0 && digest_there != 0 {
                return Err(Mismatch::Shape {
                    call: name(),
                    part,
                    type_here: info.name,
                    signature_there: cut(&entry.signature).to_owned(),
                    digest_here: info.digest,
                    digest_there,
                });
            }
        }
        Ok(Resolved {
            rank: rank as u16,
            version: at,
        })
    }
}

impl fmt::Display for MenuEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.signature, self.version)
    }
}

/// A call that both sides have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub rank: u16,
    pub version: usize,
}

/// Appends preamble and `Hello`.
///
/// # Errors
/// A credential that is too long.
pub(crate) fn write_hello(hello: &Hello<'_>, out: &mut Vec<u8>) -> Result<(), CodecError> {
    begin(Kind::Hello, hello, HELLO_BYTES_MAX, out)
}

/// Appends preamble and `Welcome`.
///
/// # Errors
/// A menu that is too long.
pub(crate) fn write_welcome(welcome: &Welcome, out: &mut Vec<u8>) -> Result<(), CodecError> {
    begin(Kind::Welcome, welcome, WELCOME_BYTES_MAX, out)
}

/// Reads the body of a `Hello`.
///
/// # Errors
/// `BadFrame`.
pub(crate) fn read_hello(body: &[u8]) -> Result<Hello<'_>, SessionError> {
    codec::decode(body, &limits(HELLO_BYTES_MAX)).map_err(|_| SessionError::BadFrame {
        what: "a client's limits and credential",
    })
}

/// Reads the body of a `Welcome`.
///
/// # Errors
/// `BadFrame`.
pub(crate) fn read_welcome(body: &[u8]) -> Result<Welcome, SessionError> {
    let welcome: Option<Welcome> = codec::decode(body, &limits(WELCOME_BYTES_MAX)).ok();
    // A rank is of sixteen bits.
    welcome
        .filter(|welcome| welcome.menu.entries.len() <= 1 << 16)
        .ok_or(SessionError::BadFrame {
            what: "a server's limits and menu",
        })
}

/// Appends a `Goodbye` that says why.
pub(crate) fn write_goodbye(error: &SessionError, out: &mut Vec<u8>) {
    let header = Header::new(Kind::Goodbye, CallId::default()).with_number(error.code());
    header.write(error.to_string().as_bytes(), out);
}

/// Appends preamble and first frame. On an error `out` is as before.
fn begin<T: Serialize>(
    kind: Kind,
    value: &T,
    bytes_max: usize,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let mut body = Vec::new();
    codec::encode(value, &limits(bytes_max), &mut body)?;
    out.extend_from_slice(&preamble());
    Header::new(kind, CallId::default()).write(&body, out);
    Ok(())
}

/// A handshake's values are flat and small.
fn limits(encoded_bytes_max: usize) -> Limits {
    Limits {
        depth_max: 16,
        decoded_bytes_max: 16 * encoded_bytes_max,
        encoded_bytes_max,
        ..Limits::DEFAULT
    }
}

#[cfg(test)]
mod tests;
