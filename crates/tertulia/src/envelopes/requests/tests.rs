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
    inbox::{Bundle, InvitesTo, MAX_INVITATION_LIFETIME, NewInvitation, invite},
    topic::ContentTopic,
    types::{ConversationType as _, GroupV1, PrivateV1},
};
use tertulia_domain::{ConversationId, Handle, UserId, connection::Status};
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

    /// Has somebody send Bruno so many requests, which are valid for as long as any may be, and says how many of them had no effect.
    async fn flood(&self, from: &Client, count: usize) -> u64 {
        let mut work = Work::begin(from).await.expect("free");
        let own = own_bundle(&mut work, &from.identity().expect("no account"), 0).expect("a bundle");
        let now = work.now_in_seconds();
        let mut refused = 0;
        for _ in 0..count {
            let expires = now + MAX_INVITATION_LIFETIME;
            let invites_to = to_talk(100).0;
            let invitation = NewInvitation { sender: &own, sender_device: 0, expires, invites_to };
            let envelope = {
                let signer = work.signer().expect("hers");
                invite(&self.shown, 0, invitation, &signer, now, &mut rand::rng()).expect("seals")
            };
            refused += self.bruno.take_knock(&envelope).await.expect("looks at it").invalid;
        }
        refused
    }

    /// What is written down of the invitations that had an effect.
    fn noted(&self) -> Vec<u8> {
        self.bruno.inner().store.read(|r| r.identity()).expect("readable").expect("no account").replays
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

#[tokio::test]
async fn ten_thousand_invitations_of_a_stranger_keep_nobody_else_out_and_bring_no_replay_back() {
    let setting = Setting::new().await;
    let [ana, carla, mallory] =
        [setting.stranger("ana").await, setting.stranger("carla").await, setting.stranger("mallory").await];
    // Ana is connected with Bruno, who ignores Carla.
    let name = |name: &str| name.parse::<Handle>().expect("a name");
    ana.meet(&setting.shown.to_string(), Some(&name("bruno"))).await.expect("asks");
    setting.bruno.sync().await.expect("hears of it");
    let of_ana = ana.intro().await.expect("an intro").to_string();
    setting.bruno.meet(&of_ana, Some(&name("ana"))).await.expect("accepts");
    ana.sync().await.expect("hears of it");
    assert_eq!(setting.ask(&carla, to_talk(100).0).await, 0);
    let request = setting.bruno.requests().await.expect("readable").remove(0);
    setting.bruno.ignore_request(&request.from).await.expect("ignores");
    let topic = ContentTopic::of_inbox(&setting.shown.inbox_address());
    let of_carla = setting.network.published(&topic).pop().expect("hers is the last");

    let refused = setting.flood(&mallory, 10_001).await;
    assert!(refused > 9_000, "{refused}");
    assert!(setting.noted().len() < 1 << 12, "{}", setting.noted().len());

    // Who is connected invites, and a stranger asks.
    let group = ana.create_group("Tertulia", &[name("bruno")]).await.expect("a group").id;
    setting.bruno.sync().await.expect("hears of it");
    assert_eq!(setting.bruno.find("Tertulia").await.expect("he is in it"), group);
    let dora = setting.stranger("dora").await;
    let (request, id) = to_talk(100);
    assert_eq!(setting.ask(&dora, request).await, 0);
    assert!(setting.asked().await.contains(&id));
    // What was ignored is not asked again by a replay.
    setting.network.inject(&topic, &of_carla);
    assert_eq!(setting.bruno.sync().await.expect("syncs").invalid, 1);
    assert_eq!(setting.asked().await.len(), 2, "Mallory's and Dora's");
}

#[tokio::test]
async fn what_has_no_effect_is_not_noted_and_can_be_taken_later() {
    let setting = Setting::new().await;
    let ana = setting.stranger("ana").await;
    let before = setting.noted();
    let heads = setting.fill(MOST_REQUESTS, 10, true).await;
    let (request, id) = to_talk(100);
    assert_eq!(setting.ask(&ana, request).await, 1);
    assert_eq!(setting.noted(), before, "there was no room for it");
    // There is room, and it comes by another relay, say.
    let mut work = Work::begin(&setting.bruno).await.expect("free");
    let gone = heads[0].conversation;
    work.write(move |w| w.remove_invitation(gone)).expect("open");
    work.finish().await.expect("writes");
    let topic = ContentTopic::of_inbox(&setting.shown.inbox_address());
    let again = setting.network.published(&topic).pop().expect("it is there");
    setting.network.inject(&topic, &again);
    assert_eq!(setting.bruno.sync().await.expect("syncs").invalid, 0);
    assert_eq!(setting.asked().await, [id]);
    // Of who is blocked nothing is noted.
    let from = setting.bruno.requests().await.expect("readable").remove(0).from;
    setting.bruno.block(&from).await.expect("blocks");
    let before = setting.noted();
    assert_eq!(setting.ask(&ana, to_talk(100).0).await, 0);
    assert_eq!(setting.noted(), before);
}
