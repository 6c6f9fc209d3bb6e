//! `service!`: from what was written to what is emitted.

mod check;
mod emit;
mod model;
mod parse;

use model::Service;
use proc_macro2::TokenStream;
use syn::Result;

pub fn expand(input: TokenStream) -> Result<TokenStream> {
    let service: Service = syn::parse2(input)?;
    check::check(&service)?;
    Ok(emit::emit(&service))
}
