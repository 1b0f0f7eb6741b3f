//! What comes in another order than it was said in: several topics in one answer, and relays that homes ask in another order than their group does.

use crate::{
    carriers::{Between, Carrier},
    enveloped_groups::{RotateNow as _, settle},
    envelopes::{Homes, meet},
    support::{handle, texts},
};
use futures::StreamExt as _;
use std::{sync::Arc, time::Duration};
use tertulia::{Client, ClientEvent, Delivery};
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::{Cursor, Memory, Page, TransportError};
use tokio::sync::watch;

/// A carrier that gives nothing of inboxes while it is shut, lets who waits wait, and then gives all topics in one answer, inboxes first.
#[derive(Debug)]
struct Gate {
    inner: Memory,
    is_open: watch::Sender<bool>,
}

fn is_inbox(topic: ContentTopic) -> bool {
    topic.to_string().contains("/inbox-")
}

#[async_trait::async_trait]
impl Between for Gate {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let mut is_open = self.is_open.subscribe();
        if at_most > Duration::ZERO {
            is_open.wait_for(|is_open| *is_open).await.expect("it stays");
        }
        let mut pages = Vec::new();
        for (topic, after) in topics {
            if *is_open.borrow_and_update() || !is_inbox(*topic) {
                pages.extend(self.inner.wait(&[(*topic, after.clone())], Duration::ZERO).await?);
            }
        }
        pages.sort_by_key(|(topic, _)| !is_inbox(*topic));
        if pages.is_empty() && at_most > Duration::ZERO {
            return self.inner.wait(topics, at_most).await;
        }
        Ok(pages)
    }
}

#[tokio::test]
async fn who_comes_into_a_group_reads_what_stands_before_the_rest_of_the_same_answer() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(bruno);
    let gate = Gate { inner: homes.networks[0].endpoint("bruno"), is_open: watch::Sender::new(false) };
    let carrier = Arc::new(Carrier(gate));
    let bruno = Client::builder(homes.path("bruno")).carrier(Arc::clone(&carrier) as _).open().await;
    let bruno = bruno.expect("opens");
    // A group whose topic he reads anyway: one of 256 is.
    let topic = ContentTopic::of_conversation(&id);
    let group = loop {
        let group = ana.create_group("Tertulia", &[]).await.expect("a group").id;
        if ContentTopic::of_conversation(&group) == topic {
            break group;
        }
    };
    ana.add_members(group, &[handle("bruno")]).await.expect("adds him");
    ana.send(group, "before he hears of the group").await.expect("sends");
    let listener = bruno.clone();
    let mut events = Box::pin(listener.events());
    while events.next().await.expect("goes on").expect("an event") != ClientEvent::CaughtUp {}
    assert!(bruno.conversation(group).await.is_err(), "he has read its topic, and knows nothing of it");
    ana.send(id, "in private").await.expect("sends");
    carrier.is_open.send_replace(true);
    // One message after the other; the group's is the first that was said.
    let mut told = Vec::new();
    while told.len() < 2 {
        if let ClientEvent::Message(message) = events.next().await.expect("goes on").expect("an event") {
            told.push(message.text);
        }
    }
    told.sort_unstable();
    assert_eq!(told, ["before he hears of the group", "in private"]);
    assert_eq!(texts(&bruno, group).await, ["before he hears of the group"]);
}

#[tokio::test]
async fn what_overtakes_a_commit_by_a_relay_that_is_asked_first_is_read() {
    let homes = Homes::on(&["first", "second"]);
    let ana = homes.init("ana").await;
    let bruno = homes.turned("bruno").init::<&str>(&[]).await.expect("a new home");
    meet(&ana, "ana", &bruno, "bruno").await;
    let id = ana.create_group("Tertulia", &[handle("bruno")]).await.expect("a group").id;
    settle(&[&bruno, &ana]).await;
    ana.rotate_now(id).await;
    // What is said in the new epoch comes by the second relay alone.
    homes.networks[0].cut_off(&["ana"]);
    ana.send(id, "by the second").await.expect("sends");
    bruno.sync().await.expect("syncs");
    assert_eq!(texts(&bruno, id).await, ["by the second"]);
    homes.networks[0].cut_off(&[]);
    settle(&[&ana, &bruno]).await;
    assert_eq!(texts(&bruno, id).await, ["by the second"], "it is shown once");
}
