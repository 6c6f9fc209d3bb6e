//! Calls and services as types: what `service!` implements, and what a session knows of them.
//!
//! A call's identity is its name and version. The types of a version are what travels; an older version that is still
//! spoken has types of its own, and converters.

use super::CallError;
use super::shape::Shape;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What can travel: any type with serde's derives that owns what it holds.
pub trait Wire: Serialize + DeserializeOwned + Send + 'static {}

impl<T: Serialize + DeserializeOwned + Send + 'static> Wire for T {}

/// A call as a type: which types it has, and where it stands in its service. Implemented by what [`service!`](super::service)
/// emits.
pub trait Method: Sized + Send + 'static {
    /// What begins it. For calls made by `service!`: the struct of its arguments.
    type Request: Wire;
    /// The items that the client sends; [`NoItems`] if none.
    type Input: Wire;
    /// The reply, or the items that the server sends; `()` for one-way calls.
    type Output: Wire;
    /// Its position in [`ServiceInfo::calls`].
    const INDEX: usize;

    /// The service that it belongs to.
    fn service() -> &'static ServiceInfo;

    /// Encodes a request in an older version, by its position in [`CallInfo::versions`], which is not 0.
    ///
    /// # Errors
    /// If the converter, or the codec, refuses.
    fn encode_older(
        version: usize,
        request: &Self::Request,
        limits: &super::codec::Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let _ = (version, request, limits, out);
        Err(CallError::Misuse("a version that this call has"))
    }

    /// Decodes a reply or an item of an older version.
    ///
    /// # Errors
    /// If the codec, or the converter, refuses.
    fn decode_older(
        version: usize,
        bytes: &[u8],
        limits: &super::codec::Limits,
    ) -> Result<Self::Output, CallError> {
        let _ = (version, bytes, limits);
        Err(CallError::Misuse("a version that this call has"))
    }

    /// Encodes an item of the client's in an older version.
    ///
    /// # Errors
    /// If the converter, or the codec, refuses.
    fn encode_item_older(
        version: usize,
        item: &Self::Input,
        limits: &super::codec::Limits,
        out: &mut Vec<u8>,
    ) -> Result<(), CallError> {
        let _ = (version, item, limits, out);
        Err(CallError::Misuse("a version that this call has"))
    }
}

/// The items of a stream that a call does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoItems {}

/// An older version of a call that is still spoken, and how it is bridged. Implemented by you, for a type that stands
/// for the version; named in `service!` by `#[older(1, GetV1)]`.
///
/// A server that has only the newer handler serves old clients with `upgrade_request`, `downgrade_output` and
/// `upgrade_input`; a new client calls an old server with the others. A direction that makes no sense answers an error,
/// which the caller gets.
pub trait Older<C: Method>: 'static {
    /// What began the call.
    type Request: Wire + Shape;
    /// The client's items; [`NoItems`] if none.
    type Input: Wire + Shape;
    /// The reply, or the server's items.
    type Output: Wire + Shape;

    /// Server: an old request as a new one.
    ///
    /// # Errors
    /// If it cannot be told in new words.
    fn upgrade_request(old: Self::Request) -> Result<C::Request, CallError>;

    /// Server: a new reply or item as an old one.
    ///
    /// # Errors
    /// If it cannot be told in old words.
    fn downgrade_output(new: C::Output) -> Result<Self::Output, CallError>;

    /// Client: a new request as an old one.
    ///
    /// # Errors
    /// If it cannot be told in old words.
    fn downgrade_request(new: &C::Request) -> Result<Self::Request, CallError>;

    /// Client: an old reply or item as a new one.
    ///
    /// # Errors
    /// If it cannot be told in new words.
    fn upgrade_output(old: Self::Output) -> Result<C::Output, CallError>;

    /// Server: an old item of the client's as a new one. Calls without such items need none.
    ///
    /// # Errors
    /// If it cannot be told in new words.
    fn upgrade_input(old: Self::Input) -> Result<C::Input, CallError> {
        let _ = old;
        Err(CallError::Misuse("no items in this version"))
    }

    /// Client: a new item as an old one. Calls without such items need none.
    ///
    /// # Errors
    /// If it cannot be told in old words.
    fn downgrade_input(new: &C::Input) -> Result<Self::Input, CallError> {
        let _ = new;
        Err(CallError::Misuse("no items in this version"))
    }
}

/// What streams a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CallKind {
    /// One request, one reply.
    Unary,
    /// One request, any number of items.
    ServerStream,
    /// A request and any number of items, one reply.
    ClientStream,
    /// Items both ways.
    BothStreams,
    /// One request and no reply, not even an error.
    OneWay,
}

impl CallKind {
    /// Whether the client sends items.
    pub fn has_input(self) -> bool {
        matches!(self, Self::ClientStream | Self::BothStreams)
    }

    /// Whether the server sends items.
    pub fn has_items(self) -> bool {
        matches!(self, Self::ServerStream | Self::BothStreams)
    }
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary call",
            Self::ServerStream => "call with a server stream",
            Self::ClientStream => "call with a client stream",
            Self::BothStreams => "call with streams both ways",
            Self::OneWay => "one-way call",
        })
    }
}

/// A service, as its own side knows it.
#[derive(Debug)]
pub struct ServiceInfo {
    /// Its name.
    pub name: &'static str,
    /// Its calls, as declared.
    pub calls: Vec<CallInfo>,
}

impl ServiceInfo {
    /// The call and the position of its version that has this rank on the service's menu: versions of all calls, one
    /// after the other.
    pub fn ranked(&self, rank: u16) -> Option<(&CallInfo, usize)> {
        let mut left = usize::from(rank);
        for call in &self.calls {
            if left < call.versions.len() {
                return Some((call, left));
            }
            left -= call.versions.len();
        }
        None
    }
}

/// A call, as its own side knows it.
#[derive(Debug)]
pub struct CallInfo {
    /// Its name, within the service.
    pub name: &'static str,
    /// What streams it has.
    pub kind: CallKind,
    /// The versions that are spoken, the newest first. Never empty.
    pub versions: Vec<VersionInfo>,
}

/// A version of a call.
#[derive(Debug)]
pub struct VersionInfo {
    /// Its number.
    pub number: u16,
    /// What begins the call.
    pub request: TypeInfo,
    /// The client's items.
    pub input: TypeInfo,
    /// The reply, or the server's items.
    pub output: TypeInfo,
    /// How it is written, for people: `get(path: Path) -> Content`.
    pub signature: String,
}

impl VersionInfo {
    /// In the order in which a menu has them.
    pub(crate) fn types(&self) -> [TypeInfo; 3] {
        [self.request, self.input, self.output]
    }
}

/// A type that travels: its name for people, and the digest of its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeInfo {
    /// The type's name.
    pub name: &'static str,
    /// Digest of its [`Shape`]; 0 if it has none, and is not checked.
    pub digest: u64,
}

impl TypeInfo {
    /// Of a type with a shape.
    pub fn of<T: Shape>() -> Self {
        Self {
            name: super::shape::name::<T>(),
            digest: super::shape::digest::<T>(),
        }
    }

    /// Of a type without a shape, which is not checked.
    pub fn unchecked<T>() -> Self {
        Self {
            name: std::any::type_name::<T>(),
            digest: 0,
        }
    }
}
