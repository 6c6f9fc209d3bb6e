//! The client's side: a method for each call.

use super::docs_or;
use crate::service::model::{Call, Kind, Service};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};

pub fn emit(service: &Service) -> TokenStream {
    let calls = service.calls.iter().map(call);
    let docs = format!(
        "Calls `{}`. Clones share their connection; so do clients of several services, made for the same channel.",
        service.name
    );
    quote! {
        #[doc = #docs]
        #[derive(Clone)]
        pub struct Client {
            channel: ::rotor_net::rpc::Channel,
        }

        impl Client {
            /// A client that calls through this channel.
            pub fn new(channel: &::rotor_net::rpc::Channel) -> Self {
                Self {
                    channel: ::std::clone::Clone::clone(channel),
                }
            }

            /// Connects to a server, on a thread of the connection's own, and waits until both have greeted.
            ///
            /// # Errors
            /// If there is no server, or it is not one for this client. See `Channel::connect`.
            pub fn connect(at: &str) -> ::std::result::Result<Self, ::rotor_net::rpc::CallError> {
                let channel = ::rotor_net::rpc::Channel::connect(at)?;
                ::std::result::Result::Ok(Self { channel })
            }

            /// The same with limits and habits of one's own.
            ///
            /// # Errors
            /// As `connect`.
            pub fn connect_with(
                at: &str,
                config: ::rotor_net::rpc::ClientConfig,
            ) -> ::std::result::Result<Self, ::rotor_net::rpc::CallError> {
                let channel = ::rotor_net::rpc::Channel::connect_with(at, config)?;
                ::std::result::Result::Ok(Self { channel })
            }

            /// What it calls through.
            pub fn channel(&self) -> &::rotor_net::rpc::Channel {
                &self.channel
            }

            #(#calls)*
        }
    }
}

fn call(call: &Call) -> TokenStream {
    let (name, request) = (&call.ident, call.request());
    let docs = docs_or(&call.docs, &format!("Calls `{}`.", call.name));
    let params = call.args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote!(#ident: #ty)
    });
    let fields = call.args.iter().map(|arg| &arg.ident);
    let made = match call.args.is_empty() {
        true => quote!(#request),
        false => quote!(#request { #(#fields),* }),
    };
    let output = call.output_type();
    let sender = call.input.iter().map(|arg| {
        let ty = &arg.ty;
        quote!(::rotor_net::rpc::ItemSender<#ty>)
    });
    let pending = quote!(::rotor_net::rpc::Pending<#output>);
    let receiver = quote!(::rotor_net::rpc::ItemReceiver<#output>);
    let (method, answer) = match call.kind() {
        Kind::Unary => (quote!(unary), pending),
        Kind::ServerStream => (quote!(server_stream), receiver),
        Kind::ClientStream => (quote!(client_stream), quote!((#(#sender)*, #pending))),
        Kind::BothStreams => (quote!(both_streams), quote!((#(#sender)*, #receiver))),
        Kind::OneWay => (
            quote!(one_way),
            quote!(::std::result::Result<(), ::rotor_net::rpc::CallError>),
        ),
    };
    // Where it is declared is where the compiler is to point.
    quote_spanned! {name.span()=>
        #docs
        pub fn #name(&self, #(#params),*) -> #answer {
            self.channel.#method::<#request>(#made)
        }
    }
}
