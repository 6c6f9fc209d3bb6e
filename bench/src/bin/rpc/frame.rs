//! The protocol that one writes by hand: frames of a length and that many bytes of plain postcard, answered in order.
//!
//! Both floors use it, the one on epoll and the one on this library's streams, so that they differ in nothing but what
//! is below. No call ids: replies come in the order of the requests.

use crate::call::{Reply, Request, answer};
use crate::meter::Meter;
use rotor_bench::plain;
use serde::{Deserialize, Serialize};
use std::io;

const PREFIX: usize = size_of::<u32>();
/// Many times the largest frame here. What claims to be longer is no frame.
const FRAME_BYTES_MAX: usize = 1 << 16;

/// Appends a value as a frame.
#[inline]
pub fn push<T: Serialize>(value: &T, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX]);
    plain::append(value, out).map_err(invalid)?;
    let len = (out.len() - start - PREFIX) as u32;
    out[start..start + PREFIX].copy_from_slice(&len.to_le_bytes());
    Ok(())
}

/// Takes the first frame off the front of `input`, if it is complete.
#[inline]
fn next<T: for<'de> Deserialize<'de>>(input: &mut &[u8]) -> io::Result<Option<T>> {
    let Some((prefix, rest)) = input.split_first_chunk::<PREFIX>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*prefix) as usize;
    if len > FRAME_BYTES_MAX {
        return Err(invalid("the frame is too long"));
    }
    let Some((bytes, rest)) = rest.split_at_checked(len) else {
        return Ok(None);
    };
    *input = rest;
    postcard::from_bytes(bytes).map(Some).map_err(invalid)
}

/// The server's side: answers all complete requests, and says how many bytes are left over.
#[inline]
pub fn serve(mut input: &[u8], out: &mut Vec<u8>) -> io::Result<usize> {
    while let Some(request) = next::<Request>(&mut input)? {
        push(&answer(request), out)?;
    }
    Ok(input.len())
}

/// The client's side: one more request for each reply, while the meter wants more. Says how many bytes are left over.
#[inline]
pub fn ask_on(mut input: &[u8], out: &mut Vec<u8>, asking: &mut Asking) -> io::Result<usize> {
    while let Some(reply) = next::<Reply>(&mut input)? {
        if reply != asking.expected {
            return Err(invalid("this is not the reply to what was asked"));
        }
        if asking.meter.count() {
            push(&asking.request, out)?;
        } else {
            asking.ended += 1;
        }
    }
    Ok(input.len())
}

/// What a client asks, and how long.
pub struct Asking {
    pub meter: Meter,
    /// Requests that were answered and not followed by another: when that is all of them, it is over.
    pub ended: usize,
    request: Request,
    expected: Reply,
}

impl Asking {
    pub fn new(meter: Meter) -> Self {
        let request = crate::call::request();
        let expected = answer(request.clone());
        Self {
            meter,
            ended: 0,
            request,
            expected,
        }
    }

    /// The first requests of a connection.
    pub fn begin(&self, in_flight: usize, out: &mut Vec<u8>) -> io::Result<()> {
        (0..in_flight).try_for_each(|_| push(&self.request, out))
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_complete_is_left_over() {
        let asking = Asking::new(Meter::calls(1));
        let (mut input, mut out) = (Vec::new(), Vec::new());
        asking.begin(3, &mut input).unwrap();
        for len in 0..=input.len() {
            out.clear();
            let left = serve(&input[..len], &mut out).unwrap();
            assert_eq!(left, len % 44);
            assert_eq!(out.len(), len / 44 * 44);
        }
    }

    #[test]
    fn a_reply_is_followed_by_a_request_until_it_is_enough() {
        let mut asking = Asking::new(Meter::calls(2));
        let (mut requests, mut replies, mut more) = (Vec::new(), Vec::new(), Vec::new());
        asking.begin(2, &mut requests).unwrap();
        serve(&requests, &mut replies).unwrap();
        ask_on(&replies, &mut more, &mut asking).unwrap();
        assert_eq!((more.len(), asking.ended), (44, 1));
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let mut out = Vec::new();
        assert!(serve(&u32::MAX.to_le_bytes(), &mut out).is_err());
        assert!(serve(&[1, 0, 0, 0, 9], &mut out).is_err());
    }
}
