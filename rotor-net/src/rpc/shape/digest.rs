//! A digest of a shape: equal for equal structures, in whatever way their types are written.
//!
//! The types inside a type are a graph, with a cycle for each recursion. Types that nothing tells apart are made one
//! (as states of an automaton are when it is minimised), what is left is written down in the order in which it is
//! met from the root, and that is hashed. Invariant: two types get the same text if, and only if, no way into them, field
//! by field, ends at different things. The text, and so the digest, must never change: programs of all ages compare it.

use super::Part;
use siphasher::sip::SipHasher13;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hasher;

/// The digest of a type. Not 0, which stands for "not checked".
pub(super) fn of(root: Part) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(text(&reachable(root)).as_bytes());
    hasher.finish().max(1)
}

/// A type, with its parts as positions in the list of all.
#[derive(Debug)]
struct Node {
    label: String,
    parts: Vec<usize>,
}

/// All types inside a type, itself first.
fn reachable(root: Part) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut found = vec![root];
    let mut places = HashMap::from([(root.id, 0)]);
    // Those that are found while it goes on are done in their turn.
    while let Some(part) = found.get(nodes.len()) {
        let form = (part.form)();
        let place = |part: &Part| {
            *places.entry(part.id).or_insert_with(|| {
                found.push(*part);
                found.len() - 1
            })
        };
        nodes.push(Node {
            parts: form.parts.iter().map(place).collect(),
            label: form.label,
        });
    }
    nodes
}

/// For each node its class: nodes are in one class if nothing inside them differs. First all are alike; then those with
/// different labels, or with parts that differ, are told apart, until nothing new is.
fn classes(nodes: &[Node]) -> Vec<usize> {
    let mut class_of = vec![0; nodes.len()];
    let mut count = 1;
    loop {
        let mut next = HashMap::new();
        let classify = |node| {
            let parts: Vec<usize> = node_parts(node).map(|part| class_of[part]).collect();
            let new = next.len();
            *next.entry((label(node), parts)).or_insert(new)
        };
        class_of = nodes.iter().map(classify).collect();
        if next.len() == count {
            return class_of;
        }
        count = next.len();
    }
}

/// Each class that is met from the root, in the order in which it is met: its label, and its parts by their numbers.
fn text(nodes: &[Node]) -> String {
    let class_of = classes(nodes);
    let mut met = vec![0];
    let mut numbers = HashMap::from([(class_of[0], 0)]);
    let mut text = String::new();
    let mut written = 0;
    while let Some(&at) = met.get(written) {
        written += 1;
        let _ = write!(text, "{}(", nodes[at].label);
        for &part in &nodes[at].parts {
            let number = *numbers.entry(class_of[part]).or_insert_with(|| {
                met.push(part);
                met.len() - 1
            });
            let _ = write!(text, "{number} ");
        }
        text.push_str(")\n");
    }
    text
}

fn label(node: &Node) -> &str {
    &node.label
}

fn node_parts(node: &Node) -> impl Iterator<Item = usize> {
    node.parts.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Graphs with few labels, so that many nodes are alike.
    fn graphs() -> impl Strategy<Value = Vec<Node>> {
        (1_usize..7).prop_flat_map(|count| {
            let node = ("[ab]", proptest::collection::vec(0..count, 0..3));
            proptest::collection::vec(node, count).prop_map(|nodes| {
                let node = |(label, parts)| Node { label, parts };
                nodes.into_iter().map(node).collect()
            })
        })
    }

    /// What is inside, so many levels deep, written out.
    fn unfolded(nodes: &[Node], at: usize, levels: usize) -> String {
        let Node { label, parts } = &nodes[at];
        if levels == 0 {
            return label.clone();
        }
        let parts = parts.iter().map(|&part| unfolded(nodes, part, levels - 1));
        format!("{label}({})", parts.collect::<Vec<_>>().join(","))
    }

    proptest! {
        // Graphs of n and m nodes that differ at all differ within n + m levels.
        #[test]
        fn texts_are_equal_exactly_if_what_is_inside_is(a in graphs(), b in graphs()) {
            let alike = unfolded(&a, 0, a.len() + b.len()) == unfolded(&b, 0, a.len() + b.len());
            prop_assert_eq!(text(&a) == text(&b), alike);
        }

        #[test]
        fn a_type_written_twice_is_one(nodes in graphs(), copied in any::<prop::sample::Index>(), moved in any::<u16>()) {
            let before = text(&nodes);
            let (copied, copy) = (copied.index(nodes.len()), nodes.len());
            let mut nodes = nodes;
            let twin = Node { label: nodes[copied].label.clone(), parts: nodes[copied].parts.clone() };
            nodes.push(twin);
            let parts = nodes.iter_mut().flat_map(|node| &mut node.parts);
            for (bit, part) in parts.filter(|part| **part == copied).enumerate() {
                if moved >> (bit % 16) & 1 == 1 {
                    *part = copy;
                }
            }
            prop_assert_eq!(text(&nodes), before);
        }
    }

    #[test]
    fn one_type_more_is_told_apart_however_far_down() {
        let chain = |count: usize, last: &str| -> Vec<Node> {
            let node = |at| Node {
                label: if at + 1 == count { last } else { "a" }.to_owned(),
                parts: if at + 1 == count {
                    vec![]
                } else {
                    vec![at + 1]
                },
            };
            (0..count).map(node).collect()
        };
        assert_ne!(text(&chain(50, "a")), text(&chain(51, "a")));
        assert_ne!(text(&chain(50, "a")), text(&chain(50, "b")));
        let mut endless = chain(50, "a");
        endless[49].parts = vec![49];
        assert_eq!(text(&endless), "a(0 )\n");
    }
}
