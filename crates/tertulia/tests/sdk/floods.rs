//! Somebody floods an inbox: it costs its owner little, and what is real comes through.

use crate::{
    carriers::{Between, Carrier},
    envelopes::{Homes, meet},
    support::{handle, read},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tertulia::{Bundle, Client, ConversationId, Delivery, ErrorKind};
use tertulia_conversation::{
    hint::{Hint, Salt},
    inbox::InboxAddress,
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_transport::{Cursor, Memory, MemoryNetwork, Page, TransportError};

/// Two homes, the second one's inbox, and a first contact for somebody else.
async fn before_a_flood(homes: &Homes) -> (Client, Client, InboxAddress, Envelope) {
    let (ana, bruno, carla) = (homes.init("ana").await, homes.init("bruno").await, homes.init("carla").await);
    let of_carla = carla.intro().await.expect("an intro").to_string();
    ana.meet(&of_carla, Some(&handle("carla"))).await.expect("asks");
    let template = homes.published().pop().expect("an invitation");
    let Outcome::Decoded(template) = Envelope::decode(&template) else { panic!("it is an envelope") };
    let address = bruno.intro().await.expect("an intro").inbox_address();
    (ana, bruno, address, template)
}

#[tokio::test]
async fn a_flood_at_an_inbox_costs_no_room_and_a_real_invitation_still_comes_through() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, address, template) = before_a_flood(&homes).await;
    let topic = ContentTopic::of_inbox(&address);
    let mut junk = template.encode();
    for number in 0..100_000_u64 {
        let hint = format!("{:032x}", u128::from(number) + (1 << 100));
        junk[2..34].copy_from_slice(hint.as_bytes());
        homes.networks[0].inject(&topic, &junk);
    }
    let intro = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    let size = || std::fs::metadata(homes.path("bruno/tertulia.db")).expect("there").len();
    let before = size();
    let begun = std::time::Instant::now();
    let report = bruno.sync().await.expect("syncs");
    println!("100,000 junk envelopes and one invitation: {:?}", begun.elapsed());
    assert!(report.others >= 100_000, "{report:?}");
    assert_eq!(report.events, 1);
    assert_eq!(bruno.requests().await.expect("readable").len(), 1);
    assert!(size() - before < 1 << 20, "nothing of it is kept");
}

#[tokio::test]
async fn junk_with_the_hint_of_an_inbox_is_refused_and_nothing_is_written_for_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, address, template) = before_a_flood(&homes).await;
    let (network, topic) = (&homes.networks[0], ContentTopic::of_inbox(&address));
    // Who has Bruno's intro can make his inbox's hint, and cannot sign for Ana.
    let intro = bruno.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks");
    let genuine = network.published(&topic).pop().expect("an invitation");
    bruno.sync().await.expect("hears of it");
    for _ in 0..500 {
        let salt = Salt::random(&mut rand::rng());
        let hint = Hint::salted(&address.conversation_id(), salt);
        network.inject(&topic, &Envelope { hint, salt, ..template.clone() }.encode());
    }
    network.inject(&topic, &genuine);
    let written = homes.writes("bruno");
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.invalid, report.events), (501, 0), "the same invitation is taken once: {report:?}");
    assert!(homes.writes("bruno") - written < 20, "nothing is written for what is refused");
    assert_eq!(bruno.requests().await.expect("readable").len(), 1);
}

#[tokio::test]
async fn in_the_topic_of_an_inbox_nothing_is_looked_for_but_first_contact() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let inbox = ContentTopic::of_inbox(&bruno.intro().await.expect("an intro").inbox_address());
    let talk = ContentTopic::of_conversation(&id);
    drop(bruno);
    ana.send(id, "genuine").await.expect("sends");
    let genuine = homes.networks[0].published(&talk).pop().expect("it was published");
    // With the salted hint of their conversation, which is found by trying each; and with a field that a later version knows.
    let salt = Salt::random(&mut rand::rng());
    let Outcome::Decoded(envelope) = Envelope::decode(&genuine) else { panic!("it is an envelope") };
    let salted = Envelope { hint: Hint::salted(&id, salt), salt, ..envelope }.encode();
    let later = [&genuine[..], &[0x5a, 1, 7]].concat();
    let network = MemoryNetwork::ordered("elsewhere");
    let builder = Client::builder(homes.path("bruno")).carrier(Arc::new(network.endpoint("bruno")));
    let bruno = builder.open().await.expect("opens");

    let all = [later, salted, genuine];
    for bytes in &all {
        network.inject(&inbox, bytes);
    }
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.others, report.invalid, report.unsupported), (3, 0, 0), "{report:?}");
    assert_eq!(report.messages, 0, "{report:?}");
    // Where conversations are left each is what it is.
    for bytes in &all {
        network.inject(&talk, bytes);
    }
    let report = bruno.sync().await.expect("syncs");
    assert_eq!((report.others, report.invalid, report.unsupported), (0, 1, 1), "{report:?}");
    assert_eq!(report.messages, 1, "{report:?}");
}

/// A carrier that is gone after so many requests, and counts what it gives.
#[derive(Debug)]
struct Fading {
    inner: Memory,
    left: AtomicU32,
    given: AtomicUsize,
}

impl Fading {
    fn take(&self) -> Result<(), TransportError> {
        let less = |left: u32| left.checked_sub(1);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less) {
            Ok(_) => Ok(()),
            Err(_) => Err(TransportError::Unreachable { hub: "fading".into(), reason: "it is gone".into() }),
        }
    }
}

#[async_trait::async_trait]
impl Between for Fading {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        self.take()?;
        let page = self.inner.fetch(topic, after, limit).await?;
        self.given.fetch_add(page.envelopes.len(), Ordering::SeqCst);
        Ok(page)
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        self.take()?;
        let pages = self.inner.wait(topics, at_most).await?;
        self.given.fetch_add(pages.iter().map(|(_, page)| page.envelopes.len()).sum(), Ordering::SeqCst);
        Ok(pages)
    }
}

#[tokio::test]
async fn a_carrier_that_goes_away_in_a_long_topic_is_gone_on_with_where_it_was() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id): (Client, Client, ConversationId) = homes.friends().await;
    let topic = ContentTopic::of_conversation(&id);
    bruno.sync().await.expect("syncs");
    drop(bruno);
    let junk = homes.networks[0].published(&topic).pop().expect("something");
    for number in 0..20_000_u32 {
        let mut junk = junk.clone();
        junk[2..34].copy_from_slice(format!("{number:032x}").as_bytes());
        homes.networks[0].inject(&topic, &junk);
        if number == 9_000 {
            ana.send(id, "in the midst of it").await.expect("sends");
        }
    }
    ana.send(id, "behind it").await.expect("sends");
    let carrier = Arc::new(Carrier(Fading {
        inner: homes.networks[0].endpoint("bruno"),
        left: AtomicU32::new(60),
        given: AtomicUsize::new(0),
    }));
    let open = || Client::builder(homes.path("bruno")).carrier(Arc::clone(&carrier) as _).open();
    let error = open().await.expect("opens").sync().await.expect_err("it goes away");
    assert_eq!(error.kind(), ErrorKind::Transient);
    let first = carrier.given.load(Ordering::SeqCst);
    carrier.left.store(u32::MAX, Ordering::SeqCst);
    let bruno = open().await.expect("opens");
    assert_eq!(read(&bruno, id).await, ["in the midst of it", "behind it"]);
    let all = carrier.given.load(Ordering::SeqCst);
    assert!(first > 10_000, "{first} were given before");
    assert!(all < 20_002 + 600, "{all} were given in all: hardly any of them twice");
    drop((ana, bruno));
}

#[tokio::test]
async fn who_is_met_through_a_flood_can_be_talked_to() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, address, template) = before_a_flood(&homes).await;
    let topic = ContentTopic::of_inbox(&address);
    for number in 0..2000_u32 {
        let mut junk = template.encode();
        junk[2..34].copy_from_slice(format!("{number:032x}").as_bytes());
        homes.networks[0].inject(&topic, &junk);
    }
    let id = meet(&ana, "ana", &bruno, "bruno").await;
    ana.send(id, "There you are.").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["There you are."]);
    let shown: Bundle = bruno.intro().await.expect("an intro");
    assert_eq!(shown.inbox_address(), address, "it never changes");
}
