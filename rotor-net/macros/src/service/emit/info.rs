//! `info()`: what the service tells of itself, to its own session and on its menu.

use super::{input_type, kind};
use crate::service::model::{Call, Service};
use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;

pub fn emit(service: &Service) -> TokenStream {
    let name = &service.name;
    let calls = service.calls.iter().map(call);
    quote! {
        /// The service's calls, versions and shapes.
        pub fn info() -> &'static ::rotor_net::rpc::ServiceInfo {
            static INFO: ::std::sync::LazyLock<::rotor_net::rpc::ServiceInfo> =
                ::std::sync::LazyLock::new(|| ::rotor_net::rpc::ServiceInfo {
                    name: #name,
                    calls: ::std::vec![#(#calls),*],
                });
            &INFO
        }
    }
}

fn call(call: &Call) -> TokenStream {
    let name = &call.name;
    let kind = kind(call);
    let newest = newest(call);
    let older = older(call);
    quote! {
        ::rotor_net::rpc::CallInfo {
            name: #name,
            kind: #kind,
            versions: ::std::vec![#newest #(, #older)*],
        }
    }
}

fn newest(call: &Call) -> TokenStream {
    let request = call.request();
    let (input, output) = (input_type(call), call.output_type());
    let args = call.args.iter().map(|arg| {
        let (name, ty) = (arg.ident.unraw().to_string(), &arg.ty);
        quote!((#name, ::rotor_net::rpc::private::name::<#ty>()))
    });
    let args = quote!(&[#(#args),*]);
    version(
        call,
        call.version,
        &args,
        &quote!(#request),
        &input,
        &quote!(#output),
    )
}

fn older(call: &Call) -> Vec<TokenStream> {
    let name = call.request();
    let version_of = |(number, ty): (u16, &syn::Type)| {
        let part = |part: TokenStream| quote!(<#ty as ::rotor_net::rpc::Older<#name>>::#part);
        let request = part(quote!(Request));
        let args = quote!(&[("request", ::rotor_net::rpc::private::name::<#request>())]);
        let (input, output) = (part(quote!(Input)), part(quote!(Output)));
        version(call, number, &args, &request, &input, &output)
    };
    let older = call.older.iter().map(|older| (older.number, &older.ty));
    older.map(version_of).collect()
}

fn version(
    call: &Call,
    number: u16,
    args: &TokenStream,
    request: &TokenStream,
    input: &TokenStream,
    output: &TokenStream,
) -> TokenStream {
    let name = &call.name;
    let kind = kind(call);
    let items = call.input.iter().map(|arg| arg.ident.unraw().to_string());
    let items: String = items.collect();
    let types = match call.unchecked {
        true => quote!(unchecked_types),
        false => quote!(types),
    };
    quote! {
        ::rotor_net::rpc::private::version(
            #number,
            ::rotor_net::rpc::private::#types::<#request, #input, #output>(),
            ::rotor_net::rpc::private::Written { kind: #kind, name: #name, args: #args, items: #items },
        )
    }
}
