//! A conversation type of one's own, from its description to what two people do with it: a shopping list that both write on. What carries it makes no
//! difference:
//!
//! ```console
//! $ cargo run --example own_type -- relay http://127.0.0.1:8441
//! $ cargo run --example own_type -- hub http://127.0.0.1:8440
//! ```

#![allow(clippy::print_stdout)] // that is what it is for
use std::{collections::BTreeMap, env, error::Error, path::Path};
use tertulia::{
    Client, ConversationId, MessageQuery,
    types::{ConversationType, Descriptor, FrameKind, OWN_ON_MLS, Outcome, TypeId, Unsupported, WireError},
};

/// A shopping list.
struct ShoppingListV1;

/// What somebody writes on it.
enum Entry {
    Needed(String),
    Bought(String),
}

type Done<T = ()> = Result<T, Box<dyn Error>>;

const fn frame(number: u32, name: &'static str, carries: &'static str) -> FrameKind {
    FrameKind { name, number, carries, is_handshake: false }
}

impl ConversationType for ShoppingListV1 {
    const DESCRIPTOR: Descriptor = Descriptor {
        title: "ShoppingListV1",
        id: TypeId::new(0x8001),
        summary: "people keep one shopping list",
        frames: &[frame(1, "needed", "what is to be bought"), frame(2, "bought", "what was bought")],
        ..OWN_ON_MLS
    }
    .complete();

    type Frame = Entry;

    fn is_handshake(_: &Entry) -> bool {
        false
    }

    /// The number of the kind, and the name of the thing.
    fn encode(entry: &Entry) -> Vec<u8> {
        let (kind, thing) = match entry {
            Entry::Needed(thing) => (1, thing),
            Entry::Bought(thing) => (2, thing),
        };
        [&[kind], thing.as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Outcome<Entry> {
        let what = "entry of a shopping list";
        match bytes.split_first().map(|(kind, thing)| (kind, String::from_utf8(thing.to_vec()))) {
            Some((1, Ok(thing))) => Outcome::Decoded(Entry::Needed(thing)),
            Some((2, Ok(thing))) => Outcome::Decoded(Entry::Bought(thing)),
            // A later version of this application has it.
            Some((&kind @ 3.., _)) => Outcome::Unsupported(Unsupported { what, number: kind.into() }),
            _ => Outcome::Invalid(WireError::Malformed { what }),
        }
    }
}

/// Two people who are connected, each with a home of their own in `homes`.
async fn meet(carrier: &str, address: &str, homes: &Path) -> Done<(Client, Client)> {
    let home = |name| Client::builder(homes.join(name)).with_type::<ShoppingListV1>();
    let (ana, bruno) = if carrier == "relay" {
        let (ana, bruno) = (home("ana").init(&[address]).await?, home("bruno").init(&[address]).await?);
        ana.meet(&bruno.intro().await?.to_string(), None).await?;
        bruno.sync().await?;
        bruno.accept(&bruno.requests().await?.remove(0).from).await?;
        (ana, bruno)
    } else {
        let handle = |name| format!("{name}-{}", std::process::id());
        let ana = home("ana").sign_up(address, &handle("ana"), "correct horse battery").await?;
        let bruno = home("bruno").sign_up(address, &handle("bruno"), "staple a long password").await?;
        ana.connect(&bruno.me().handle).await?;
        bruno.sync().await?;
        bruno.accept(&ana.me().handle).await?;
        (ana, bruno)
    };
    ana.sync().await?;
    Ok((ana, bruno))
}

/// What somebody sees of the list.
async fn show(name: &str, client: &Client, list: ConversationId) -> Done {
    client.sync().await?;
    let mut things = BTreeMap::new();
    for frame in client.messages(list, MessageQuery::default()).await?.into_iter().filter_map(|m| m.frame) {
        match frame.decode::<ShoppingListV1>() {
            Outcome::Decoded(Entry::Needed(thing)) => drop(things.insert(thing, ' ')),
            Outcome::Decoded(Entry::Bought(thing)) => drop(things.insert(thing, 'x')),
            _ => println!("{name} cannot read an entry; a later version may"),
        }
    }
    let things: Vec<String> = things.iter().map(|(thing, mark)| format!("[{mark}] {thing}")).collect();
    println!("{name} sees {}", things.join(", "));
    Ok(())
}

#[tokio::main]
async fn main() -> Done {
    let mut arguments = env::args().skip(1);
    let (carrier, address) = arguments.next().zip(arguments.next()).ok_or("relay or hub, and its address")?;
    let homes = tempfile::tempdir()?;
    let (ana, bruno) = meet(&carrier, &address, homes.path()).await?;

    let friend = ana.connections().await?.remove(0).handle;
    let list = ana.create::<ShoppingListV1>("Saturday", &[friend]).await?.id;
    ana.send_frame::<ShoppingListV1>(list, &Entry::Needed("olives".to_owned())).await?;
    ana.send_frame::<ShoppingListV1>(list, &Entry::Needed("bread".to_owned())).await?;
    show("bruno", &bruno, list).await?;
    bruno.send_frame::<ShoppingListV1>(list, &Entry::Bought("olives".to_owned())).await?;
    show("ana", &ana, list).await
}
