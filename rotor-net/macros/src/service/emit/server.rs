//! The server's side: the trait to implement, and the adapter that hands calls to it by rank.

use super::docs_or;
use crate::service::model::{Call, Kind, Output, Service};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

pub fn emit(service: &Service) -> TokenStream {
    let handlers = service.calls.iter().map(handler);
    let docs = format!(
        "What a server of `{}` does: a handler for each call, which may answer at once or keep what it answers with \
         for later. It must not block the loop: see `CallScope::work`.",
        service.name
    );
    let server = server(service);
    quote! {
        #[doc = #docs]
        pub trait Service: ::std::marker::Sized + 'static {
            /// What all machines of the loop share: `scope.ctx`.
            type Context: 'static;

            /// A client greets, once per connection. What is refused is told it, and the connection ends. Default: all
            /// are welcome.
            ///
            /// # Errors
            /// Words for the client.
            fn admit(
                &mut self,
                hello: &::rotor_net::rpc::Greeting<'_>,
                scope: &mut ::rotor_net::rpc::CallScope<'_, Self::Context>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::Refusal> {
                let _ = (hello, scope);
                ::std::result::Result::Ok(())
            }

            /// Whether this client may make this call; asked for each. Default: it may.
            ///
            /// # Errors
            /// Words for the client, whose call fails with them.
            fn authorise(
                &mut self,
                call: &::rotor_net::rpc::CallInfo,
                scope: &mut ::rotor_net::rpc::CallScope<'_, Self::Context>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::Refusal> {
                let _ = (call, scope);
                ::std::result::Result::Ok(())
            }

            /// A call that is not on the menu, under the policy `Unknown::Proxy`. Default: the server does not have it.
            fn unknown(
                &mut self,
                call: ::rotor_net::rpc::UnknownCall<'_>,
                reply: ::rotor_net::rpc::RawReply,
                scope: &mut ::rotor_net::rpc::CallScope<'_, Self::Context>,
            ) {
                let _ = (call, scope);
                reply.fail(::rotor_net::rpc::CallError::Unknown);
            }

            #(#handlers)*
        }

        #server
    }
}

/// The method of the trait.
fn handler(call: &Call) -> TokenStream {
    let name = &call.ident;
    let docs = docs_or(&call.docs, &format!("The call `{}`.", call.name));
    let args = call.args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote!(#ident: #ty,)
    });
    let input = call.input.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote_spanned!(ty.span()=> #ident: ::rotor_net::rpc::ItemReceiver<#ty>,)
    });
    let (reply, items, scope) = (
        call.free_name("reply"),
        call.free_name("items"),
        call.free_name("scope"),
    );
    let output = match &call.output {
        _ if call.one_way => quote!(),
        Output::Reply(ty) => quote_spanned!(ty.span()=> #reply: ::rotor_net::rpc::Reply<#ty>,),
        Output::Items(ty) => quote_spanned!(ty.span()=> #items: ::rotor_net::rpc::ItemSender<#ty>,),
    };
    // Where it is declared is where the compiler is to point.
    quote_spanned! {name.span()=>
        #docs
        fn #name(
            &mut self,
            #(#args)*
            #(#input)*
            #output
            #scope: &mut ::rotor_net::rpc::CallScope<'_, Self::Context>,
        );
    }
}

fn server(service: &Service) -> TokenStream {
    let mut arms = Vec::new();
    for call in &service.calls {
        let older = call.older.iter().map(|older| Some(&older.ty));
        for version in std::iter::once(None).chain(older) {
            let rank = arms.len() as u16;
            let begin = begin(call, version);
            arms.push(quote!(#rank => { #begin }));
        }
    }
    let docs = format!("Serves `{}` as its [`Service`] says.", service.name);
    quote! {
        #[doc = #docs]
        #[derive(Clone, Debug, Default)]
        pub struct Server<T>(
            /// What answers the calls of one connection.
            pub T,
        );

        /// The protocol of a connection that is served: for `rotor_net::serve` and `rotor_net::server`.
        pub type Session<T> = ::rotor_net::rpc::Session<Server<T>>;

        impl<__Service: Service> ::rotor_net::rpc::Serve for Server<__Service> {
            type Context = __Service::Context;

            fn info() -> &'static ::rotor_net::rpc::ServiceInfo {
                info()
            }

            fn admit(
                &mut self,
                hello: &::rotor_net::rpc::Greeting<'_>,
                scope: &mut ::rotor_net::rpc::CallScope<'_, __Service::Context>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::Refusal> {
                self.0.admit(hello, scope)
            }

            fn authorise(
                &mut self,
                call: &::rotor_net::rpc::CallInfo,
                scope: &mut ::rotor_net::rpc::CallScope<'_, __Service::Context>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::Refusal> {
                self.0.authorise(call, scope)
            }

            fn unknown(
                &mut self,
                call: ::rotor_net::rpc::UnknownCall<'_>,
                reply: ::rotor_net::rpc::RawReply,
                scope: &mut ::rotor_net::rpc::CallScope<'_, __Service::Context>,
            ) {
                self.0.unknown(call, reply, scope);
            }

            fn dispatch(
                &mut self,
                call: ::rotor_net::rpc::Arrived<'_>,
                scope: &mut ::rotor_net::rpc::CallScope<'_, __Service::Context>,
            ) -> ::std::result::Result<(), ::rotor_net::rpc::CallError> {
                match call.rank() {
                    #(#arms)*
                    _ => return ::std::result::Result::Err(::rotor_net::rpc::CallError::Unknown),
                }
                ::std::result::Result::Ok(())
            }
        }
    }
}

/// Takes what a call of this version came with, and hands it to the handler.
fn begin(call: &Call, older: Option<&syn::Type>) -> TokenStream {
    let (name, request) = (&call.ident, call.request());
    let fields = call.args.iter().map(|arg| &arg.ident);
    let has_fields = !call.args.is_empty();
    let bound = has_fields.then(|| quote!(let request: #request =));
    let taken = match older {
        None => quote!(call.request::<#request>()?;),
        Some(ty) => quote!(::rotor_net::rpc::private::upgrade::<#request, #ty>(call.request()?)?;),
    };
    let take = |plain: TokenStream, bridged: TokenStream, ty: &syn::Type| match older {
        None => quote!(call.#plain::<#ty>()),
        Some(older) => quote!(call.#bridged::<#request, #older>()),
    };
    let input = call
        .input
        .iter()
        .map(|arg| take(quote!(receiver), quote!(receiver_older), &arg.ty));
    let output = match call.kind() {
        Kind::OneWay => quote!(),
        Kind::Unary | Kind::ClientStream => {
            let reply = take(quote!(reply), quote!(reply_older), call.output_type());
            quote!(#reply,)
        }
        Kind::ServerStream | Kind::BothStreams => {
            let sender = take(quote!(sender), quote!(sender_older), call.output_type());
            quote!(#sender,)
        }
    };
    quote! {
        #bound #taken
        <__Service as Service>::#name(&mut self.0, #(request.#fields,)* #(#input,)* #output scope);
    }
}
