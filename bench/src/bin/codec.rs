//! What the guarded codec of typed RPC costs, against postcard by itself.
//!
//! Both encode and decode the same values to and from the same bytes, in turns: a tree of 1,023 nodes, where the time
//! is that of one node, and a request of 40 bytes. Encoding goes into a buffer that is used again. Decoding includes
//! dropping the value.

use rotor_bench::args::Args;
use rotor_bench::plain;
use rotor_bench::rate::{Contestant, compare};
use rotor_net::rpc::codec::{self, Limits};
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(i64),
    Sum(Box<Tree>, Box<Tree>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Request {
    List,
    Get { name: String, offset: u64, len: u32 },
    Delete(String),
}

const TREE_DEPTH: u32 = 9;
const TREE_NODES: u64 = (2 << TREE_DEPTH) - 1;

fn main() {
    let mut args = Args::from_env();
    let rounds = args.option("--rounds").unwrap_or(51).max(1);
    args.finish();
    figures("tree-node", rounds, TREE_NODES, 300_000, || {
        tree(TREE_DEPTH)
    });
    figures("request", rounds, 1, 300_000, request);
}

fn tree(depth: u32) -> Tree {
    match depth {
        0 => Tree::Leaf(-1000),
        _ => Tree::Sum(Box::new(tree(depth - 1)), Box::new(tree(depth - 1))),
    }
}

fn request() -> Request {
    Request::Get {
        name: "reports/2026/summary.txt".into(),
        offset: 1 << 62,
        len: 1 << 28,
    }
}

/// Prints encoding and decoding of one kind of value, which has so many parts.
fn figures<T>(name: &str, rounds: usize, parts: u64, count: u64, make: fn() -> T)
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + 'static,
{
    let job = |step: Step<T>| -> Box<dyn Contestant> {
        Box::new(Job {
            value: make(),
            bytes: postcard::to_stdvec(&make()).expect("it can be encoded"),
            step,
            parts,
        })
    };
    let bytes = postcard::to_stdvec(&make()).expect("it can be encoded");
    println!("{name}: {} bytes, {parts} parts", bytes.len());
    let mut out = Vec::new();
    encode_guarded(&make(), &[], &mut out);
    assert!(out == bytes && decode_guarded(&make(), &bytes, &mut out) == Some(make()));

    let mut encoders = [job(encode_guarded), job(encode_plain)];
    print_ratio(name, "encode", &compare(&mut encoders, rounds, count));
    let mut decoders = [job(decode_guarded), job(decode_plain)];
    print_ratio(name, "decode", &compare(&mut decoders, rounds, count));
}

fn print_ratio(name: &str, what: &str, nanos: &[f64]) {
    let (guarded, plain) = (nanos[0], nanos[1]);
    println!(
        "{name} {what} guarded {guarded:.2} ns postcard {plain:.2} ns ratio {:.2}",
        guarded / plain
    );
}

/// Encodes a value into a buffer, or decodes bytes.
type Step<T> = fn(&T, &[u8], &mut Vec<u8>) -> Option<T>;

/// Encodes or decodes the same value over and over.
struct Job<T> {
    value: T,
    bytes: Vec<u8>,
    step: Step<T>,
    parts: u64,
}

impl<T> Contestant for Job<T> {
    fn name(&self) -> &str {
        "codec"
    }

    fn run(&mut self, count: u64) -> Duration {
        let times = count.div_ceil(self.parts);
        let mut out = Vec::with_capacity(self.bytes.len());
        let start = Instant::now();
        for _ in 0..times {
            let (value, bytes) = black_box((&self.value, &self.bytes));
            black_box((self.step)(value, bytes, &mut out));
        }
        let took = start.elapsed();
        // So that one item is one part, whatever `count` is.
        took.mul_f64(count as f64 / (times * self.parts) as f64)
    }
}

fn encode_guarded<T: Serialize>(value: &T, _: &[u8], out: &mut Vec<u8>) -> Option<T> {
    out.clear();
    codec::encode(value, &Limits::DEFAULT, out).expect("it is within the limits");
    None
}

fn encode_plain<T: Serialize>(value: &T, _: &[u8], out: &mut Vec<u8>) -> Option<T> {
    out.clear();
    plain::append(value, out).expect("it can be encoded");
    None
}

fn decode_guarded<T: for<'de> Deserialize<'de>>(_: &T, bytes: &[u8], _: &mut Vec<u8>) -> Option<T> {
    Some(codec::decode(bytes, &Limits::DEFAULT).expect("it is a value"))
}

fn decode_plain<T: for<'de> Deserialize<'de>>(_: &T, bytes: &[u8], _: &mut Vec<u8>) -> Option<T> {
    Some(postcard::from_bytes(bytes).expect("it is a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_has_the_size_that_is_compared() {
        assert_eq!(postcard::to_stdvec(&request()).unwrap().len(), 40);
    }

    #[test]
    fn the_tree_has_as_many_nodes_as_it_says() {
        fn count(tree: &Tree) -> u64 {
            match tree {
                Tree::Leaf(_) => 1,
                Tree::Sum(a, b) => 1 + count(a) + count(b),
            }
        }
        assert_eq!(count(&tree(TREE_DEPTH)), TREE_NODES);
    }
}
