//! Commits that a relay refuses for good, and what comes after them.

use crate::{
    carriers::{Between, Carrier},
    enveloped_groups::{assert_all_talk, assert_same, settle, three},
    envelopes::Homes,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tertulia::{AddPermission, Client, ConversationId};
use tertulia_api::{Code, Problem};
use tertulia_conversation::{
    hint::{HANDSHAKE_WINDOW, Salt},
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_transport::{Delivery as _, Memory, Position, TransportError};

/// A relay that finds so many of the next envelopes of conversations too long.
#[derive(Debug)]
struct Narrow {
    inner: Memory,
    refusals: AtomicU32,
}

#[async_trait::async_trait]
impl Between for Narrow {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn publish(&self, topic: &ContentTopic, envelope: &[u8]) -> Result<Position, TransportError> {
        let less = |left: u32| left.checked_sub(1);
        if !topic.is_inbox() && self.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok() {
            let problem = Problem::new(Code::PayloadTooLarge, "An envelope has at most 1024 bytes there.");
            return Err(TransportError::Refused(Box::new(problem)));
        }
        self.inner.publish(topic, envelope).await
    }
}

async fn other_permission(client: &Client, id: ConversationId) -> AddPermission {
    let now = client.conversation(id).await.expect("known").add_permission;
    if now == AddPermission::Admins { AddPermission::Everyone } else { AddPermission::Admins }
}

#[tokio::test]
async fn a_commit_is_followed_by_all_though_the_relay_has_refused_as_many_as_they_know_hints_of() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, carla, group) = three(&homes).await;
    let id = group.id;
    drop(ana);
    let inner = homes.networks[0].endpoint("ana");
    let relay = Arc::new(Carrier(Narrow { inner, refusals: AtomicU32::new(0) }));
    let ana = Client::builder(homes.path("ana")).carrier(Arc::clone(&relay) as _).open().await;
    let ana = ana.expect("opens");
    settle(&[&ana, &bruno, &carla]).await;
    let before = ana.epoch(id).await.expect("a member");
    let to = other_permission(&ana, id).await;

    relay.refusals.store(HANDSHAKE_WINDOW, Ordering::SeqCst);
    for _ in 0..HANDSHAKE_WINDOW {
        let error = ana.set_add_permission(id, to).await.expect_err("it is too long");
        assert_eq!(error.code(), "payload-too-large");
    }
    assert_eq!(relay.refusals.load(Ordering::SeqCst), 0, "each was posted once");
    assert_eq!(ana.epoch(id).await.expect("a member"), before);

    ana.set_add_permission(id, to).await.expect("it fits by now");
    assert_eq!(ana.epoch(id).await.expect("a member"), before + 1);
    settle(&[&bruno, &carla, &ana]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    assert_eq!(carla.conversation(id).await.expect("known").add_permission, to);
    // In the next epoch she has hints again.
    assert_all_talk(id, &[&ana, &bruno, &carla]).await;
    let to = other_permission(&ana, id).await;
    ana.set_add_permission(id, to).await.expect("changes it");
    settle(&[&bruno, &carla]).await;
    assert_same(id, &[&ana, &bruno, &carla]).await;
    homes.assert_no_hint_twice();
    let published = homes.networks[0].published(&ContentTopic::of_conversation(&id));
    let is_salted = |bytes: &Vec<u8>| match Envelope::decode(bytes) {
        Outcome::Decoded(envelope) => envelope.salt != Salt::NONE,
        _ => false,
    };
    assert_eq!(published.iter().filter(|bytes| is_salted(bytes)).count(), 1, "it shows once");
}
