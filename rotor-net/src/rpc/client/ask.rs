//! `Ask`: a request, and what is done with it and with its answer: the only part of a call that knows its types.

use crate::rpc::codec::{self, Limits};
use crate::rpc::{CallError, Method, ServiceInfo};

/// A request, and what is done with it and with its answer.
pub(crate) trait Ask: Send + 'static {
    type Answer: Send + 'static;

    fn target(&self) -> Target<'_>;
    fn encode(&self, version: usize, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CallError>;
    fn decode(version: usize, bytes: &[u8], limits: &Limits) -> Result<Self::Answer, CallError>;
}

/// A call that is answered by a reply.
pub(crate) struct Replied<M: Method>(pub M::Request);

/// A call that is answered by items, or not at all.
pub(crate) struct Unreplied<M: Method>(pub M::Request);

/// A call in bytes.
pub(crate) struct Raw {
    pub name: Box<str>,
    pub version: u16,
    pub request: Vec<u8>,
}

impl<M: Method> Ask for Replied<M> {
    type Answer = M::Output;

    fn target(&self) -> Target<'_> {
        Target::Method(M::service(), M::INDEX)
    }

    fn encode(&self, version: usize, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
        encode_request::<M>(&self.0, version, limits, out)
    }

    fn decode(version: usize, bytes: &[u8], limits: &Limits) -> Result<M::Output, CallError> {
        decode_output::<M>(version, bytes, limits)
    }
}

impl<M: Method> Ask for Unreplied<M> {
    type Answer = ();

    fn target(&self) -> Target<'_> {
        Target::Method(M::service(), M::INDEX)
    }

    fn encode(&self, version: usize, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
        encode_request::<M>(&self.0, version, limits, out)
    }

    fn decode(_: usize, _: &[u8], _: &Limits) -> Result<(), CallError> {
        Ok(())
    }
}

impl Ask for Raw {
    type Answer = Vec<u8>;

    fn target(&self) -> Target<'_> {
        Target::Named(&self.name, self.version)
    }

    fn encode(&self, _: usize, _: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
        out.extend_from_slice(&self.request);
        Ok(())
    }

    fn decode(_: usize, bytes: &[u8], _: &Limits) -> Result<Vec<u8>, CallError> {
        Ok(bytes.to_vec())
    }
}

fn encode_request<M: Method>(
    request: &M::Request,
    version: usize,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    match version {
        0 => codec::encode(request, limits, out).map_err(CallError::Encode),
        older => M::encode_older(older, request, limits, out),
    }
}

/// A reply or an item, of any version.
pub(crate) fn decode_output<M: Method>(
    version: usize,
    bytes: &[u8],
    limits: &Limits,
) -> Result<M::Output, CallError> {
    match version {
        0 => codec::decode(bytes, limits).map_err(CallError::Decode),
        older => M::decode_older(older, bytes, limits),
    }
}

/// An item of the client's, in any version.
pub(crate) fn encode_input<M: Method>(
    version: usize,
    item: M::Input,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    match version {
        0 => codec::encode(&item, limits, out).map_err(CallError::Encode),
        older => M::encode_item_older(older, &item, limits, out),
    }
}

/// Where a call goes.
pub(crate) enum Target<'a> {
    Method(&'static ServiceInfo, usize),
    Named(&'a str, u16),
}
