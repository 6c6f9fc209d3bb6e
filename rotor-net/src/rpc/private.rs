//! What the code that `service!` emits calls, beside the public API. Not for others: it changes without notice.

use super::call::{CallKind, Method, Older, TypeInfo, VersionInfo, Wire};
use super::codec::{self, Limits};
use super::error::CallError;
use super::shape::{self, Shape};

pub use serde;

/// Server: an old request in new words.
///
/// # Errors
/// If the converter refuses; it is the request's fault.
pub fn upgrade<C: Method, O: Older<C>>(old: O::Request) -> Result<C::Request, CallError> {
    O::upgrade_request(old)
}

/// Client: a request in old words.
///
/// # Errors
/// If the converter or the codec refuses.
pub fn encode_older<C: Method, O: Older<C>>(
    request: &C::Request,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    encode(&O::downgrade_request(request)?, limits, out)
}

/// Client: an item in old words.
///
/// # Errors
/// If the converter or the codec refuses.
pub fn encode_item_older<C: Method, O: Older<C>>(
    item: &C::Input,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    encode(&O::downgrade_input(item)?, limits, out)
}

/// Client: a reply or an item that came in old words.
///
/// # Errors
/// If the codec or the converter refuses.
pub fn decode_older<C: Method, O: Older<C>>(
    bytes: &[u8],
    limits: &Limits,
) -> Result<C::Output, CallError> {
    O::upgrade_output(codec::decode(bytes, limits).map_err(CallError::Decode)?)
}

/// A position among a call's versions that it does not have: a fault of the caller's.
///
/// # Errors
/// Always.
pub fn no_version<T>() -> Result<T, CallError> {
    Err(CallError::Misuse("a version that this call has"))
}

fn encode<T: Wire>(value: &T, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CallError> {
    codec::encode(value, limits, out).map_err(CallError::Encode)
}

/// Request, input and output of a version.
pub fn types<Q: Shape, I: Shape, O: Shape>() -> [TypeInfo; 3] {
    [
        TypeInfo::of::<Q>(),
        TypeInfo::of::<I>(),
        TypeInfo::of::<O>(),
    ]
}

/// The same for a call whose types have no shapes.
pub fn unchecked_types<Q: 'static, I: 'static, O: 'static>() -> [TypeInfo; 3] {
    [name::<Q>(), name::<I>(), name::<O>()].map(|name| TypeInfo { name, digest: 0 })
}

/// A type's name without modules.
pub fn name<T: 'static>() -> &'static str {
    shape::name::<T>()
}

/// A version of a call, as it was written.
pub struct Written<'a> {
    /// What streams it has.
    pub kind: CallKind,
    /// The call's name.
    pub name: &'a str,
    /// Names and types of the arguments.
    pub args: &'a [(&'a str, &'a str)],
    /// Name of the argument for the client's items.
    pub items: &'a str,
}

/// A version of a call.
pub fn version(number: u16, types: [TypeInfo; 3], written: Written<'_>) -> VersionInfo {
    let [request, input, output] = types;
    VersionInfo {
        number,
        request,
        input,
        output,
        signature: signature(&written, input.name, output.name),
    }
}

/// `put(path: Path, chunks: stream Chunk) -> u64`
fn signature(written: &Written<'_>, input: &str, output: &str) -> String {
    let args = written.args.iter();
    let mut args: Vec<_> = args.map(|(name, ty)| format!("{name}: {ty}")).collect();
    if written.kind.has_input() {
        args.push(format!("{}: stream {input}", written.items));
    }
    let call = format!("{}({})", written.name, args.join(", "));
    match written.kind {
        CallKind::OneWay => format!("oneway {call}"),
        kind if kind.has_items() => format!("{call} -> stream {output}"),
        _ if output == "()" => call,
        _ => format!("{call} -> {output}"),
    }
}
