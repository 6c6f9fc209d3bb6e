//! What can be written and yet makes no service: names that collide, mostly. All of it is reported at once.

use super::model::{Call, Service};
use proc_macro2::{Ident, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::HashMap;
use syn::ext::IdentExt;
use syn::{Error, Result};

/// Types that are emitted beside the requests.
const OWN_TYPES: [&str; 6] = ["Client", "Rep", "Req", "Server", "Service", "Session"];

/// Methods of the client, and of the trait, beside the calls.
const OWN_METHODS: [&str; 8] = [
    "admit",
    "authorise",
    "channel",
    "clone",
    "connect",
    "connect_with",
    "new",
    "unknown",
];

/// Ranks, of which each version has one, travel in 16 bits.
const VERSIONS_MAX: usize = 1 << 16;

pub fn check(service: &Service) -> Result<()> {
    let mut errors = Errors(None);
    if service.calls.is_empty() {
        errors.add(&service.ident, "a service has at least one call");
    }
    let versions = service.calls.iter().map(|call| 1 + call.older.len());
    if versions.sum::<usize>() > VERSIONS_MAX {
        errors.add(
            &service.ident,
            "a service has at most 65536 calls and versions",
        );
    }
    requests(service, &mut errors);
    versions_of(service, &mut errors);
    for call in &service.calls {
        arguments(call, &mut errors);
        types(service, call, &mut errors);
    }
    errors.0.map_or(Ok(()), Err)
}

struct Errors(Option<Error>);

impl Errors {
    fn add(&mut self, at: &Ident, words: &str) {
        let error = Error::new(at.span(), words);
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }
}

/// No two calls, nor a call and what else is emitted, may have the same name.
fn requests(service: &Service, errors: &mut Errors) {
    let mut taken = HashMap::new();
    for call in &service.calls {
        let (name, request) = (call.ident.unraw(), call.request());
        if OWN_METHODS.iter().any(|own| name == own) {
            errors.add(
                &call.ident,
                &format!("`{name}` is a method that `service!` emits itself"),
            );
        }
        if OWN_TYPES.iter().any(|own| request == own) {
            errors.add(
                &call.ident,
                &format!("the request of this call would be `{request}`, a type that `service!` emits itself"),
            );
        }
        if request.to_string().starts_with('_') {
            errors.add(&call.ident, "no type can be named after this call");
        }
        if let Some(other) = taken.insert(request.to_string(), name.clone()) {
            let words = match other == name {
                true => format!("there is a call `{name}` already"),
                false => {
                    format!("the request of this call and of `{other}` would both be `{request}`")
                }
            };
            errors.add(&call.ident, &words);
        }
    }
}

/// Identity is (name, version).
fn versions_of(service: &Service, errors: &mut Errors) {
    let mut taken = HashMap::new();
    for call in &service.calls {
        let older = call.older.iter().map(|older| older.number);
        for number in std::iter::once(call.version).chain(older) {
            let other = taken.insert((&call.name, number), &call.ident);
            // That a call is there twice was said above.
            if other.is_some_and(|other| *other != call.ident || !call.older.is_empty()) {
                let name = &call.name;
                errors.add(
                    &call.ident,
                    &format!("there is a version {number} of `{name}` already"),
                );
            }
            if number > call.version {
                let version = call.version;
                errors.add(
                    &call.ident,
                    &format!(
                        "version {number} is not older than version {version}, which this call is"
                    ),
                );
            }
        }
    }
}

fn arguments(call: &Call, errors: &mut Errors) {
    let mut taken = HashMap::new();
    for arg in call.all_args() {
        if taken.insert(arg.ident.unraw(), ()).is_some() {
            let words = format!("there is an argument `{}` already", arg.ident.unraw());
            errors.add(&arg.ident, &words);
        }
    }
}

/// Types of yours that have the same name as an emitted one would be taken for that one.
fn types(service: &Service, call: &Call, errors: &mut Errors) {
    let emitted = |ident: &Ident| {
        OWN_TYPES.iter().any(|own| ident == own)
            || service.calls.iter().any(|call| call.request() == *ident)
    };
    let mut all: Vec<&dyn ToTokens> = vec![call.output_type()];
    all.extend(call.all_args().map(|arg| &arg.ty as &dyn ToTokens));
    all.extend(call.older.iter().map(|older| &older.ty as &dyn ToTokens));
    for ident in all
        .into_iter()
        .flat_map(|ty| first_of_paths(ty.to_token_stream()))
    {
        if emitted(&ident) {
            errors.add(
                &ident,
                &format!(
                    "`{ident}` is a type that `service!` emits here; yours is `super::{ident}`"
                ),
            );
        }
    }
}

/// The identifiers that no `::` precedes.
fn first_of_paths(tokens: TokenStream) -> Vec<Ident> {
    let mut found = Vec::new();
    let mut after_colons = 0;
    for token in tokens {
        match &token {
            TokenTree::Ident(ident) if after_colons < 2 => found.push(ident.clone()),
            TokenTree::Group(group) => found.extend(first_of_paths(group.stream())),
            _ => {}
        }
        after_colons = match &token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => match punct.spacing() {
                Spacing::Joint => 1,
                Spacing::Alone => after_colons + 1,
            },
            _ => 0,
        };
    }
    found
}
