//! The bytes of an offer: the head, then the addresses.
//!
//! ```text
//! "rotor-handoff 1\n"   count: u32   text_bytes: u32   { length: u16, address }…   then one byte for each batch of fds
//! ```
//!
//! Numbers are big-endian. What is read here was sent by another process, perhaps of another version. Invariant: every
//! bound is checked before memory is asked for, and nothing that is sent makes this panic.

use std::fmt::Display;
use std::io;

/// The most listeners in one offer: far more than a server has.
pub const LISTENERS_MAX: usize = 1024;

/// The most descriptors in one batch; systems allow 253 and up.
pub const FDS_PER_BATCH_MAX: usize = 64;

/// The most bytes of all addresses, with their lengths: an offer fits the buffer of any Unix socket.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// The name and version of the format. A later version changes the number, so that neither misreads the other.
const MAGIC: &[u8; 16] = b"rotor-handoff 1\n";

pub const HEAD_BYTES: usize = MAGIC.len() + 8;

/// The fixed part of an offer.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    pub count: usize,
    /// How long the addresses are that follow.
    pub text_bytes: usize,
}

/// The head and the addresses of an offer.
pub fn encode<'a>(addresses: impl ExactSizeIterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let count = addresses.len();
    if count > LISTENERS_MAX {
        return Err(too_large(format_args!(
            "{count} listeners; at most {LISTENERS_MAX}"
        )));
    }
    let mut message = Vec::from(MAGIC);
    message.extend((count as u32).to_be_bytes());
    message.extend([0; 4]);
    for address in addresses {
        let Ok(length) = u16::try_from(address.len()) else {
            return Err(too_large(format_args!(
                "an address of {} bytes",
                address.len()
            )));
        };
        message.extend(length.to_be_bytes());
        message.extend(address.as_bytes());
    }
    let text_bytes = message.len() - HEAD_BYTES;
    if text_bytes > TEXT_BYTES_MAX {
        return Err(too_large(format_args!(
            "{text_bytes} bytes of addresses; at most {TEXT_BYTES_MAX}"
        )));
    }
    message[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&(text_bytes as u32).to_be_bytes());
    Ok(message)
}

impl Head {
    /// Reads and checks the fixed part.
    pub fn parse(bytes: &[u8; HEAD_BYTES]) -> io::Result<Head> {
        let (magic, numbers) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(invalid(format!(
                "an offer begins with \"{}\", not \"{}\": not a server of this version",
                MAGIC.escape_ascii(),
                magic.escape_ascii()
            )));
        }
        let number = |at: usize| {
            let bytes: [u8; 4] = std::array::from_fn(|i| numbers[at + i]);
            u32::from_be_bytes(bytes) as usize
        };
        let head = Head {
            count: number(0),
            text_bytes: number(4),
        };
        if head.count > LISTENERS_MAX || head.text_bytes > TEXT_BYTES_MAX {
            return Err(invalid(format!(
                "an offer of {} listeners with {} bytes of addresses; at most {LISTENERS_MAX} and {TEXT_BYTES_MAX}",
                head.count, head.text_bytes
            )));
        }
        Ok(head)
    }

    /// Reads the addresses, which must fill `text` exactly.
    pub fn addresses(&self, mut text: &[u8]) -> io::Result<Vec<String>> {
        let mut addresses = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let Some(address) = take_address(&mut text) else {
                return Err(invalid(format!(
                    "address {} of {} in an offer breaks off",
                    addresses.len(),
                    self.count
                )));
            };
            let Ok(address) = str::from_utf8(address) else {
                return Err(invalid(format!(
                    "address {} in an offer is not text: \"{}\"",
                    addresses.len(),
                    address.escape_ascii()
                )));
            };
            addresses.push(address.to_owned());
        }
        match text.len() {
            0 => Ok(addresses),
            left => Err(invalid(format!(
                "{left} bytes follow the last address of an offer"
            ))),
        }
    }
}

/// An error of what the other side sent.
pub fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

fn too_large(what: impl Display) -> io::Error {
    let message = format!("an offer of {what} is too large");
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// Cuts one address off; `None` if it breaks off.
fn take_address<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = text.split_first_chunk()?;
    let (address, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    *text = rest;
    Some(address)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As the receiver does it: the head first, then as many bytes as it says.
    fn decode(message: &[u8]) -> io::Result<Vec<String>> {
        let cut_off = io::ErrorKind::UnexpectedEof;
        let (head, text) = message.split_first_chunk().ok_or(cut_off)?;
        let head = Head::parse(head)?;
        if text.len() != head.text_bytes {
            return Err(cut_off.into());
        }
        head.addresses(text)
    }

    fn encoded(addresses: &[&str]) -> Vec<u8> {
        encode(addresses.iter().copied()).unwrap()
    }

    #[test]
    fn the_bytes_of_an_offer() {
        let expected = b"rotor-handoff 1\n\0\0\0\x02\0\0\0\x09\0\x03a:1\0\x02/b";
        assert_eq!(encoded(&["a:1", "/b"]), expected);
        assert_eq!(decode(expected).unwrap(), ["a:1", "/b"]);
        assert_eq!(decode(&encoded(&[])).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_offer_is_refused_by_name() {
        let good = encoded(&["a:1"]);
        let with = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            message
        };
        let mut longer = [&good[..], b"x"].concat();
        longer[23] += 1;
        let cases: [(&[u8], &str); 7] = [
            (&with(14, b'2'), "not \"rotor-handoff 2\\n\""),
            (&with(16, 1), "an offer of 16777217 listeners"),
            (&with(20, 1), "16777221 bytes of addresses"),
            (&with(19, 2), "address 1 of 2 in an offer breaks off"),
            (&with(25, 9), "address 0 of 1 in an offer breaks off"),
            (&with(26, 0xff), "not text: \"\\xff:1\""),
            (&longer, "1 bytes follow"),
        ];
        for (message, expected) in cases {
            let error = decode(message).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(
                error.to_string().contains(expected),
                "{error}, not {expected}"
            );
        }
    }

    #[test]
    fn what_is_too_large_is_not_offered() {
        let long = "x".repeat(1 << 16);
        let bulky = vec!["x".repeat(100); 1000];
        let cases = [
            encode(std::iter::repeat_n("a", LISTENERS_MAX + 1)),
            encode([long.as_str()].into_iter()),
            encode(bulky.iter().map(String::as_str)),
        ];
        for refused in cases {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        let most = encode(std::iter::repeat_n("127.0.0.1:65535", LISTENERS_MAX)).unwrap();
        assert_eq!(decode(&most).unwrap().len(), LISTENERS_MAX);
    }

    proptest! {
        #[test]
        fn what_is_offered_is_what_is_read(addresses in proptest::collection::vec(".{0,40}", 0..20)) {
            let message = encode(addresses.iter().map(String::as_str)).unwrap();
            prop_assert_eq!(decode(&message).unwrap(), addresses);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }

        /// Near misses: a good message with one byte changed, or cut off.
        #[test]
        fn a_damaged_offer_is_read_whole_or_refused(
            addresses in proptest::collection::vec("[a-z:0-9]{0,9}", 1..5),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<bool>(),
        ) {
            let mut message = encode(addresses.iter().map(String::as_str)).unwrap();
            let at = at.index(message.len());
            if cut {
                message.truncate(at);
                prop_assert!(decode(&message).is_err());
                return Ok(());
            }
            message[at] = byte;
            if let Ok(read) = decode(&message) {
                prop_assert_eq!(encode(read.iter().map(String::as_str)).unwrap(), message);
            }
        }
    }
}
