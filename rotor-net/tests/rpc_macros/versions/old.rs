//! The service, as it was.

use super::*;

service! {
    pub mod store {
        fn size(name: String) -> u32;
        fn tail(name: String) -> stream String;
        fn append(name: String, lines: stream String) -> u32;
        fn chat(lines: stream String) -> stream String;
        oneway fn touch(name: String);
    }
}

#[derive(Default)]
pub struct Old;

impl store::Service for Old {
    type Context = Vec<String>;

    fn size(&mut self, name: String, reply: Reply<u32>, _: &mut CallScope<'_, Vec<String>>) {
        reply.ok(name.len() as u32);
    }

    fn tail(
        &mut self,
        name: String,
        mut items: ItemSender<String>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        for n in 0..3 {
            items.send(format!("{name} {n}")).expect("there is credit");
        }
        let _ = items.end();
    }

    fn append(
        &mut self,
        _: String,
        lines: ItemReceiver<String>,
        reply: Reply<u32>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        counted(lines, move |count| reply.ok(count));
    }

    fn chat(
        &mut self,
        mut lines: ItemReceiver<String>,
        mut items: ItemSender<String>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next_blocking() {
                let _ = items.send_blocking(line);
            }
            let _ = items.end();
        });
    }

    fn touch(&mut self, name: String, scope: &mut CallScope<'_, Vec<String>>) {
        scope.ctx.push(name);
    }
}
