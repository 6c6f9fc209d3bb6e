//! Requests, `Req`, `Rep`, and what ties a request to its reply.

use super::{docs_or, input_type};
use crate::service::model::{Call, Service};
use proc_macro2::TokenStream;
use quote::quote;

pub fn emit(service: &Service) -> TokenStream {
    let requests = service.calls.iter().map(|call| request(service, call));
    let methods = service.calls.iter().enumerate();
    let methods = methods.map(|(index, call)| method(index, call));
    let enums = enums(service);
    let conversions = service.calls.iter().map(conversions);
    let replies = service.unary().map(reply_conversions);
    quote! {
        #(#requests)*
        #enums
        #(#conversions)*
        #(#replies)*
        #(#methods)*
    }
}

fn derives(service: &Service, is_checked: bool) -> TokenStream {
    let derives = &service.derives;
    let shape = is_checked.then(|| quote!(::rotor_net::rpc::Shape,));
    quote! {
        #[derive(
            ::rotor_net::rpc::private::serde::Serialize,
            ::rotor_net::rpc::private::serde::Deserialize,
            #shape
            #(#derives),*
        )]
        #[serde(crate = "::rotor_net::rpc::private::serde")]
    }
}

fn request(service: &Service, call: &Call) -> TokenStream {
    let name = call.request();
    let derives = derives(service, !call.unchecked);
    let docs = docs_or(&call.docs, &format!("Begins the call `{}`.", call.name));
    if call.args.is_empty() {
        return quote! {
            #docs
            #derives
            pub struct #name;
        };
    }
    let fields = call.args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote! {
            #[allow(missing_docs)]
            pub #ident: #ty
        }
    });
    quote! {
        #docs
        #derives
        pub struct #name { #(#fields),* }
    }
}

fn enums(service: &Service) -> TokenStream {
    let derives = derives(service, service.is_checked());
    let requests: Vec<_> = service.calls.iter().map(Call::request).collect();
    let calls = service
        .calls
        .iter()
        .map(|call| format!("Of `{}`.", call.name));
    let replies = service.unary().map(|call| {
        let (name, output) = (call.request(), call.output_type());
        let docs = format!("Of `{}`.", call.name);
        quote!(#[doc = #docs] #name(#output))
    });
    quote! {
        /// Any request of the service, as one value: to keep, to log, or for the plain style.
        #derives
        pub enum Req { #(#[doc = #calls] #requests(#requests)),* }

        /// Any reply of the service's unary calls, as one value.
        #derives
        pub enum Rep { #(#replies),* }
    }
}

fn conversions(call: &Call) -> TokenStream {
    let name = call.request();
    quote! {
        impl ::std::convert::From<#name> for Req {
            fn from(request: #name) -> Self {
                Self::#name(request)
            }
        }

        /// Fails with the request that it is.
        impl ::std::convert::TryFrom<Req> for #name {
            type Error = Req;

            fn try_from(request: Req) -> ::std::result::Result<Self, Req> {
                match request {
                    Req::#name(request) => ::std::result::Result::Ok(request),
                    #[allow(unreachable_patterns)]
                    other => ::std::result::Result::Err(other),
                }
            }
        }
    }
}

/// Not `From`: several calls may reply with the same type.
fn reply_conversions(call: &Call) -> TokenStream {
    let (name, output) = (call.request(), call.output_type());
    quote! {
        impl #name {
            /// A reply to this call, as any reply.
            pub fn to_rep(reply: #output) -> Rep {
                Rep::#name(reply)
            }

            /// The reply to this call.
            ///
            /// # Errors
            /// The reply to another call.
            pub fn from_rep(rep: Rep) -> ::std::result::Result<#output, Rep> {
                match rep {
                    Rep::#name(reply) => ::std::result::Result::Ok(reply),
                    #[allow(unreachable_patterns)]
                    other => ::std::result::Result::Err(other),
                }
            }
        }
    }
}

fn method(index: usize, call: &Call) -> TokenStream {
    let name = call.request();
    let input = input_type(call);
    let output = call.output_type();
    let bridges = (!call.older.is_empty()).then(|| bridges(call));
    quote! {
        impl ::rotor_net::rpc::Method for #name {
            type Request = Self;
            type Input = #input;
            type Output = #output;
            const INDEX: usize = #index;

            fn service() -> &'static ::rotor_net::rpc::ServiceInfo {
                info()
            }

            #bridges
        }
    }
}

/// How a client speaks older versions.
fn bridges(call: &Call) -> TokenStream {
    let name = call.request();
    let arms = |function: TokenStream, args: TokenStream| -> TokenStream {
        let arms = call.older.iter().enumerate().map(|(at, older)| {
            let (position, ty) = (at + 1, &older.ty);
            quote!(#position => ::rotor_net::rpc::private::#function::<#name, #ty>(#args),)
        });
        quote!(#(#arms)*)
    };
    let requests = arms(quote!(encode_older), quote!(request, limits, out));
    let outputs = arms(quote!(decode_older), quote!(bytes, limits));
    let items = call.input.is_some().then(|| {
        let arms = arms(quote!(encode_item_older), quote!(item, limits, out));
        quote! {
            fn encode_item_older(
                version: usize,
                item: &Self::Input,
                limits: &::rotor_net::rpc::codec::Limits,
                out: &mut ::std::vec::Vec<u8>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::CallError> {
                match version {
                    #arms
                    _ => ::rotor_net::rpc::private::no_version(),
                }
            }
        }
    });
    quote! {
        fn encode_older(
            version: usize,
            request: &Self::Request,
            limits: &::rotor_net::rpc::codec::Limits,
            out: &mut ::std::vec::Vec<u8>,
        ) -> ::std::result::Result<(), ::rotor_net::rpc::CallError> {
            match version {
                #requests
                _ => ::rotor_net::rpc::private::no_version(),
            }
        }

        fn decode_older(
            version: usize,
            bytes: &[u8],
            limits: &::rotor_net::rpc::codec::Limits,
        ) -> ::std::result::Result<Self::Output, ::rotor_net::rpc::CallError> {
            match version {
                #outputs
                _ => ::rotor_net::rpc::private::no_version(),
            }
        }

        #items
    }
}
