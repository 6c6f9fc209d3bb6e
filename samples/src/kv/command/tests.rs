//! Every command, as a client sees it. Expected replies are those of a Redis 7.0 server, but
//! where a comment says otherwise.

mod connection;
mod data;

use super::super::Limits;
use super::super::resp::{Parsed, Parser, Resume};

use super::*;

const START_MS: u64 = 1_700_000_000_000;

/// A server with one connection, driven by typed lines at a time of the test's choice.
struct Client {
    server: Server,
    session: Session,
    now_ms: u64,
}

impl Client {
    fn new() -> Client {
        Client::with(Limits::default())
    }

    fn with(limits: Limits) -> Client {
        let mut server = Server::new(&limits, [1, 2]);
        server.stats.started_ms = START_MS;
        Client {
            server,
            session: Session::new(7),
            now_ms: START_MS,
        }
    }

    /// The reply to a line, with `|` for each line end, and the effect as its `Debug` text.
    fn send(&mut self, line: &str) -> (String, String) {
        let (mut parser, mut out) = (Parser::new(&Limits::default()), Vec::new());
        let line = format!("{line}\n");
        let Parsed::Complete { args, .. } = parser.parse(&mut Resume::default(), line.as_bytes())
        else {
            panic!("not a request: {line}");
        };
        let effect = execute(
            &mut self.server,
            &mut self.session,
            args,
            self.now_ms,
            &mut out,
        );
        let effect = format!("{:?}", effect.unwrap());
        let reply = String::from_utf8_lossy(&out).replace("\r\n", "|");
        (reply, effect)
    }

    /// The reply to a line that has no other effect.
    fn ask(&mut self, line: &str) -> String {
        let (reply, effect) = self.send(line);
        assert_eq!(effect, "None", "{line}");
        reply
    }

    /// Checks a dialogue.
    #[track_caller]
    fn check(&mut self, dialogue: &[(&str, &str)]) {
        for (line, expected) in dialogue {
            assert_eq!(self.ask(line), *expected, "{line}");
        }
    }
}

#[test]
fn a_full_output_ends_the_command() {
    struct Nothing;
    impl Out for Nothing {
        fn put(&mut self, _: &[u8]) -> Result<(), Full> {
            Err(Full)
        }
    }
    let mut client = Client::new();
    for line in [
        "ping", "get a", "get", "foo", "keys *", "command", "info", "set a b", "scan 0",
    ] {
        let mut parser = Parser::new(&Limits::default());
        let line = format!("{line}\n");
        let Parsed::Complete { args, .. } = parser.parse(&mut Resume::default(), line.as_bytes())
        else {
            panic!("{line}");
        };
        let result = execute(
            &mut client.server,
            &mut client.session,
            args,
            0,
            &mut Nothing,
        );
        assert_eq!(result.err(), Some(Full), "{line}");
    }
}

#[test]
fn errors_quote_the_request_safely() {
    let long = "y".repeat(200);
    let quoted = "y".repeat(128);
    Client::new().check(&[
        (
            "foo a b",
            "-ERR unknown command 'foo', with args beginning with: 'a' 'b' |",
        ),
        (
            "foo",
            "-ERR unknown command 'foo', with args beginning with: |",
        ),
        (
            r#""a\r\nb" "c\x00d""#,
            "-ERR unknown command 'a  b', with args beginning with: 'c' |",
        ),
        (
            &format!("{long} {long} b"),
            &format!("-ERR unknown command '{quoted}', with args beginning with: '{quoted}' |"),
        ),
        ("get", "-ERR wrong number of arguments for 'get' command|"),
        (
            "GET a b",
            "-ERR wrong number of arguments for 'get' command|",
        ),
        (
            "client foo",
            "-ERR unknown subcommand 'foo'. Try CLIENT HELP.|",
        ),
        (
            "client setname",
            "-ERR wrong number of arguments for 'client|setname' command|",
        ),
        ("expire a 1 \"x\\r\\n\"", "-ERR Unsupported option x|"),
    ]);
}

#[test]
fn requests_of_browsers_end_the_connection() {
    for line in ["POST / HTTP/1.1", "Host: localhost"] {
        assert_eq!(Client::new().send(line), (String::new(), "Close".into()));
    }
}

#[test]
fn every_command_survives_any_number_of_arguments() {
    for spec in &table::COMMANDS {
        for args in 0..8 {
            for word in ["0", "get", "x"] {
                let line = format!("{}{}", spec.name, format!(" {word}").repeat(args));
                let (reply, effect) = Client::new().send(&line);
                let arity = reply.starts_with("-ERR wrong number of arguments for '");
                assert!(arity || spec.takes(args + 1), "{line}: {reply}");
                assert!(!reply.is_empty() || effect != "None", "{line}");
            }
        }
    }
}
