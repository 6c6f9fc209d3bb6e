//! `Join`: how the replies of several workers become the reply to one command.
//!
//! If one of them is an error, that is the reply: what the others did stays done.

use super::super::command;
use super::super::number::parse_i64;
use super::super::reply::{self, Full, Out};
use super::super::resp::Args;
use super::super::server::Totals;

/// What to do with the replies of several workers.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Join {
    /// Integers: their sum.
    Sum,
    /// `+OK` from each.
    Ok,
    /// Arrays: one after the other.
    Arrays,
    /// Arrays of values, as many as keys went to each: the values in the order of the keys.
    Values,
    /// Totals: those of all, told as these arguments of `INFO` ask for.
    Info(Vec<Vec<u8>>),
}

impl Join {
    /// For an `INFO` with these arguments.
    pub fn info(args: Args<'_>) -> Self {
        Join::Info(args.iter().map(<[u8]>::to_vec).collect())
    }

    /// Writes the one reply. `order` has the workers that replied (for values: the worker of each key), and `answer`
    /// the reply of each.
    pub fn write<'a>(
        &self,
        order: &[u16],
        answer: impl Fn(u16) -> &'a [u8],
        out: &mut impl Out,
    ) -> Result<(), Full> {
        let answers = || order.iter().map(|worker| answer(*worker));
        if let Some(error) = answers().find(|answer| answer.first() == Some(&b'-')) {
            return out.put(error);
        }
        match self {
            Join::Sum => reply::integer(out, answers().map(integer).sum()),
            Join::Ok => reply::simple(out, "OK"),
            Join::Arrays => {
                reply::array(out, answers().map(|answer| array(answer).0).sum())?;
                answers().try_for_each(|answer| out.put(array(answer).1))
            }
            Join::Values => values(order, answer, out),
            Join::Info(wanted) => {
                let mut all = Totals::default();
                answers().for_each(|answer| all.add(&read_totals(answer)));
                command::info(out, wanted.iter().map(Vec::as_slice), &all)
            }
        }
    }
}

fn values<'a>(
    order: &[u16],
    answer: impl Fn(u16) -> &'a [u8],
    out: &mut impl Out,
) -> Result<(), Full> {
    let workers = order.iter().max().map_or(0, |last| usize::from(*last) + 1);
    let mut rests = vec![None; workers];
    reply::array(out, order.len())?;
    for worker in order {
        if let Some(rest) = rests.get_mut(usize::from(*worker)) {
            let (value, after) = bulk(rest.unwrap_or_else(|| array(answer(*worker)).1));
            *rest = Some(after);
            out.put(value)?;
        }
    }
    Ok(())
}

/// Totals as a reply between workers: an array of integers.
pub(super) fn write_totals(out: &mut impl Out, totals: &Totals) -> Result<(), Full> {
    let mut totals = *totals;
    let all = numbers(&mut totals);
    reply::array(out, all.len())?;
    all.into_iter()
        .try_for_each(|number| reply::integer(out, i64::try_from(*number).unwrap_or(i64::MAX)))
}

fn read_totals(answer: &[u8]) -> Totals {
    let mut totals = Totals::default();
    let mut rest = array(answer).1;
    for number in numbers(&mut totals) {
        let (text, after) = line(rest);
        *number = integer(text).unsigned_abs();
        rest = after;
    }
    totals
}

fn numbers(totals: &mut Totals) -> [&mut u64; 11] {
    let Totals {
        uptime_s,
        clients,
        maxmemory,
        used_bytes,
        keys,
        expiring,
        expired,
        connections,
        commands,
        rejected,
        cut,
    } = totals;
    [
        uptime_s,
        clients,
        maxmemory,
        used_bytes,
        keys,
        expiring,
        expired,
        connections,
        commands,
        rejected,
        cut,
    ]
}

/// The first line, its end included, and what follows. All that is read here was written by `reply`.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n');
    bytes.split_at(end.map_or(bytes.len(), |end| end + 1))
}

/// The number on a line `:n` (or of another type).
fn integer(line: &[u8]) -> i64 {
    let digits = line.get(1..).unwrap_or(&[]);
    parse_i64(digits.strip_suffix(b"\r\n").unwrap_or(digits)).unwrap_or(0)
}

/// How many elements an array has, and its elements.
fn array(answer: &[u8]) -> (usize, &[u8]) {
    let (head, elements) = line(answer);
    (usize::try_from(integer(head)).unwrap_or(0), elements)
}

/// The first bulk, or the absent value, and what follows.
fn bulk(elements: &[u8]) -> (&[u8], &[u8]) {
    let (head, rest) = line(elements);
    let bytes = match usize::try_from(integer(head)) {
        Ok(len) => head.len() + (len + 2).min(rest.len()),
        Err(_) => head.len(),
    };
    elements.split_at(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(join: Join, order: &[u16], answers: &[&[u8]]) -> String {
        let mut out = Vec::new();
        let answer = |worker: u16| answers[usize::from(worker)];
        join.write(order, answer, &mut out).unwrap();
        String::from_utf8(out).unwrap().replace("\r\n", "|")
    }

    #[test]
    fn each_kind() {
        let sum = |answers: &[&[u8]]| joined(Join::Sum, &[0, 1, 2], answers);
        assert_eq!(sum(&[b":1\r\n", b":0\r\n", b":41\r\n"]), ":42|");
        assert_eq!(sum(&[b":1\r\n", b"-ERR x\r\n", b"-ERR y\r\n"]), "-ERR x|");
        assert_eq!(joined(Join::Ok, &[0, 1], &[&b"+OK\r\n"[..]; 2]), "+OK|");
        assert_eq!(
            joined(Join::Ok, &[0, 1], &[b"+OK\r\n", b"-OOM x\r\n"]),
            "-OOM x|"
        );
        assert_eq!(
            joined(
                Join::Arrays,
                &[0, 1, 2],
                &[
                    b"*1\r\n$1\r\na\r\n",
                    b"*0\r\n",
                    b"*2\r\n$1\r\nb\r\n$0\r\n\r\n"
                ]
            ),
            "*3|$1|a|$1|b|$0||"
        );
    }

    #[test]
    fn values_come_in_the_order_of_their_keys() {
        let answers = [
            &b"*2\r\n$4\r\n\r\n$9\r\n$-1\r\n"[..],
            b"",
            b"*3\r\n$-1\r\n$1\r\nb\r\n$0\r\n\r\n",
        ];
        assert_eq!(
            joined(Join::Values, &[2, 0, 2, 2, 0], &answers),
            "*5|$-1|$4||$9|$1|b|$0||$-1|"
        );
    }

    #[test]
    fn totals_are_added_but_for_what_each_knows_of_all() {
        let one = Totals {
            uptime_s: 5,
            clients: 7,
            maxmemory: 100,
            used_bytes: 1,
            keys: 2,
            expiring: 3,
            expired: 4,
            connections: 5,
            commands: 6,
            rejected: 7,
            cut: 8,
        };
        let mut answer = Vec::new();
        write_totals(&mut answer, &one).unwrap();
        assert_eq!(read_totals(&answer), one);
        let text = joined(Join::Info(Vec::new()), &[0, 1], &[&answer, &answer]);
        for line in [
            "connected_clients:7|",
            "used_memory:2|maxmemory:100|",
            "uptime_in_seconds:5|",
            "total_connections_received:10|total_commands_processed:12|rejected_connections:14|expired_keys:8|",
            "disconnections:16|",
            "keys=4,expires=6,",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
