//! Values of [`Rich`]: some by hand, of every kind; and any, for properties.

use crate::rich::{Blob, Node, Nothing, Rich, Scalars, Wide, Wrapped};
use proptest::prelude::*;
use rotor_net::rpc::codec::Arena;
use std::collections::BTreeMap;

/// One of every variant, and all of them in one.
pub fn by_hand() -> Vec<Rich> {
    let mut graph = Arena::new();
    let node = |name: &str| Node {
        name: name.into(),
        edges: vec![],
    };
    let a = graph.push(node("a"));
    let b = graph.push(node("b"));
    graph[a].edges = vec![b, a];
    graph[b].edges = vec![a];

    let mut all = vec![
        Rich::Unit,
        Rich::Scalars(Box::new(scalars())),
        Rich::Text("grüße, 世界".into()),
        Rich::Blob(Blob(vec![0, 255, 1, 254])),
        Rich::Pair(
            Box::new(Rich::Text(String::new())),
            Box::new(Rich::List(vec![Rich::Unit, Rich::Unit])),
        ),
        Rich::Named {
            left: Some(Box::new(Rich::Unit)),
            tags: BTreeMap::from([("x".into(), 1), ("yy".into(), 300)]),
            right: None,
        },
        Rich::Wrapped(Wrapped(Some(Box::new(Wrapped(Some(Box::new(Wrapped(
            None,
        )))))))),
        Rich::Zeroes(vec![(); 5]),
        Rich::Table(BTreeMap::from([(1, Rich::Unit), (9, Rich::Zeroes(vec![]))])),
        Rich::Set([Wide::Thin, Wide::Thick([7; 15])].into()),
        Rich::Queue([None, Some(None), Some(Some(true))].into()),
        Rich::Graph(graph),
    ];
    all.push(Rich::List(all.clone()));
    all
}

fn scalars() -> Scalars {
    Scalars {
        small: (true, 200, -100),
        middle: (65_535, -32_768, u32::MAX, i32::MIN),
        large: (u64::MAX, i64::MIN, u128::MAX, i128::MIN, 1 << 40),
        floats: (-0.5, f64::INFINITY),
        letter: '世',
        fixed: [1, 200, 40_000],
        nothing: ((), Nothing),
        answer: Err("no".into()),
    }
}

/// Any value, up to a few hundred nodes.
pub fn any_rich() -> impl Strategy<Value = Rich> {
    let leaf = prop_oneof![
        Just(Rich::Unit),
        any_scalars().prop_map(|scalars| Rich::Scalars(Box::new(scalars))),
        any::<String>().prop_map(Rich::Text),
        any::<Vec<u8>>().prop_map(|bytes| Rich::Blob(Blob(bytes))),
        (0_usize..9).prop_map(|len| Rich::Zeroes(vec![(); len])),
        (0_usize..9).prop_map(|len| Rich::Wrapped(wrapped(len))),
        proptest::collection::btree_set(any_wide(), 0..4).prop_map(Rich::Set),
        proptest::collection::vec_deque(any::<Option<Option<bool>>>(), 0..9).prop_map(Rich::Queue),
        any_graph().prop_map(Rich::Graph),
    ];
    leaf.prop_recursive(6, 200, 8, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let tags = proptest::collection::btree_map(any::<String>(), any::<u32>(), 0..4);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Rich::List),
            (boxed.clone(), boxed.clone()).prop_map(|(a, b)| Rich::Pair(a, b)),
            (
                proptest::option::of(boxed.clone()),
                tags,
                proptest::option::of(boxed)
            )
                .prop_map(|(left, tags, right)| Rich::Named { left, tags, right }),
            proptest::collection::btree_map(any::<u8>(), inner, 0..5).prop_map(Rich::Table),
        ]
    })
}

fn wrapped(len: usize) -> Wrapped {
    (0..len).fold(Wrapped(None), |inner, _| Wrapped(Some(Box::new(inner))))
}

fn any_wide() -> impl Strategy<Value = Wide> {
    prop_oneof![Just(Wide::Thin), any::<[u64; 15]>().prop_map(Wide::Thick)]
}

fn any_scalars() -> impl Strategy<Value = Scalars> {
    (
        any::<(bool, u8, i8)>(),
        any::<(u16, i16, u32, i32)>(),
        any::<(u64, i64, u128, i128, usize)>(),
        any::<(f32, f64)>(),
        any::<char>(),
        any::<[u16; 3]>(),
        any::<Result<u8, String>>(),
    )
        .prop_map(
            |(small, middle, large, floats, letter, fixed, answer)| Scalars {
                small,
                middle,
                large,
                floats,
                letter,
                fixed,
                nothing: ((), Nothing),
                answer,
            },
        )
}

fn any_graph() -> impl Strategy<Value = Arena<Node>> {
    let edges = proptest::collection::vec(any::<proptest::sample::Index>(), 0..4);
    proptest::collection::vec((any::<String>(), edges), 0..6).prop_map(|nodes| {
        let mut graph = Arena::new();
        let made: Vec<_> = nodes
            .iter()
            .map(|(name, _)| {
                graph.push(Node {
                    name: name.clone(),
                    edges: vec![],
                })
            })
            .collect();
        for (&node, (_, edges)) in made.iter().zip(&nodes) {
            graph[node].edges = edges.iter().map(|edge| *edge.get(&made)).collect();
        }
        graph
    })
}
