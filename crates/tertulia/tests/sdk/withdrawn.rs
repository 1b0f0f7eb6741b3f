//! Proposals that nobody can commit any more: they hold up nobody's messages.

use crate::support::{Half, Hub, LossyNetwork, PASSWORD, connect, group, read, texts};
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tertulia::{Client, ConversationId, Suspicion};
use tertulia_api::{Base64, account::NewDevice};
use tertulia_domain::DeviceId;
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, Credential, CredentialRef, MlsCommitBundle, MlsTransport, Session,
    SessionConfig, VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};

/// A further device of somebody, with a program of its own that says what it likes.
struct Device {
    url: String,
    token: String,
    id: DeviceId,
    session: Session,
    credential: CredentialRef,
}

impl Device {
    async fn log_in(hub: &Hub, handle: &str, home: &Path) -> Self {
        let (url, id) = (hub.url.clone(), DeviceId::random());
        let credentials = json!({ "handle": handle, "password": PASSWORD });
        let opened = request(&url, Method::POST, "/v1/sessions", None).json(&credentials).send().await;
        let opened: Value = opened.expect("answers").json().await.expect("a session");
        let text = |name: &str| opened[name].as_str().expect("a text").to_owned();
        let identity = format!("{}:{id}@{}", text("user"), text("domain"));

        let store = Store::create(home, &KeySource::File).expect("a new home");
        let session = Session::open(store, Arc::new(Silent), SessionConfig::default()).expect("opens");
        let mut tx = session.new_transaction().await.expect("free");
        let credential = Credential::basic(ClientId::from(identity), Ciphersuite::default());
        let credential = credential.expect("a credential");
        let signature_key = Base64(credential.public_key().to_vec());
        let credential = tx.add_credential(credential).expect("new");
        tx.finish().await.expect("written");
        let device = Self { url, token: text("token"), id, session, credential };
        let new = NewDevice {
            device: id,
            label: "odd".into(),
            signature_key,
            key_packages: Vec::new(),
            last_resort: None,
        };
        assert_eq!(device.post("/v1/devices", serde_json::to_value(new).expect("JSON")).await, 201);
        device
    }

    async fn post(&self, path: &str, body: Value) -> u16 {
        let request = request(&self.url, Method::POST, path, Some(&self.token)).json(&body);
        request.send().await.expect("answers").status().as_u16()
    }

    /// Is taken out of its user's account, by itself.
    async fn remove_itself(&self) {
        let path = format!("/v1/devices/{}/remove", self.id);
        assert_eq!(self.post(&path, json!({ "password": PASSWORD })).await, 204);
    }

    /// Asks the members to add it.
    async fn propose_itself(&self, conversation: ConversationId) {
        let path = format!("/v1/conversations/{conversation}/group-info");
        let answer = request(&self.url, Method::GET, &path, Some(&self.token)).send().await.expect("answers");
        let info =
            VerifiableGroupInfo::from_bytes(&answer.bytes().await.expect("bytes")).expect("group info");
        let mut tx = self.session.new_transaction().await.expect("free");
        let proposed = tx.new_external_add_proposal(info, &self.credential).expect("proposes");
        tx.finish().await.expect("written");
        let path = format!("/v1/conversations/{conversation}/proposals");
        let sent = request(&self.url, Method::POST, &path, Some(&self.token))
            .header("content-type", "message/mls")
            .body(proposed.proposal);
        assert_eq!(sent.send().await.expect("answers").status().as_u16(), 201);
    }
}

/// It sends no commits.
struct Silent;

#[async_trait::async_trait]
impl MlsTransport for Silent {
    async fn send_commit_bundle(
        &self,
        _: &tertulia_mls::ConversationId,
        _: MlsCommitBundle,
    ) -> CommitOutcome {
        CommitOutcome::Unknown { detail: "it sends none".into() }
    }
}

fn request(url: &str, method: Method, path: &str, token: Option<&str>) -> reqwest::RequestBuilder {
    let request = reqwest::Client::new().request(method, format!("{url}{path}"));
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// Alice and Bob in a group, and a further device of Bob's that is in no group.
async fn set() -> (Hub, [Client; 2], ConversationId, Device) {
    let hub = Hub::start().await;
    let (alice, bob) = (hub.sign_up("alice").await, hub.sign_up("bob").await);
    connect(&alice, &bob).await;
    let table = group(&alice, "Friday table", &[&bob]).await.id;
    let device = Device::log_in(&hub, "bob", &hub.home("odd")).await;
    (hub, [alice, bob], table, device)
}

#[tokio::test]
async fn a_text_goes_out_after_a_device_that_asked_to_be_added_was_removed() {
    let (_hub, [alice, bob], table, device) = set().await;
    device.propose_itself(table).await;
    device.remove_itself().await;
    alice.sync().await.expect("hears of the proposal, and that it is void");
    alice.send(table, "shall we begin?").await.expect("goes out");
    assert_eq!(read(&bob, table).await, ["shall we begin?"]);
    bob.send(table, "yes").await.expect("goes out");
    assert_eq!(read(&alice, table).await, ["shall we begin?", "yes"]);
}

#[tokio::test]
async fn a_text_goes_out_after_who_was_in_the_group_without_a_device_has_left() {
    let (_hub, [alice, bob], table, device) = set().await;
    let own = bob.me().device;
    assert_eq!(device.post(&format!("/v1/devices/{own}/remove"), json!({ "password": PASSWORD })).await, 204);
    alice.sync().await.expect("takes the device out");
    device.propose_itself(table).await;
    assert_eq!(device.post(&format!("/v1/conversations/{table}/leave"), json!({})).await, 204);
    alice.sync().await.expect("hears of the proposal, and that it is void");
    alice.send(table, "alone again").await.expect("goes out");
    assert_eq!(texts(&alice, table).await, ["alone again"]);
}

/// A group in which two things wait for a commit of Alice's: the hub, as the group's external sender, has proposed to remove Carol, who
/// has left, and a further device of Bob's has asked to be added. When that device goes, the hub withdraws both, and proposes the first
/// one again.
struct Race {
    hub: Hub,
    network: LossyNetwork,
    alice: Client,
    bob: Client,
    carol: Client,
    table: ConversationId,
    device: Device,
}

impl Race {
    async fn set() -> Self {
        let hub = Hub::start().await;
        let network = LossyNetwork::before(&hub, "/commits").await;
        let (bob, carol) = (hub.sign_up("bob").await, hub.sign_up("carol").await);
        let alice = Client::builder(hub.home("alice")).sign_up(&network.url, "alice", PASSWORD).await;
        let alice = alice.expect("signs up");
        connect(&alice, &bob).await;
        connect(&alice, &carol).await;
        let table = group(&alice, "Friday table", &[&bob, &carol]).await.id;
        let device = Device::log_in(&hub, "bob", &hub.home("odd")).await;
        let race = Self { hub, network, alice, bob, carol, table, device };
        race.begin().await;
        race
    }

    async fn begin(&self) {
        self.carol.leave(self.table, None).await.expect("leaves");
        self.device.propose_itself(self.table).await;
        assert_eq!(self.leaves(), 3);
    }

    /// Devices in the group's tree, as the hub has it.
    fn leaves(&self) -> i64 {
        self.hub.database(
            "SELECT count(*) FROM leaves JOIN conversations ON id = conversation WHERE type = 'group'",
        )
    }

    async fn epoch(&self) -> u64 {
        self.alice.epoch(self.table).await.expect("in the group")
    }

    /// Alice and Bob are in the same group, each with the device that they had, and nobody else is; nobody had to join it anew, for there
    /// were no more commits than these.
    async fn ends(&self, begun: u64, commits: std::ops::RangeInclusive<u64>) {
        let Self { alice, bob, carol, table, .. } = self;
        for client in [alice, bob, alice] {
            let report = client.sync().await.expect("syncs");
            assert_eq!((report.undecryptable, report.invalid), (0, 0), "{report:?}");
        }
        let epoch = self.epoch().await;
        assert!(commits.contains(&(epoch - begun)), "{} commits", epoch - begun);
        assert_eq!(bob.epoch(*table).await.expect("in the group"), epoch);
        assert_eq!((self.leaves(), self.hub.database("SELECT count(*) FROM proposals")), (2, 0));
        for client in [alice, bob] {
            let members = client.conversation(*table).await.expect("there").members;
            let mut members: Vec<_> = members.into_iter().map(|member| member.user).collect();
            members.sort_unstable();
            let noticed = client.suspicions().await.expect("readable");
            assert!(noticed.iter().all(|noticed| noticed.suspicion != Suspicion::Withheld), "{noticed:?}");
            let mut expected = vec![alice.me().user, bob.me().user];
            expected.sort_unstable();
            assert_eq!(members, expected);
        }
        let before = texts(bob, *table).await.len();
        alice.send(*table, "the two of us").await.expect("goes out");
        bob.send(*table, "as it should be").await.expect("goes out");
        for client in [alice, bob] {
            assert_eq!(read(client, *table).await[before..], ["the two of us", "as it should be"]);
        }
        assert!(read(carol, *table).await.is_empty(), "she has left");
    }
}

#[tokio::test]
async fn what_is_withdrawn_while_its_commit_is_on_the_way_is_committed_without_what_is_void() {
    let race = Race::set().await;
    let begun = race.epoch().await;
    let held = race.network.hold(Half::Request);
    let (synced, ()) = tokio::join!(race.alice.sync(), async {
        held.is_here.await.expect("she commits both");
        race.device.remove_itself().await;
        drop(held.goes_on);
    });
    synced.expect("commits anew");
    assert_eq!(
        (race.epoch().await, race.leaves()),
        (begun + 1, 2),
        "Carol is out, in the same synchronisation"
    );
    race.ends(begun, 1..=1).await;
}

#[tokio::test]
async fn what_becomes_void_after_its_commit_is_undone_by_another() {
    // She hears that it was accepted after the device has gone, or finds it in the log.
    for is_answer_lost in [false, true] {
        let race = Race::set().await;
        let begun = race.epoch().await;
        let held = race.network.hold(Half::Answer);
        race.network.lose(usize::from(is_answer_lost));
        let (synced, ()) = tokio::join!(race.alice.sync(), async {
            held.is_here.await.expect("she commits both");
            assert_eq!(race.leaves(), 3, "Carol is out, and Bob's further device in");
            race.device.remove_itself().await;
            drop(held.goes_on);
        });
        synced.expect("has committed");
        assert!(race.network.has_lost_all());
        race.ends(begun, 2..=2).await;
    }
}

#[tokio::test]
async fn what_is_withdrawn_after_its_commit_was_lost_is_committed_without_what_is_void() {
    let race = Race::set().await;
    let begun = race.epoch().await;
    let held = race.network.hold(Half::Request);
    race.network.lose_requests(true);
    let (synced, ()) = tokio::join!(race.alice.sync(), async {
        held.is_here.await.expect("she commits both");
        drop(held.goes_on);
    });
    synced.expect("what is owed to a group is left for the next time");
    assert_eq!(race.hub.database("SELECT count(*) FROM proposals"), 2, "the hub did not get it");
    race.device.remove_itself().await;
    race.network.lose_requests(false);
    race.alice.sync().await.expect("finds out");
    race.ends(begun, 1..=1).await;
}

/// Neither waits for the other; whichever comes first, it ends alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_and_the_withdrawal_of_what_it_has_at_once_end_alike() {
    let mut race = Race::set().await;
    for round in 0..4 {
        if round > 0 {
            race.alice.add_members(race.table, &[race.carol.me().handle.clone()]).await.expect("adds her");
            race.carol.sync().await.expect("is back");
            race.bob.sync().await.expect("sees her");
            race.device = Device::log_in(&race.hub, "bob", &race.hub.home(&format!("odd-{round}"))).await;
            race.begin().await;
        }
        let begun = race.epoch().await;
        let (synced, ()) = tokio::join!(race.alice.sync(), race.device.remove_itself());
        synced.expect("commits");
        race.ends(begun, 1..=2).await;
    }
}
