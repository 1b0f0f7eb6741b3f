//! What no application sends: requests that are larger than any has to be, and more of them than fit.

use crate::{
    Client,
    envelopes::{
        Work,
        inbox::{MOST_BYTES_TO_TALK, MOST_REQUEST_BYTES, MOST_REQUESTS},
        intro::own_bundle,
    },
};
use std::sync::Arc;
use tempfile::TempDir;
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, InvitesTo, NewInvitation, invite},
    topic::ContentTopic,
    types::{ConversationType as _, GroupV1, PrivateV1},
};
use tertulia_domain::{ConversationId, UserId, connection::Status};
use tertulia_store::{ConnectionRecord, InvitationHead, InvitationRecord};
use tertulia_transport::MemoryNetwork;
use zeroize::Zeroizing;

struct Setting {
    dir: TempDir,
    network: MemoryNetwork,
    bruno: Client,
    shown: Bundle,
}

impl Setting {
    /// Bruno, whom nobody has asked anything.
    async fn new() -> Self {
        let (dir, network) = (tempfile::tempdir().expect("a directory"), MemoryNetwork::ordered("relay"));
        let bruno = init(&dir, &network, "bruno").await;
        let shown = bruno.intro().await.expect("an intro");
        Self { dir, network, bruno, shown }
    }

    async fn stranger(&self, name: &str) -> Client {
        init(&self.dir, &self.network, name).await
    }

    /// Has somebody ask Bruno, and says how many of his requests are passed over.
    async fn ask(&self, from: &Client, invites_to: InvitesTo) -> u64 {
        let mut work = Work::begin(from).await.expect("free");
        let own = own_bundle(&mut work, &from.identity().expect("no account"), 0).expect("a bundle");
        let now = work.now_in_seconds();
        let invitation = NewInvitation { sender: &own, sender_device: 0, expires: now + 1000, invites_to };
        let envelope = {
            let signer = work.signer().expect("hers");
            invite(&self.shown, 0, invitation, &signer, now, &mut rand::rng()).expect("seals")
        };
        let (topic, carriers) = (ContentTopic::of_inbox(&self.shown.inbox_address()), from.carriers().ids());
        let id = ConversationId::random();
        work.post_to(id, topic, carriers, envelope.encode(), None).expect("in line");
        work.finish().await.expect("writes");
        from.sync().await.expect("posts it");
        self.bruno.sync().await.expect("syncs").invalid
    }

    /// Writes so many requests down of so many bytes each, of people of whom nothing else is known.
    async fn fill(&self, count: usize, size: usize, is_pending: bool) -> Vec<InvitationHead> {
        let mut work = Work::begin(&self.bruno).await.expect("free");
        let mut heads = Vec::new();
        for received_at in 0..i64::try_from(count).expect("few") {
            let head = InvitationHead {
                conversation: ConversationId::random(),
                user: UserId::random(),
                received_at,
                expires: u64::from(u32::MAX),
                is_pending,
                is_to_group: false,
            };
            heads.push(head);
            let record = InvitationRecord { head, content: Zeroizing::new(vec![0; size]) };
            work.write(move |w| w.put_invitation(&record)).expect("open");
        }
        work.finish().await.expect("writes");
        heads
    }

    async fn asked(&self) -> Vec<ConversationId> {
        let requests = self.bruno.requests().await.expect("readable");
        requests.iter().map(|request| request.conversation).collect()
    }

    fn kept(&self) -> Vec<(InvitationHead, u64)> {
        self.bruno.inner().store.read(|r| r.invitations_with_size()).expect("readable")
    }
}

async fn init(dir: &TempDir, network: &MemoryNetwork, name: &str) -> Client {
    let carrier = Arc::new(network.endpoint(name));
    Client::builder(dir.path().join(name)).carrier(carrier).init::<&str>(&[]).await.expect("a home")
}

/// A request to talk, and the conversation that it is to.
fn to_talk(size: usize) -> (InvitesTo, ConversationId) {
    let creation_secret = Zeroizing::new(rand::random::<[u8; 32]>());
    let id = conversation_id(PrivateV1::DESCRIPTOR.id, &creation_secret);
    (InvitesTo::Private { creation_secret, message: vec![7; size] }, id)
}

fn to_group(secret: [u8; 32], size: usize) -> InvitesTo {
    let (conversation_type, creation_secret) = (GroupV1::DESCRIPTOR.id, Zeroizing::new(secret));
    InvitesTo::Group { conversation_type, creation_secret, welcome: vec![7; size] }
}

#[tokio::test]
async fn a_request_to_talk_takes_little_room_also_in_the_place_of_another() {
    let setting = Setting::new().await;
    let ana = setting.stranger("ana").await;
    assert_eq!(setting.ask(&ana, to_talk(MOST_BYTES_TO_TALK).0).await, 1);
    assert!(setting.kept().is_empty());
    let (request, first) = to_talk(100);
    assert_eq!(setting.ask(&ana, request).await, 0);
    assert_eq!(setting.asked().await, [first]);
    // Who is known already is no exception.
    assert_eq!(setting.ask(&ana, to_talk(500_000).0).await, 1);
    assert_eq!(setting.asked().await, [first]);
    let (request, second) = to_talk(1000);
    assert_eq!(setting.ask(&ana, request).await, 0);
    assert_eq!(setting.asked().await, [second], "the newest of each person");
    assert!(setting.kept()[0].1 < MOST_BYTES_TO_TALK as u64);
}

#[tokio::test]
async fn all_requests_together_stay_within_bounds_whoever_asks_again() {
    let setting = Setting::new().await;
    let ana = setting.stranger("ana").await;
    let (count, size) = (31, 1 << 20);
    setting.fill(count, size, true).await;
    let secret = rand::random();
    assert_eq!(setting.ask(&ana, to_group(secret, 1000)).await, 0);
    let [small] = setting.asked().await[..] else { panic!("one is known by name") };
    // Once more into the same group, by more than there is room for.
    setting.fill(1, size - 100_000, true).await;
    assert_eq!(setting.ask(&ana, to_group(secret, 200_000)).await, 1);
    assert_eq!(setting.asked().await, [small]);
    assert!(setting.kept().iter().map(|(_, size)| size).sum::<u64>() <= MOST_REQUEST_BYTES);
    // What takes no more than what it replaces is taken.
    assert_eq!(setting.ask(&ana, to_group(secret, 900)).await, 0);
    let (_, size) = setting.kept().into_iter().find(|(head, _)| head.conversation == small).expect("kept");
    assert!(size < 1 << 14, "{size}");
}

#[tokio::test]
async fn what_was_ignored_or_blocked_keeps_nobody_out() {
    let setting = Setting::new().await;
    let heads = setting.fill(MOST_REQUESTS, 10, false).await;
    let mut work = Work::begin(&setting.bruno).await.expect("free");
    for (head, status) in [(heads[0], Status::Ignored), (heads[1], Status::Blocked)] {
        let InvitationHead { user, conversation, .. } = head;
        let row = ConnectionRecord { user, status, conversation, updated_at: 1 };
        work.write(move |w| w.put_connection(&row)).expect("open");
    }
    work.finish().await.expect("writes");
    for (number, name) in ["ana", "carla"].into_iter().enumerate() {
        let stranger = setting.stranger(name).await;
        let (request, id) = to_talk(100);
        assert_eq!(setting.ask(&stranger, request).await, 0);
        assert!(setting.asked().await.contains(&id));
        let kept = setting.kept();
        assert_eq!(kept.len(), MOST_REQUESTS);
        assert!(kept.iter().all(|(kept, _)| *kept != heads[number]), "the oldest has gone");
    }
    let status = |head: InvitationHead| {
        let row = setting.bruno.inner().store.read(|r| r.connection(head.user)).expect("readable");
        row.map(|row| row.status)
    };
    assert_eq!((status(heads[0]), status(heads[1])), (None, Some(Status::Blocked)), "a block stays");
}

#[tokio::test]
async fn while_as_many_wait_as_may_nobody_else_gets_through_and_nothing_goes() {
    let setting = Setting::new().await;
    let heads = setting.fill(MOST_REQUESTS, 10, true).await;
    let ana = setting.stranger("ana").await;
    assert_eq!(setting.ask(&ana, to_talk(100).0).await, 1);
    assert_eq!(setting.kept().into_iter().map(|(head, _)| head).collect::<Vec<_>>(), heads);
}
