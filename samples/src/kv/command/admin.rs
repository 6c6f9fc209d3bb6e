//! Commands on the connection: ping, hello, client, reset and what ends it.

use super::super::number::parse_i64;
use super::super::reply::{self, Full, Out};
use super::{Call, Effect, Outcome, Refusal, SYNTAX, integer, is, quoted};

/// Longest client name. Redis has no limit; here every lasting byte has one.
const NAME_BYTES_MAX: usize = 256;
/// The version whose behaviour this follows; clients look at it.
pub(super) const VERSION: &str = "7.0.0";

const BAD_NAME: Refusal =
    Refusal::Error("ERR Client names cannot contain spaces, newlines or special characters.");
const LONG_NAME: Refusal = Refusal::Error("ERR Client names cannot be longer than 256 bytes.");
const NO_PROTOCOL: Refusal = Refusal::Error("NOPROTO unsupported protocol version");

impl<'r, O: Out> Call<'r, '_, O> {
    pub(super) fn ping(&mut self) -> Outcome<'r> {
        match self.args.len() {
            // A subscriber tells the answer from messages by its shape.
            1 | 2 if self.session.subscriptions > 0 => {
                reply::bulks(self.out, &[b"pong", self.args.at(1)])?;
            }
            1 => reply::simple(self.out, "PONG")?,
            2 => reply::bulk(self.out, self.args.at(1))?,
            _ => return Err(Refusal::Arity(None)),
        }
        Ok(Effect::None)
    }

    pub(super) fn echo(&mut self) -> Outcome<'r> {
        reply::bulk(self.out, self.args.at(1))?;
        Ok(Effect::None)
    }

    pub(super) fn select(&mut self) -> Outcome<'r> {
        match integer(self.args.at(1))? {
            0 => self.ok(),
            _ => Err(Refusal::Error("ERR DB index is out of range")),
        }
    }

    pub(super) fn quit(&mut self) -> Outcome<'r> {
        reply::simple(self.out, "OK")?;
        Ok(Effect::Close)
    }

    pub(super) fn reset(&mut self) -> Outcome<'r> {
        self.session.name = None;
        reply::simple(self.out, "RESET")?;
        Ok(Effect::Reset)
    }

    pub(super) fn hello(&mut self) -> Outcome<'r> {
        if self.args.len() > 1 {
            let version = parse_i64(self.args.at(1));
            match version.ok_or(Refusal::Error(
                "ERR Protocol version is not an integer or out of range",
            ))? {
                2 => {}
                _ => return Err(NO_PROTOCOL),
            }
        }
        let name = self.hello_options()?;
        if let Some(name) = name {
            self.set_name(name)?;
        }
        self.greet()?;
        Ok(Effect::None)
    }

    /// The name in the options, which are otherwise only checked.
    fn hello_options(&self) -> Result<Option<&'r [u8]>, Refusal> {
        let (mut i, mut name) = (2, None);
        while i < self.args.len() {
            let (option, left) = (self.args.at(i), self.args.len() - i - 1);
            if is(option, "auth") && left >= 2 {
                // There is one user, who has no password, so that any will do.
                if self.args.at(i + 1) != b"default" {
                    return Err(Refusal::Error(
                        "WRONGPASS invalid username-password pair or user is disabled.",
                    ));
                }
                i += 3;
            } else if is(option, "setname") && left >= 1 {
                check_name(self.args.at(i + 1))?;
                name = Some(self.args.at(i + 1));
                i += 2;
            } else {
                let text = [b"ERR Syntax error in HELLO option '", quoted(option), b"'"].concat();
                return Err(Refusal::Quoting(text));
            }
        }
        Ok(name)
    }

    fn greet(&mut self) -> Result<(), Full> {
        let out = &mut *self.out;
        reply::array(out, 14)?;
        reply::bulk(out, b"server")?;
        reply::bulk(out, b"redis")?;
        reply::bulk(out, b"version")?;
        reply::bulk(out, VERSION.as_bytes())?;
        reply::bulk(out, b"proto")?;
        reply::integer(out, 2)?;
        reply::bulk(out, b"id")?;
        reply::integer(out, self.session.id.try_into().unwrap_or(i64::MAX))?;
        reply::bulk(out, b"mode")?;
        reply::bulk(out, b"standalone")?;
        reply::bulk(out, b"role")?;
        reply::bulk(out, b"master")?;
        reply::bulk(out, b"modules")?;
        reply::array(out, 0)
    }

    pub(super) fn client(&mut self) -> Outcome<'r> {
        let subs = [
            ("getname", 2),
            ("id", 2),
            ("info", 2),
            ("list", -2),
            ("setinfo", 4),
            ("setname", 3),
        ];
        match self.subcommand(&subs)? {
            "getname" => {
                reply::bulk_or_null(self.out, self.session.name.as_deref())?;
                Ok(Effect::None)
            }
            "id" => self.integer(self.session.id.try_into().unwrap_or(i64::MAX)),
            "list" if self.args.len() > 2 => Err(SYNTAX),
            sub @ ("info" | "list") => {
                let line = self.client_line(sub);
                reply::bulk(self.out, &line)?;
                Ok(Effect::None)
            }
            "setname" => {
                self.set_name(self.args.at(2))?;
                self.ok()
            }
            // Client libraries announce themselves; there is no use for it here.
            _ if is(self.args.at(2), "lib-name") || is(self.args.at(2), "lib-ver") => self.ok(),
            _ => {
                let text = [b"ERR Unrecognized option '", quoted(self.args.at(2)), b"'"].concat();
                Err(Refusal::Quoting(text))
            }
        }
    }

    /// This connection only: the others belong to other machines.
    fn client_line(&self, sub: &str) -> Vec<u8> {
        let start = format!("id={} name=", self.session.id);
        let end = format!(
            " flags={} db=0 sub={} multi=-1 cmd=client|{sub} user=default resp=2\n",
            if self.session.subscriptions > 0 {
                'P'
            } else {
                'N'
            },
            self.session.subscriptions,
        );
        [start.as_bytes(), self.session.name(), end.as_bytes()].concat()
    }

    fn set_name(&mut self, name: &[u8]) -> Result<(), Refusal> {
        check_name(name)?;
        self.session.name = (!name.is_empty()).then(|| name.into());
        Ok(())
    }
}

/// Names appear in `CLIENT LIST`, whose fields blanks and lines part.
fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if !name.iter().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Err(BAD_NAME);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(LONG_NAME);
    }
    Ok(())
}
