//! The parser: wording of errors, limits, and that the cuts of a stream do not matter.

use super::super::reply;
use super::*;
use proptest::prelude::*;

type Request = Vec<Vec<u8>>;

fn parser() -> Parser {
    Parser::new(&Limits::default())
}

/// The requests in `pieces`, arriving one after the other, and how it ended. Honours `more`.
fn feed(parser: &mut Parser, pieces: &[&[u8]]) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut requests, mut buffer, mut resume) = (Vec::new(), Vec::new(), Resume::default());
    let mut wanted = 1;
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while buffer.len() >= wanted {
            match parser.parse(&mut resume, &buffer) {
                Parsed::Complete { args, consumed } => {
                    assert!(consumed > 0 && consumed <= buffer.len());
                    if !args.is_empty() {
                        requests.push(args.iter().map(<[u8]>::to_vec).collect());
                    }
                    buffer.drain(..consumed);
                    wanted = 1;
                }
                Parsed::Incomplete { more } => {
                    assert!(more > 0);
                    wanted = buffer.len() + more;
                }
                Parsed::Error(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn error(input: &[u8]) -> Option<String> {
    let (_, error) = feed(&mut parser(), &[input]);
    let mut out = Vec::new();
    error?.reply(&mut out).unwrap();
    Some(String::from_utf8_lossy(&out).trim_end().to_string())
}

#[test]
fn errors_are_worded_as_in_redis() {
    for (input, expected) in [
        (&b"*a\r\n"[..], "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*1048577\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\nx", "expected '$', got 'x'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$a\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$00\r\n", "invalid bulk length"),
        (b"get \"a\r\n", "unbalanced quotes in request"),
    ] {
        let expected = format!("-ERR Protocol error: {expected}");
        assert_eq!(error(input), Some(expected), "{}", input.escape_ascii());
    }
    let long = vec![b'1'; 70_000];
    for (start, expected) in [
        (&b"*"[..], "too big mbulk count string"),
        (b"*1\r\n$", "too big bulk count string"),
        (b"", "too big inline request"),
    ] {
        let expected = format!("-ERR Protocol error: {expected}");
        assert_eq!(error(&[start, &long].concat()), Some(expected));
    }
}

#[test]
fn empty_requests_are_skipped() {
    let (requests, error) = feed(
        &mut parser(),
        &[b"\r\n\n  \r\n*0\r\n*-1\r\nPING\r\n*1\r\n$0\r\n\r\n"],
    );
    assert_eq!(
        (requests, error),
        (vec![vec![b"PING".to_vec()], vec![b"".to_vec()]], None)
    );
}

#[test]
fn limits_are_checked_before_the_bytes_arrive() {
    let limits = Limits {
        args_max: 3,
        bulk_bytes_max: 10,
        inline_bytes_max: 20,
        request_bytes_max: 40,
        ..Limits::default()
    };
    for (input, expected) in [
        (&b"*4\r\n"[..], ProtocolError::InvalidMultibulkLength),
        (b"*1\r\n$11\r\n", ProtocolError::InvalidBulkLength),
        (
            b"*3\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n",
            ProtocolError::TooBigRequest,
        ),
        (b"123456789012345678901", ProtocolError::TooBigInline),
        (b"123456789012345678901\n", ProtocolError::TooBigInline),
    ] {
        assert_eq!(feed(&mut Parser::new(&limits), &[input]).1, Some(expected));
    }
    let (requests, error) = feed(&mut Parser::new(&limits), &[b"12345678901234567890\n"]);
    assert_eq!((requests.len(), error), (1, None));
}

#[test]
fn the_hint_covers_a_whole_bulk() {
    let mut resume = Resume::default();
    let input = b"*2\r\n$3\r\nGET\r\n$100\r\nabc";
    match parser().parse(&mut resume, input) {
        Parsed::Incomplete { more } => assert_eq!(more, 97 + 2),
        other => panic!("{other:?}"),
    };
}

#[test]
fn a_length_of_nine_digits_is_read_again() {
    let (mut parser, mut resume) = (parser(), Resume::default());
    let input = b"*2\r\n$3\r\nGET\r\n$536870912\r\nabc";
    for len in [input.len() - 2, input.len() - 1, input.len()] {
        match parser.parse(&mut resume, &input[..len]) {
            Parsed::Incomplete { more } => {
                assert_eq!(more, 536_870_912 + 2 + input.len() - 3 - len)
            }
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn byte_by_byte_is_not_quadratic() {
    // 100,000 arguments and a 60,000 byte line, each byte alone: quadratic would be 10^10 steps.
    let mut input = b"*100000\r\n".to_vec();
    input.extend(b"$1\r\nx\r\n".repeat(100_000));
    input.extend(vec![b'y'; 60_000]);
    input.extend(b"\r\n*1\r\n$");
    input.extend(vec![b'1'; 60_000]);
    let (mut parser, mut resume) = (parser(), Resume::default());
    let (mut start, mut lens) = (0, Vec::new());
    for end in 1..=input.len() {
        match parser.parse(&mut resume, &input[start..end]) {
            Parsed::Complete { args, consumed } => {
                lens.push(args.len());
                start += consumed;
            }
            Parsed::Incomplete { .. } => {}
            Parsed::Error(error) => panic!("{error}"),
        }
    }
    assert_eq!(lens, [100_000, 1]);
    assert!(parser.spans.capacity() <= 100_000 * 2);
}

#[test]
fn connections_share_one_parser() {
    let request = |n: u8| {
        let mut out = Vec::new();
        let args: Request = (0..20).map(|i| vec![n, i]).collect();
        reply::bulks(
            &mut out,
            &args.iter().map(|arg| &arg[..]).collect::<Vec<_>>(),
        )
        .unwrap();
        (args, out)
    };
    let mut parser = parser();
    let inputs = [request(1), request(2), request(3)];
    let mut resumes: [Resume; 3] = Default::default();
    let mut done = 0;
    for end in 1..=inputs[0].1.len() {
        for (resume, (args, input)) in resumes.iter_mut().zip(&inputs) {
            if let Parsed::Complete { args: got, .. } = parser.parse(resume, &input[..end]) {
                assert!(got.iter().eq(args.iter()));
                done += 1;
            }
        }
    }
    assert_eq!(done, 3);
}

#[test]
fn a_connection_keeps_16_bytes() {
    assert_eq!(size_of::<Resume>(), 16);
}

fn request() -> impl Strategy<Value = Request> {
    let arg = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(any::<u8>(), 900..1100),
    ];
    prop::collection::vec(arg, 1..30)
}

/// The same request as a client library, or a person, would send it.
fn encode(request: &Request, by_hand: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if by_hand {
        for arg in request {
            out.extend(b" \"");
            out.extend(arg.iter().flat_map(|b| format!("\\x{b:02X}").into_bytes()));
            out.push(b'"');
        }
        out.extend(b"\r\n");
    } else {
        reply::bulks(
            &mut out,
            &request.iter().map(|arg| &arg[..]).collect::<Vec<_>>(),
        )
        .unwrap();
    }
    out
}

fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

/// Bytes that look like the protocol far more often than random ones do.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just(&b"*"[..]),
        Just(&b"$"[..]),
        Just(&b"\r\n"[..]),
        Just(&b"\r"[..]),
        Just(&b"\n"[..]),
        Just(&b"0"[..]),
        Just(&b"1"[..]),
        Just(&b"2"[..]),
        Just(&b"12"[..]),
        Just(&b"-1"[..]),
        Just(&b"*2\r\n$1\r\na\r\n$2\r\nbb\r\n"[..]),
        Just(&b"PING"[..]),
        Just(&b"\""[..]),
        Just(&b"'"[..]),
        Just(&b"\\"[..]),
        Just(&b" "[..]),
        Just(&b"\0"[..]),
        Just(&b"*12\r\n"[..]),
        Just(&b"$1\r\nx\r\n"[..]),
        Just(&b"$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n$1\r\nx\r\n"[..]),
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn requests_come_back_wherever_the_stream_is_cut(
        requests in prop::collection::vec((request(), any::<bool>()), 0..6),
        cuts: [prop::sample::Index; 12],
    ) {
        let input: Vec<u8> = requests.iter().flat_map(|(r, by_hand)| encode(r, *by_hand)).collect();
        let requests: Vec<Request> = requests.into_iter().map(|(request, _)| request).collect();
        let (got, error) = feed(&mut parser(), &cut(&input, &cuts));
        prop_assert_eq!((got, error), (requests, None));
    }

    #[test]
    fn cuts_do_not_change_what_noise_means(input in noise(), cuts: [prop::sample::Index; 8]) {
        let limits = Limits { inline_bytes_max: 40, args_max: 20, ..Limits::default() };
        let whole = feed(&mut Parser::new(&limits), &[&input]);
        let pieces = feed(&mut Parser::new(&limits), &cut(&input, &cuts));
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&whole, &pieces);
        prop_assert_eq!(&whole, &feed(&mut Parser::new(&limits), &bytes));
    }

    #[test]
    fn random_bytes_are_fine(input: Vec<u8>) {
        feed(&mut parser(), &[&input]);
    }
}
