//! The table of commands: what they are called, how many arguments they take, what they are for.
//!
//! It is the one place that names a command: the lookup, `COMMAND` and the checks before
//! execution are made from it, and the dispatch must match every [`Id`]. Finding
//! a name, in any case of letters, is one multiplication and one comparison of 16 bytes.

/// The data set may change.
pub(super) const WRITE: u8 = 1;
/// The data set is read.
pub(super) const READ: u8 = 2;
/// May need memory, so may be refused when the store is full.
pub(super) const DENYOOM: u8 = 4;
/// Takes constant or logarithmic time.
pub(super) const FAST: u8 = 8;
/// Part of publish and subscribe.
pub(super) const PUBSUB: u8 = 16;
/// Allowed while subscribed.
const SUBSCRIBED: u8 = 32;

/// What is known about a command.
pub(super) struct Spec {
    pub(super) id: Id,
    pub(super) name: &'static str,
    /// Arguments, the name included; negative: at least.
    pub(super) arity: i8,
    pub(super) flags: u8,
    /// The first key, the last (negative: from the end) and the step between; zeros for no key.
    pub(super) keys: [i8; 3],
    pub(super) group: &'static str,
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
}

impl Spec {
    /// Whether the command takes so many arguments, its name included.
    #[inline]
    pub(super) fn takes(&self, args: usize) -> bool {
        takes(self.arity, args)
    }

    #[inline]
    pub(super) fn in_subscribed_mode(&self) -> bool {
        self.flags & SUBSCRIBED != 0
    }

    /// The flags as `COMMAND` lists them.
    pub(super) fn flag_names(&self) -> impl Iterator<Item = &'static str> + Clone {
        let flags = self.flags;
        let names = [
            (WRITE, "write"),
            (READ, "readonly"),
            (DENYOOM, "denyoom"),
            (PUBSUB, "pubsub"),
            (FAST, "fast"),
        ];
        names
            .into_iter()
            .filter(move |(flag, _)| flags & flag != 0)
            .map(|(_, name)| name)
    }
}

/// Whether `args` arguments satisfy `arity`.
#[inline]
pub(super) fn takes(arity: i8, args: usize) -> bool {
    let least = usize::from(arity.unsigned_abs());
    if arity < 0 {
        args >= least
    } else {
        args == least
    }
}

/// The command of this name.
#[inline]
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let packed = match name.len() {
        ..=8 => u128::from(pack_short(name)),
        _ => pack(name),
    };
    let mut at = bucket(packed);
    // Ends: most buckets are empty.
    loop {
        let i = usize::from(BUCKETS[at]);
        let spec = COMMANDS.get(i)?;
        if PACKED[i] == packed {
            return Some(spec);
        }
        at = (at + 1) % BUCKETS.len();
    }
}

const NAME_MAX: usize = 16;
const FREE: u8 = u8::MAX;

/// The name in lower case as one number. Exact for what can match: setting bit 5 makes a letter
/// of nothing but letters, and the table has only letters.
#[inline]
const fn pack(name: &[u8]) -> u128 {
    let (mut packed, mut i) = (0, 0);
    while i < name.len() {
        packed = packed << 8 | (name[i] | 0x20) as u128;
        i += 1;
    }
    packed
}

/// The same for a name that fits into half as many bits, as most do.
#[inline]
fn pack_short(name: &[u8]) -> u64 {
    name.iter()
        .fold(0, |packed, byte| packed << 8 | u64::from(*byte | 0x20))
}

#[inline]
const fn bucket(packed: u128) -> usize {
    let folded = packed as u64 ^ ((packed >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

const PACKED: [u128; COMMANDS.len()] = {
    let mut packed = [0; COMMANDS.len()];
    let mut i = 0;
    while i < packed.len() {
        packed[i] = pack(COMMANDS[i].name.as_bytes());
        i += 1;
    }
    packed
};

static BUCKETS: [u8; 256] = {
    let mut buckets = [FREE; 256];
    let mut i = 0;
    while i < PACKED.len() {
        let mut at = bucket(PACKED[i]);
        while buckets[at] != FREE {
            at = (at + 1) % buckets.len();
        }
        buckets[at] = i as u8;
        i += 1;
    }
    buckets
};

macro_rules! commands {
    ($($id:ident $name:literal $arity:literal ($flags:expr) $keys:tt $group:literal $since:literal $summary:literal;)*) => {
        /// Names a command within the program.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Id { $($id),* }

        /// All commands.
        pub(super) static COMMANDS: [Spec; [$(Id::$id),*].len()] = [$(Spec {
            id: Id::$id,
            name: $name,
            arity: $arity,
            flags: $flags,
            keys: $keys,
            group: $group,
            since: $since,
            summary: $summary,
        }),*];
    };
}

commands! {
    Append "append" 3 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "2.0.0" "Append a value to a key";
    Client "client" -2 (0) [0, 0, 0] "connection" "2.4.0" "Commands about client connections";
    Command "command" -1 (0) [0, 0, 0] "server" "2.8.13" "Get details about the commands";
    Config "config" -2 (0) [0, 0, 0] "server" "2.0.0" "Commands about the configuration";
    Dbsize "dbsize" 1 (READ | FAST) [0, 0, 0] "server" "1.0.0" "Return the number of keys";
    Decr "decr" 2 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Decrement the integer value of a key by one";
    Decrby "decrby" 3 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Decrement the integer value of a key by the given number";
    Del "del" -2 (WRITE) [1, -1, 1] "generic" "1.0.0" "Delete keys";
    Echo "echo" 2 (FAST) [0, 0, 0] "connection" "1.0.0" "Echo the given string";
    Exists "exists" -2 (READ | FAST) [1, -1, 1] "generic" "1.0.0" "Count which of the keys exist";
    Expire "expire" -3 (WRITE | FAST) [1, 1, 1] "generic" "1.0.0" "Set a key's time to live in seconds";
    Expireat "expireat" -3 (WRITE | FAST) [1, 1, 1] "generic" "1.2.0" "Set when a key expires, in Unix seconds";
    Expiretime "expiretime" 2 (READ | FAST) [1, 1, 1] "generic" "7.0.0" "Get when a key expires, in Unix seconds";
    Flushall "flushall" -1 (WRITE) [0, 0, 0] "server" "1.0.0" "Remove all keys";
    Flushdb "flushdb" -1 (WRITE) [0, 0, 0] "server" "1.0.0" "Remove all keys of the database";
    Get "get" 2 (READ | FAST) [1, 1, 1] "string" "1.0.0" "Get the value of a key";
    Getdel "getdel" 2 (WRITE | FAST) [1, 1, 1] "string" "6.2.0" "Get the value of a key and delete the key";
    Getset "getset" 3 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Set the value of a key and return its old value";
    Hello "hello" -1 (FAST) [0, 0, 0] "connection" "6.0.0" "Agree on the protocol";
    Incr "incr" 2 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Increment the integer value of a key by one";
    Incrby "incrby" 3 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Increment the integer value of a key by the given number";
    Info "info" -1 (0) [0, 0, 0] "server" "1.0.0" "Get information and statistics about the server";
    Keys "keys" 2 (READ) [0, 0, 0] "generic" "1.0.0" "Find all keys that match a pattern";
    Mget "mget" -2 (READ | FAST) [1, -1, 1] "string" "1.0.0" "Get the values of all the given keys";
    Mset "mset" -3 (WRITE | DENYOOM) [1, -1, 2] "string" "1.0.1" "Set several keys, all or none";
    Persist "persist" 2 (WRITE | FAST) [1, 1, 1] "generic" "2.2.0" "Remove the time to live of a key";
    Pexpire "pexpire" -3 (WRITE | FAST) [1, 1, 1] "generic" "2.6.0" "Set a key's time to live in milliseconds";
    Pexpireat "pexpireat" -3 (WRITE | FAST) [1, 1, 1] "generic" "2.6.0" "Set when a key expires, in Unix milliseconds";
    Pexpiretime "pexpiretime" 2 (READ | FAST) [1, 1, 1] "generic" "7.0.0" "Get when a key expires, in Unix milliseconds";
    Ping "ping" -1 (FAST | SUBSCRIBED) [0, 0, 0] "connection" "1.0.0" "Ping the server";
    Psetex "psetex" 4 (WRITE | DENYOOM) [1, 1, 1] "string" "2.6.0" "Set the value and the time to live in milliseconds of a key";
    Psubscribe "psubscribe" -2 (PUBSUB | SUBSCRIBED) [0, 0, 0] "pubsub" "2.0.0" "Listen for messages on channels that match the patterns";
    Pttl "pttl" 2 (READ | FAST) [1, 1, 1] "generic" "2.6.0" "Get the time to live of a key in milliseconds";
    Publish "publish" 3 (PUBSUB | FAST) [0, 0, 0] "pubsub" "2.0.0" "Post a message to a channel";
    Punsubscribe "punsubscribe" -1 (PUBSUB | SUBSCRIBED) [0, 0, 0] "pubsub" "2.0.0" "Stop listening for messages on channels that match the patterns";
    Quit "quit" -1 (FAST | SUBSCRIBED) [0, 0, 0] "connection" "1.0.0" "Close the connection";
    Reset "reset" 1 (FAST | SUBSCRIBED) [0, 0, 0] "connection" "6.2.0" "Reset the connection";
    Scan "scan" -2 (READ) [0, 0, 0] "generic" "2.8.0" "Incrementally iterate the keys";
    Select "select" 2 (FAST) [0, 0, 0] "connection" "1.0.0" "Change the database (there is one: 0)";
    Set "set" -3 (WRITE | DENYOOM) [1, 1, 1] "string" "1.0.0" "Set the value of a key";
    Setex "setex" 4 (WRITE | DENYOOM) [1, 1, 1] "string" "2.0.0" "Set the value and the time to live of a key";
    Setnx "setnx" 3 (WRITE | DENYOOM | FAST) [1, 1, 1] "string" "1.0.0" "Set the value of a key only if it does not exist";
    Strlen "strlen" 2 (READ | FAST) [1, 1, 1] "string" "2.2.0" "Get the length of the value of a key";
    Subscribe "subscribe" -2 (PUBSUB | SUBSCRIBED) [0, 0, 0] "pubsub" "2.0.0" "Listen for messages on the channels";
    Touch "touch" -2 (READ | FAST) [1, -1, 1] "generic" "3.2.1" "Count which of the keys exist";
    Ttl "ttl" 2 (READ | FAST) [1, 1, 1] "generic" "1.0.0" "Get the time to live of a key in seconds";
    Type "type" 2 (READ | FAST) [1, 1, 1] "generic" "1.0.0" "Determine the type of a key";
    Unlink "unlink" -2 (WRITE | FAST) [1, -1, 1] "generic" "4.0.0" "Delete keys";
    Unsubscribe "unsubscribe" -1 (PUBSUB | SUBSCRIBED) [0, 0, 0] "pubsub" "2.0.0" "Stop listening for messages on the channels";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        for spec in &COMMANDS {
            assert!(spec.name.bytes().all(|byte| byte.is_ascii_lowercase()));
            for name in [spec.name.to_string(), spec.name.to_uppercase()] {
                assert_eq!(find(name.as_bytes()).map(|found| found.id), Some(spec.id));
            }
        }
        assert_eq!(find(b"gEt").map(|found| found.id), Some(Id::Get));
    }

    #[test]
    fn nothing_else_is() {
        let long = [b'a'; 17];
        for name in [
            &b""[..],
            b"ge",
            b"gett",
            b"get\0",
            b"\0get",
            b"get ",
            b"config|get",
            b"[",
            &long,
        ] {
            assert!(find(name).is_none(), "{}", name.escape_ascii());
        }
        // A byte that differs from a letter of the name in bit 5 only, and is no letter.
        assert!(find(b"GET".map(|byte| byte | 0x80).as_slice()).is_none());
    }

    #[test]
    fn arity_counts_the_name() {
        assert!(takes(2, 2) && !takes(2, 1) && !takes(2, 3));
        assert!(takes(-2, 2) && takes(-2, 9) && !takes(-2, 1));
    }
}
