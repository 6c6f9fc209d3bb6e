//! Commands about the server: configuration, statistics, and the commands themselves.

use super::super::glob;
use super::super::reply::{self, Full, Out};
use super::super::server::Totals;
use super::admin::VERSION;
use super::table::{self, COMMANDS, Spec};
use super::{Call, Effect, Outcome, Refusal, is, quoted};
use std::fmt::Write;

impl<'r, O: Out> Call<'r, '_, O> {
    pub(super) fn config(&mut self) -> Outcome<'r> {
        match self.subcommand(&[("get", -3), ("set", -4), ("resetstat", 2)])? {
            "get" => self.config_get(),
            "set" => Err(self.config_set()),
            _ => {
                self.server.stats.commands = 0;
                self.ok()
            }
        }
    }

    fn config_get(&mut self) -> Outcome<'r> {
        let patterns = self.args.from(2);
        // Parameter names are of lower case, and any case asks for them.
        let patterns: Vec<Vec<u8>> = patterns.iter().map(<[u8]>::to_ascii_lowercase).collect();
        let wanted = |(name, _): &&(&str, String)| {
            patterns
                .iter()
                .any(|pattern| glob::matches(pattern, name.as_bytes()))
        };
        let parameters = self.parameters();
        reply::array(self.out, 2 * parameters.iter().filter(wanted).count())?;
        for (name, value) in parameters.iter().filter(wanted) {
            reply::bulk(self.out, name.as_bytes())?;
            reply::bulk(self.out, value.as_bytes())?;
        }
        Ok(Effect::None)
    }

    /// Nothing can be changed while the server runs.
    fn config_set(&self) -> Refusal {
        let pairs = self.args.from(2);
        if !pairs.len().is_multiple_of(2) {
            return Refusal::Arity(Some("set"));
        }
        let known = self.parameters().map(|(name, _)| name);
        let unknown = pairs
            .pairs()
            .find(|(name, _)| !known.iter().any(|known| is(name, known)));
        Refusal::Quoting(match unknown {
            Some((name, _)) => {
                let text = b"ERR Unknown option or number of arguments for CONFIG SET - '";
                [text, quoted(name), b"'"].concat()
            }
            None => {
                let text = b"ERR CONFIG SET failed (possibly related to argument '";
                [
                    text,
                    quoted(pairs.at(0)),
                    b"') - can't set immutable config",
                ]
                .concat()
            }
        })
    }

    /// What `redis-benchmark` and client libraries ask for, and the limits.
    fn parameters(&self) -> [(&'static str, String); 8] {
        let limits = &self.server.limits;
        [
            ("save", String::new()),
            ("appendonly", "no".into()),
            ("databases", "1".into()),
            ("maxclients", limits.clients_max.to_string()),
            ("maxmemory", self.server.maxmemory().to_string()),
            ("maxmemory-policy", "noeviction".into()),
            ("proto-max-bulk-len", limits.bulk_bytes_max.to_string()),
            (
                "client-query-buffer-limit",
                limits.request_bytes_max.to_string(),
            ),
        ]
    }

    pub(super) fn info(&mut self) -> Outcome<'r> {
        let totals = self.server.totals(self.now_ms);
        info(self.out, self.args.from(1).iter(), &totals)?;
        Ok(Effect::None)
    }

    pub(super) fn command(&mut self) -> Outcome<'r> {
        if self.args.len() == 1 {
            reply::array(self.out, COMMANDS.len())?;
            COMMANDS
                .iter()
                .try_for_each(|spec| describe(spec, self.out))?;
            return Ok(Effect::None);
        }
        let names = self.args.from(2);
        match self.subcommand(&[("count", 2), ("docs", -2), ("info", -2), ("list", -2)])? {
            "count" => return self.count(COMMANDS.len()),
            "docs" if names.is_empty() => {
                reply::array(self.out, 2 * COMMANDS.len())?;
                COMMANDS
                    .iter()
                    .try_for_each(|spec| document(spec, self.out))?;
            }
            "docs" => {
                let known = || names.iter().filter_map(table::find);
                reply::array(self.out, 2 * known().count())?;
                known().try_for_each(|spec| document(spec, self.out))?;
            }
            "info" if names.is_empty() => {
                reply::array(self.out, COMMANDS.len())?;
                COMMANDS
                    .iter()
                    .try_for_each(|spec| describe(spec, self.out))?;
            }
            "info" => {
                reply::array(self.out, names.len())?;
                names.iter().try_for_each(|name| match table::find(name) {
                    Some(spec) => describe(spec, self.out),
                    None => reply::null(self.out),
                })?;
            }
            _ if !names.is_empty() => return Err(super::SYNTAX),
            _ => {
                reply::array(self.out, COMMANDS.len())?;
                COMMANDS
                    .iter()
                    .try_for_each(|spec| reply::bulk(self.out, spec.name.as_bytes()))?;
            }
        }
        Ok(Effect::None)
    }
}

/// The reply to `INFO` with these arguments.
pub(in super::super) fn info<'a>(
    out: &mut impl Out,
    wanted: impl ExactSizeIterator<Item = &'a [u8]> + Clone,
    totals: &Totals,
) -> Result<(), Full> {
    let all = wanted.len() == 0
        || wanted.clone().any(|arg| {
            ["all", "default", "everything"]
                .iter()
                .any(|word| is(arg, word))
        });
    let mut text = String::new();
    for (name, lines) in sections(totals) {
        if all || wanted.clone().any(|arg| is(arg, name)) {
            let blank = if text.is_empty() { "" } else { "\r\n" };
            // Writing to a string cannot fail.
            let _ = write!(text, "{blank}# {name}\r\n{lines}");
        }
    }
    reply::bulk(out, text.as_bytes())
}

fn sections(totals: &Totals) -> [(&'static str, String); 5] {
    let keyspace = match totals.keys {
        0 => String::new(),
        keys => format!("db0:keys={keys},expires={},avg_ttl=0\r\n", totals.expiring),
    };
    [
        (
            "Server",
            format!(
                "redis_version:{VERSION}\r\nserver_name:kv\r\nredis_mode:standalone\r\n\
                 uptime_in_seconds:{}\r\nuptime_in_days:{}\r\n",
                totals.uptime_s,
                totals.uptime_s / 86_400
            ),
        ),
        (
            "Clients",
            format!("connected_clients:{}\r\n", totals.clients),
        ),
        (
            "Memory",
            format!(
                "used_memory:{}\r\nmaxmemory:{}\r\nmaxmemory_policy:noeviction\r\n",
                totals.used_bytes, totals.maxmemory
            ),
        ),
        (
            "Stats",
            format!(
                "total_connections_received:{}\r\ntotal_commands_processed:{}\r\n\
                 rejected_connections:{}\r\nexpired_keys:{}\r\n\
                 client_output_buffer_limit_disconnections:{}\r\n",
                totals.connections, totals.commands, totals.rejected, totals.expired, totals.cut,
            ),
        ),
        ("Keyspace", keyspace),
    ]
}

/// One element of `COMMAND INFO`: ten fields, of which the last four stay empty.
fn describe(spec: &Spec, out: &mut impl Out) -> Result<(), Full> {
    reply::array(out, 10)?;
    reply::bulk(out, spec.name.as_bytes())?;
    reply::integer(out, spec.arity.into())?;
    reply::array(out, spec.flag_names().count())?;
    spec.flag_names()
        .try_for_each(|flag| reply::simple(out, flag))?;
    spec.keys
        .iter()
        .try_for_each(|key| reply::integer(out, i64::from(*key)))?;
    (0..4).try_for_each(|_| reply::array(out, 0))
}

/// One pair of `COMMAND DOCS`.
fn document(spec: &Spec, out: &mut impl Out) -> Result<(), Full> {
    let fields = [
        ("summary", spec.summary),
        ("since", spec.since),
        ("group", spec.group),
    ];
    reply::bulk(out, spec.name.as_bytes())?;
    reply::array(out, 2 * fields.len())?;
    fields.iter().try_for_each(|(name, text)| {
        reply::bulk(out, name.as_bytes())?;
        reply::bulk(out, text.as_bytes())
    })
}
