//! Proposals that nobody can commit any more: they hold up nobody's messages.

use crate::support::{Hub, PASSWORD, connect, group, read, texts};
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc};
use tertulia::{Client, ConversationId};
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
    let path = format!("/v1/devices/{}/remove", device.id);
    assert_eq!(device.post(&path, json!({ "password": PASSWORD })).await, 204);
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
