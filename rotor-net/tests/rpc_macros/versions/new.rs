//! The service, as it is now.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub enum Unit {
    Bytes,
    Words,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Shape)]
pub struct Line {
    pub text: String,
    pub number: u32,
}

impl From<String> for Line {
    fn from(text: String) -> Self {
        Self { text, number: 0 }
    }
}

service! {
    #[derive(Debug)]
    pub mod store {
        #[version(3)]
        #[older(1, SizeV1)]
        #[older(2, SizeV2)]
        fn size(name: String, unit: Unit) -> u64;
        #[version(2)]
        #[older(1, TailV1)]
        fn tail(name: String, from: u32) -> stream Line;
        #[version(2)]
        #[older(1, AppendV1)]
        fn append(name: String, lines: stream Line) -> u64;
        #[version(2)]
        #[older(1, ChatV1)]
        fn chat(lines: stream Line) -> stream Line;
        #[version(2)]
        #[older(1, TouchV1)]
        oneway fn touch(names: Vec<String>);
    }
}

pub struct SizeV1;

impl Older<store::Size> for SizeV1 {
    type Request = Name;
    type Input = NoItems;
    type Output = u32;

    fn upgrade_request(Name { name }: Name) -> Result<store::Size, CallError> {
        Ok(store::Size {
            name,
            unit: Unit::Bytes,
        })
    }

    fn downgrade_output(size: u64) -> Result<u32, CallError> {
        u32::try_from(size).map_err(|_| CallError::Remote("too large for version 1".into()))
    }

    fn downgrade_request(new: &store::Size) -> Result<Name, CallError> {
        match new.unit {
            Unit::Bytes => Ok(Name {
                name: new.name.clone(),
            }),
            unit => Err(CallError::Remote(
                format!("version 1 has no {unit:?}").into(),
            )),
        }
    }

    fn upgrade_output(size: u32) -> Result<u64, CallError> {
        Ok(u64::from(size))
    }
}

/// Of which no server is left that has no newer one.
pub struct SizeV2;

impl Older<store::Size> for SizeV2 {
    type Request = (String, Unit);
    type Input = NoItems;
    type Output = u64;

    fn upgrade_request((name, unit): (String, Unit)) -> Result<store::Size, CallError> {
        Ok(store::Size { name, unit })
    }

    fn downgrade_output(size: u64) -> Result<u64, CallError> {
        Ok(size)
    }

    fn downgrade_request(new: &store::Size) -> Result<(String, Unit), CallError> {
        Ok((new.name.clone(), new.unit))
    }

    fn upgrade_output(size: u64) -> Result<u64, CallError> {
        Ok(size)
    }
}

/// `name: String`, as it was.
#[derive(Serialize, Deserialize, Shape)]
pub struct Name {
    pub name: String,
}

pub struct TailV1;

impl Older<store::Tail> for TailV1 {
    type Request = Name;
    type Input = NoItems;
    type Output = String;

    fn upgrade_request(Name { name }: Name) -> Result<store::Tail, CallError> {
        Ok(store::Tail { name, from: 0 })
    }

    fn downgrade_output(line: Line) -> Result<String, CallError> {
        Ok(format!("{}: {}", line.number, line.text))
    }

    fn downgrade_request(new: &store::Tail) -> Result<Name, CallError> {
        Ok(Name {
            name: new.name.clone(),
        })
    }

    fn upgrade_output(line: String) -> Result<Line, CallError> {
        Ok(line.into())
    }
}

pub struct AppendV1;

impl Older<store::Append> for AppendV1 {
    type Request = Name;
    type Input = String;
    type Output = u32;

    fn upgrade_request(Name { name }: Name) -> Result<store::Append, CallError> {
        Ok(store::Append { name })
    }

    fn downgrade_output(count: u64) -> Result<u32, CallError> {
        Ok(count as u32)
    }

    fn downgrade_request(new: &store::Append) -> Result<Name, CallError> {
        Ok(Name {
            name: new.name.clone(),
        })
    }

    fn upgrade_output(count: u32) -> Result<u64, CallError> {
        Ok(u64::from(count))
    }

    fn upgrade_input(line: String) -> Result<Line, CallError> {
        Ok(line.into())
    }

    fn downgrade_input(line: &Line) -> Result<String, CallError> {
        Ok(line.text.clone())
    }
}

pub struct ChatV1;

impl Older<store::Chat> for ChatV1 {
    type Request = ();
    type Input = String;
    type Output = String;

    fn upgrade_request((): ()) -> Result<store::Chat, CallError> {
        Ok(store::Chat)
    }

    fn downgrade_output(line: Line) -> Result<String, CallError> {
        Ok(format!("{}: {}", line.number, line.text))
    }

    fn downgrade_request(_: &store::Chat) -> Result<(), CallError> {
        Ok(())
    }

    fn upgrade_output(line: String) -> Result<Line, CallError> {
        Ok(line.into())
    }

    fn upgrade_input(line: String) -> Result<Line, CallError> {
        Ok(line.into())
    }

    fn downgrade_input(line: &Line) -> Result<String, CallError> {
        Ok(format!("{}, once {}", line.text, line.number))
    }
}

pub struct TouchV1;

impl Older<store::Touch> for TouchV1 {
    type Request = Name;
    type Input = NoItems;
    type Output = ();

    fn upgrade_request(Name { name }: Name) -> Result<store::Touch, CallError> {
        Ok(store::Touch { names: vec![name] })
    }

    fn downgrade_output((): ()) -> Result<(), CallError> {
        Ok(())
    }

    fn downgrade_request(new: &store::Touch) -> Result<Name, CallError> {
        match &new.names[..] {
            [name] => Ok(Name { name: name.clone() }),
            _ => Err(CallError::Remote("version 1 touches one at a time".into())),
        }
    }

    fn upgrade_output((): ()) -> Result<(), CallError> {
        Ok(())
    }
}

#[derive(Default)]
pub struct New;

impl store::Service for New {
    type Context = Vec<String>;

    fn size(
        &mut self,
        name: String,
        unit: Unit,
        reply: Reply<u64>,
        scope: &mut CallScope<'_, Vec<String>>,
    ) {
        reply.ok(match (unit, &name[..]) {
            (_, "huge") => u64::MAX,
            (_, "touched") => scope.ctx.len() as u64,
            (Unit::Bytes, name) => name.len() as u64,
            (Unit::Words, name) => name.split(' ').count() as u64,
        });
    }

    fn tail(
        &mut self,
        name: String,
        from: u32,
        mut items: ItemSender<Line>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        for number in from..from + 3 {
            let text = name.clone();
            items.send(Line { text, number }).expect("there is credit");
        }
        let _ = items.end();
    }

    fn append(
        &mut self,
        _: String,
        lines: ItemReceiver<Line>,
        reply: Reply<u64>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        counted(lines, move |count| reply.ok(u64::from(count)));
    }

    fn chat(
        &mut self,
        mut lines: ItemReceiver<Line>,
        mut items: ItemSender<Line>,
        _: &mut CallScope<'_, Vec<String>>,
    ) {
        std::thread::spawn(move || {
            while let Some(Ok(line)) = lines.next_blocking() {
                let number = line.number + 10;
                let _ = items.send_blocking(Line { number, ..line });
            }
            let _ = items.end();
        });
    }

    fn touch(&mut self, names: Vec<String>, scope: &mut CallScope<'_, Vec<String>>) {
        scope.ctx.extend(names);
    }
}
