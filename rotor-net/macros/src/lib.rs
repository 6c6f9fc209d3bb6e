//! The macros of typed RPC. Use them through `rotor_net::rpc`, which documents what they emit.
//!
//! ```text
//! service! { … } → service/{parse, check} → Service (what was written) → service/emit* → code
//! derive(Shape)  → serde_attrs → shape → impl
//! ```

#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod serde_attrs;
mod service;
mod shape;

/// Derives `rotor_net::rpc::Shape`: what serde's derives make of a type on the wire, for a digest.
///
/// Serde's attributes are honoured: `skip`, `rename`, `transparent`, and `from` (or `try_from`) together with `into` of
/// the same type. What cannot change the wire is passed over, such as `default`, `alias` and `bound`; so is `rename_all`,
/// since names do not travel: the digest has them as they are written in Rust. An attribute that makes the wire
/// unknowable, such as `with`, is an error. Then `#[shape(as = Type)]` on the field says what its shape is.
#[proc_macro_derive(Shape, attributes(serde, shape))]
pub fn derive_shape(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    shape::derive(&input)
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}

// Documented where it is exported again: `rotor_net::rpc::service`.
#[allow(missing_docs)]
#[proc_macro]
pub fn service(input: TokenStream) -> TokenStream {
    service::expand(input.into())
        .unwrap_or_else(|error| error.to_compile_error())
        .into()
}
