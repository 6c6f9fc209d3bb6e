//! Values, keys, times to live, and the limit on memory.

use super::*;

use std::collections::BTreeSet;

const NOT_INTEGER: &str = "-ERR value is not an integer or out of range|";
const SYNTAX: &str = "-ERR syntax error|";
const OOM: &str = "-OOM command not allowed when used memory > 'maxmemory'.|";
const BAD_SET_TTL: &str = "-ERR invalid expire time in 'set' command|";

#[test]
fn get_and_set() {
    Client::new().check(&[
        ("get a", "$-1|"),
        ("set a 1", "+OK|"),
        ("get a", "$1|1|"),
        ("set a \"\"", "+OK|"),
        ("get a", "$0||"),
        ("strlen a", ":0|"),
        ("strlen none", ":0|"),
        ("setnx a 2", ":0|"),
        ("setnx b 2", ":1|"),
        ("getset b 3", "$1|2|"),
        ("getset c 4", "$-1|"),
        ("getdel b", "$1|3|"),
        ("getdel b", "$-1|"),
        ("mget a b c", "*3|$0||$-1|$1|4|"),
    ]);
}

#[test]
fn set_with_conditions() {
    Client::new().check(&[
        ("set a 1 xx", "$-1|"),
        ("set a 1 NX", "+OK|"),
        ("set a 2 nx", "$-1|"),
        ("set a 2 xx", "+OK|"),
        ("set a 3 get", "$1|2|"),
        ("set a 4 nx get", "$1|3|"),
        ("get a", "$1|3|"),
        ("set b 1 nx get", "$-1|"),
        ("get b", "$1|1|"),
        ("set a 1 nx xx", SYNTAX),
        ("set a 1 foo", SYNTAX),
    ]);
}

#[test]
fn set_with_a_time_to_live() {
    let mut client = Client::new();
    client.check(&[
        ("set a 1 ex 10", "+OK|"),
        ("pttl a", ":10000|"),
        ("set a 1 keepttl", "+OK|"),
        ("pttl a", ":10000|"),
        ("set a 1", "+OK|"),
        ("pttl a", ":-1|"),
        ("set a 1 px 1500 nx", "$-1|"),
        ("set a 1 px 1500", "+OK|"),
        ("pttl a", ":1500|"),
        ("set a 1 exat 1700000100", "+OK|"),
        ("ttl a", ":100|"),
        ("set a 1 pxat 1700000000005", "+OK|"),
        ("pttl a", ":5|"),
        ("setex a 3 v", "+OK|"),
        ("pttl a", ":3000|"),
        ("psetex a 7 v", "+OK|"),
        ("pttl a", ":7|"),
        ("set gone 1 exat 1", "+OK|"),
        ("get gone", "$-1|"),
        ("set a 1 ex 0", BAD_SET_TTL),
        ("set a 1 px -1", BAD_SET_TTL),
        ("set a 1 ex 9223372036854775807", BAD_SET_TTL),
        ("set a 1 px 9223372036854775807", BAD_SET_TTL),
        ("set a 1 ex b", NOT_INTEGER),
        ("set a 1 ex", SYNTAX),
        ("set a 1 ex 1 px 1", SYNTAX),
        ("set a 1 ex 1 keepttl", SYNTAX),
        ("set a 1 keepttl ex 1", SYNTAX),
        ("set a 1 ex x ex 0", BAD_SET_TTL),
        (
            "setex a 0 v",
            "-ERR invalid expire time in 'setex' command|",
        ),
        ("psetex a x v", NOT_INTEGER),
    ]);
    client.now_ms += 7;
    client.check(&[("get a", "$-1|"), ("dbsize", ":0|")]);
}

#[test]
fn counters() {
    Client::new().check(&[
        ("incr a", ":1|"),
        ("incrby a 41", ":42|"),
        ("decr a", ":41|"),
        ("decrby a 50", ":-9|"),
        ("get a", "$2|-9|"),
        ("set a 9223372036854775807 ex 100", "+OK|"),
        ("incr a", "-ERR increment or decrement would overflow|"),
        ("decr a", ":9223372036854775806|"),
        ("ttl a", ":100|"),
        ("set a abc", "+OK|"),
        ("incr a", NOT_INTEGER),
        ("incrby a x", NOT_INTEGER),
        ("set a 01", "+OK|"),
        ("incr a", NOT_INTEGER),
        (
            "decrby b -9223372036854775808",
            "-ERR decrement would overflow|",
        ),
        ("incrby b -9223372036854775808", ":-9223372036854775808|"),
        ("decr b", "-ERR increment or decrement would overflow|"),
    ]);
}

#[test]
fn many_at_once() {
    Client::new().check(&[
        ("mset a 1 b 2 a 3", "+OK|"),
        ("mget a b", "*2|$1|3|$1|2|"),
        (
            "mset a 1 b",
            "-ERR wrong number of arguments for 'mset' command|",
        ),
        ("exists a b a c", ":3|"),
        ("touch a c", ":1|"),
        ("del a a c", ":1|"),
        ("unlink b", ":1|"),
        ("dbsize", ":0|"),
    ]);
}

#[test]
fn append_up_to_the_limit() {
    let mut client = Client::with(Limits {
        bulk_bytes_max: 20,
        ..Limits::default()
    });
    client.check(&[
        ("append a 0123456789", ":10|"),
        ("append a abcdefghij", ":20|"),
        (
            "append a x",
            "-ERR string exceeds maximum allowed size (proto-max-bulk-len)|",
        ),
        ("get a", "$20|0123456789abcdefghij|"),
        ("append b \"\"", ":0|"),
        ("exists b", ":1|"),
        ("set c 1 ex 5", "+OK|"),
        ("append c 2", ":2|"),
        ("ttl c", ":5|"),
    ]);
}

#[test]
fn expire_and_its_kin() {
    let mut client = Client::new();
    client.check(&[
        ("expire a 10", ":0|"),
        ("ttl a", ":-2|"),
        ("pttl a", ":-2|"),
        ("expiretime a", ":-2|"),
        ("set a 1", "+OK|"),
        ("ttl a", ":-1|"),
        ("expiretime a", ":-1|"),
        ("persist a", ":0|"),
        ("expire a 10", ":1|"),
        ("pttl a", ":10000|"),
        ("expiretime a", ":1700000010|"),
        ("pexpiretime a", ":1700000010000|"),
        ("persist a", ":1|"),
        ("ttl a", ":-1|"),
        ("pexpire a 1499", ":1|"),
        ("ttl a", ":1|"),
        ("pexpire a 1500", ":1|"),
        ("ttl a", ":2|"),
        ("expireat a 1700000020", ":1|"),
        ("ttl a", ":20|"),
        ("pexpireat a 1700000000020", ":1|"),
        ("pttl a", ":20|"),
        ("expire a 0", ":1|"),
        ("exists a", ":0|"),
        ("set a 1", "+OK|"),
        ("expireat a -5", ":1|"),
        ("exists a", ":0|"),
        ("expire a x", NOT_INTEGER),
        (
            "expire a 9223372036854775807",
            "-ERR invalid expire time in 'expire' command|",
        ),
        (
            "pexpire a 9223372036854775807",
            "-ERR invalid expire time in 'pexpire' command|",
        ),
        (
            "expireat a -9223372036854775808",
            "-ERR invalid expire time in 'expireat' command|",
        ),
    ]);
    client.check(&[("set b 1 ex 5", "+OK|")]);
    assert_eq!(client.server.store.next_expiry(), Some(START_MS + 5000));
    client.now_ms += 4999;
    client.check(&[("get b", "$1|1|"), ("pttl b", ":1|")]);
    client.now_ms += 1;
    client.check(&[("get b", "$-1|"), ("ttl b", ":-2|")]);
}

#[test]
fn expire_with_conditions() {
    Client::new().check(&[
        ("set a 1", "+OK|"),
        ("expire a 10 xx", ":0|"),
        ("expire a 10 gt", ":0|"),
        ("expire a 10 nx", ":1|"),
        ("expire a 20 nx", ":0|"),
        ("expire a 5 gt", ":0|"),
        ("expire a 20 gt", ":1|"),
        ("expire a 30 lt", ":0|"),
        ("expire a 10 LT xx", ":1|"),
        ("ttl a", ":10|"),
        ("persist a", ":1|"),
        ("expire a 10 lt", ":1|"),
        ("expire a 10 foo", "-ERR Unsupported option foo|"),
        (
            "expire a 1 nx gt",
            "-ERR NX and XX, GT or LT options at the same time are not compatible|",
        ),
        (
            "expire a 1 gt lt",
            "-ERR GT and LT options at the same time are not compatible|",
        ),
    ]);
}

#[test]
fn keys_and_types() {
    let mut client = Client::new();
    client.check(&[
        ("mset key:1 a key:2 b other c", "+OK|"),
        ("set gone x px 1", "+OK|"),
        ("type other", "+string|"),
        ("type none", "+none|"),
        ("keys oth*", "*1|$5|other|"),
        ("keys other", "*1|$5|other|"),
        ("keys x", "*0|"),
    ]);
    client.now_ms += 1;
    // Untouched, the expired key still counts.
    client.check(&[("keys *o*", "*1|$5|other|"), ("dbsize", ":4|")]);
    assert_eq!(client.server.store.expire_due(client.now_ms, 10), 1);
    client.check(&[
        ("dbsize", ":3|"),
        ("flushdb foo", SYNTAX),
        ("flushall a b", SYNTAX),
        ("flushall async", "+OK|"),
        ("dbsize", ":0|"),
        ("flushdb", "+OK|"),
    ]);
}

#[test]
fn scan_goes_through_all_keys() {
    let mut client = Client::new();
    let all: BTreeSet<String> = (0..100).map(|n| format!("key:{n}")).collect();
    for key in &all {
        client.ask(&format!("set {key} v"));
    }
    let (mut cursor, mut met, mut calls) = (String::from("0"), Vec::new(), 0);
    loop {
        let reply = client.ask(&format!("scan {cursor} match key:* count 7"));
        let mut words = reply
            .split('|')
            .filter(|word| !word.starts_with(['$', '*', ' ']));
        cursor = words.next().unwrap().into();
        met.extend(words.filter(|word| !word.is_empty()).map(String::from));
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!((met.len(), calls), (100, 15));
    assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), all);
}

#[test]
fn scan_options() {
    Client::new().check(&[
        ("scan 0", "*2|$1|0|*0|"),
        ("mset a 1 b 2", "+OK|"),
        ("scan 0 count 1", "*2|$1|1|*1|$1|a|"),
        ("scan 1 count 1", "*2|$1|0|*1|$1|b|"),
        ("scan 0 MATCH b", "*2|$1|0|*1|$1|b|"),
        ("scan 0 type string match a", "*2|$1|0|*1|$1|a|"),
        ("scan 0 type list", "*2|$1|0|*0|"),
        ("scan 18446744073709551615", "*2|$1|0|*0|"),
        ("scan a", "-ERR invalid cursor|"),
        ("scan 18446744073709551616", "-ERR invalid cursor|"),
        ("scan 0 count 0", SYNTAX),
        ("scan 0 count -1", SYNTAX),
        ("scan 0 count x", NOT_INTEGER),
        ("scan 0 match", SYNTAX),
        ("scan 0 foo 1", SYNTAX),
        ("scan 0 count 9223372036854775807", "*2|$1|0|*2|$1|a|$1|b|"),
    ]);
}

#[test]
fn a_full_store_says_so_and_changes_nothing() {
    let mut client = Client::with(Limits {
        store_bytes_max: 300,
        ..Limits::default()
    });
    let big = "x".repeat(200);
    client.check(&[
        ("mset a 1 b 2", "+OK|"),
        ("set c 3", OOM),
        ("setnx c 3", OOM),
        ("setex c 10 3", OOM),
        ("incr c", OOM),
        ("append c 3", OOM),
        ("getset c 3", OOM),
        ("set c 3 get", OOM),
        ("mset a 9 c 3", OOM),
        (&format!("set a {big}"), OOM),
        (&format!("append a {big}"), OOM),
        (&format!("getset a {big}"), OOM),
        ("mget a b c", "*3|$1|1|$1|2|$-1|"),
        ("set a 5", "+OK|"),
        ("incr a", ":6|"),
        ("mset a 7 b 8", "+OK|"),
        ("del b", ":1|"),
        ("set c 3", "+OK|"),
        ("config get maxmemory", "*2|$9|maxmemory|$3|300|"),
    ]);
}

#[test]
fn values_are_any_bytes() {
    let mut client = Client::new();
    client.ask(r#"set "a\x00\r\n" "\xff\x00\r\n""#);
    let mut out = Vec::new();
    reply::bulk_or_null(&mut out, client.server.store.get(b"a\0\r\n", START_MS)).unwrap();
    assert_eq!(out, b"$4\r\n\xff\0\r\n\r\n");
}
