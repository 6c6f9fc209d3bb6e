//! What `service!` emits: a module of requests, a server's trait and a client.
//!
//! It is kept to what only a macro can say; the rest is ordinary code in `rotor_net::rpc`.

mod client;
mod info;
mod server;
mod types;

use super::model::{Call, Kind, Service};
use proc_macro2::TokenStream;
use quote::quote;
use syn::Attribute;

pub fn emit(service: &Service) -> TokenStream {
    let Service {
        docs,
        attributes,
        visibility,
        ident,
        name,
        ..
    } = service;
    let docs = docs_or(docs, &format!("The service `{name}`."));
    let types = types::emit(service);
    let info = info::emit(service);
    let server = server::emit(service);
    let client = client::emit(service);
    quote! {
        #docs
        #(#attributes)*
        // A program uses one side, mostly.
        #[allow(
            dead_code,
            clippy::enum_variant_names,
            clippy::large_enum_variant,
            clippy::result_large_err,
            clippy::too_many_arguments,
            clippy::type_complexity
        )]
        #visibility mod #ident {
            #[allow(unused_imports)]
            use super::*;

            #types
            #info
            #server
            #client
        }
    }
}

/// What was written, or else these words.
fn docs_or(docs: &[Attribute], otherwise: &str) -> TokenStream {
    match docs {
        [] => quote!(#[doc = #otherwise]),
        docs => quote!(#(#docs)*),
    }
}

/// The call's kind, as `rotor_net` names it.
fn kind(call: &Call) -> TokenStream {
    match call.kind() {
        Kind::Unary => quote!(::rotor_net::rpc::CallKind::Unary),
        Kind::ServerStream => quote!(::rotor_net::rpc::CallKind::ServerStream),
        Kind::ClientStream => quote!(::rotor_net::rpc::CallKind::ClientStream),
        Kind::BothStreams => quote!(::rotor_net::rpc::CallKind::BothStreams),
        Kind::OneWay => quote!(::rotor_net::rpc::CallKind::OneWay),
    }
}

/// The type of the client's items.
fn input_type(call: &Call) -> TokenStream {
    match &call.input {
        Some(input) => {
            let ty = &input.ty;
            quote!(#ty)
        }
        None => quote!(::rotor_net::rpc::NoItems),
    }
}
