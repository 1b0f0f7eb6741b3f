//! A real hub on a free port, and people who talk to it over HTTP.

use super::{
    answers,
    database::{Stored, Values},
    mls::{self, Bundle, Config, MlsDevice},
};
use mls_rs::Group;
use reqwest::{Method, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{collections::BTreeMap, path::Path};
use tempfile::TempDir;
use tertulia_api::{
    Base64, Code, Problem,
    account::{ClaimedKeyPackages, Credentials, HubKeys, KeyPackageClaim, NewDevice, Session},
    connection::Connection,
    conversation::{CommitAccepted, Conversation, MLS_MEDIA_TYPE, MessageAccepted, NewConversation},
    event::{Event, EventPage},
};
use tertulia_domain::{ConversationId, Domain, UserId};
use tertulia_server::{Server, ServerConfig, ServerError};
use tokio::{sync::oneshot, task::JoinHandle};

pub struct Hub {
    pub dir: TempDir,
    pub base: String,
    /// Where the numbers are, if they are anywhere.
    pub numbers_at: Option<std::net::SocketAddr>,
    /// Where plain HTTP leads to HTTPS, if it does.
    pub redirects_at: Option<std::net::SocketAddr>,
    pub reload: tertulia_server::Reload,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServerError>>,
}

impl Hub {
    pub async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub async fn start_in(dir: TempDir) -> Self {
        Self::start_with(dir, |_| ()).await
    }

    /// With a configuration that differs from the default.
    pub async fn start_with(dir: TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = config(dir.path());
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let base = format!("http://{}", server.local_addr());
        let (numbers_at, redirects_at) = (server.metrics_addr(), server.redirect_addr());
        let reload = server.reload();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { dir, base, numbers_at, redirects_at, reload, stop, running }
    }

    /// Stops in good order.
    pub async fn stop(self) -> TempDir {
        let _ = self.stop.send(());
        self.running.await.unwrap().unwrap();
        self.dir
    }

    /// Tells the hub to stop, and leaves the waiting to who has something open.
    pub fn request_stop(self) -> (TempDir, JoinHandle<Result<(), ServerError>>) {
        let _ = self.stop.send(());
        (self.dir, self.running)
    }

    /// The hub's database.
    pub fn stored(&self) -> Stored {
        Stored::of(self.dir.path())
    }

    /// Changes what is stored, behind the hub's back: what only time brings about otherwise.
    pub fn change(&self, sql: &str, values: impl Values) {
        self.stored().execute(sql, values);
    }

    /// What the hub tells of itself, in Prometheus's text format.
    pub async fn numbers(&self) -> String {
        let address = self.numbers_at.expect("the hub was started with numbers");
        reqwest::get(format!("http://{address}/metrics")).await.unwrap().text().await.unwrap()
    }

    /// How many rows each table has, but for what the hub notes by the clock.
    pub fn rows(&self) -> BTreeMap<String, i64> {
        let mut rows = self.stored().rows();
        rows.remove("moments");
        rows
    }
}

/// What a hub with this data directory is started with, on any free port.
pub fn config(dir: &Path) -> ServerConfig {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir);
    if let Stored::Postgres(url) = Stored::of(dir) {
        config.database = Some(url.parse().unwrap());
    }
    config
}

/// An answer of the hub.
pub struct Answer {
    pub status: StatusCode,
    pub body: Vec<u8>,
}

impl Answer {
    /// Sends a request, and notes what is answered.
    pub async fn to(request: reqwest::RequestBuilder) -> Self {
        let (client, request) = request.build_split();
        let request = request.unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client.execute(request).await.unwrap();
        let (status, body) = (response.status(), response.bytes().await.unwrap().to_vec());
        answers::note(&method, &path, status, &body);
        Self { status, body }
    }

    #[track_caller]
    pub fn done<T: DeserializeOwned>(self) -> T {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    pub fn empty(self) {
        assert_eq!(self.status, StatusCode::NO_CONTENT, "{}", String::from_utf8_lossy(&self.body));
    }

    #[track_caller]
    pub fn bytes(self) -> Vec<u8> {
        assert!(self.status.is_success(), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        self.body
    }

    /// The problem, which must have this code.
    #[track_caller]
    pub fn refused(self, code: Code) -> Problem {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        let problem: Problem =
            serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no problem: {text}"));
        assert_eq!((problem.code.as_str(), self.status.as_u16()), (code.as_str(), code.status()), "{text}");
        reached(code);
        problem
    }
}

/// Notes that a test was answered with this code. `cargo xtask test` looks whether each was.
fn reached(code: Code) {
    let codes = Path::new(env!("CARGO_TARGET_TMPDIR")).join("codes");
    std::fs::create_dir_all(&codes).unwrap();
    std::fs::write(codes.join(code.as_str()), "").unwrap();
}

/// A session of a user, with a registered device.
pub struct Person {
    pub base: String,
    pub token: String,
    pub user: UserId,
    pub handle: String,
    pub hub_key: Vec<u8>,
    pub mls: MlsDevice,
    pub http: reqwest::Client,
}

pub const PASSWORD: &str = "correct horse battery staple";

impl Person {
    pub async fn sign_up(hub: &Hub, handle: &str) -> Self {
        Self::open(hub, handle, "/v1/accounts", 3).await
    }

    /// A further device of somebody who has signed up.
    pub async fn log_in(hub: &Hub, handle: &str) -> Self {
        Self::open(hub, handle, "/v1/sessions", 3).await
    }

    /// With so many key packages.
    pub async fn open(hub: &Hub, handle: &str, path: &str, key_packages: usize) -> Self {
        let http = reqwest::Client::new();
        let credentials = Credentials { handle: handle.into(), password: PASSWORD.into() };
        let response = http.post(format!("{}{path}", hub.base)).json(&credentials).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
        let session: Session = response.json().await.unwrap();
        let domain: Domain = session.domain.parse().unwrap();
        let mls = MlsDevice::new(session.user, &domain);
        let person = Self {
            base: hub.base.clone(),
            token: session.token,
            user: session.user,
            handle: session.handle,
            hub_key: Vec::new(),
            mls,
            http,
        };
        let device = NewDevice {
            device: person.mls.device,
            label: "test".into(),
            signature_key: Base64(person.mls.signature_key.clone()),
            key_packages: (0..key_packages).map(|_| Base64(person.mls.key_package())).collect(),
            last_resort: None,
        };
        let answer = person.post("/v1/devices", &device).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&answer.body));
        let keys: HubKeys = person.get("/v1/mls/keys").await.done();
        Self { hub_key: keys.external_sender.0, ..person }
    }

    pub async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::to(request.bearer_auth(&self.token)).await
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.answer(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.answer(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        self.answer(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &impl Serialize) -> Answer {
        self.answer(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn mls(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        self.mls_as(method, path, body, MLS_MEDIA_TYPE).await
    }

    pub async fn mls_as(&self, method: Method, path: &str, body: Vec<u8>, media_type: &str) -> Answer {
        self.answer(self.request(method, path).header("content-type", media_type).body(body)).await
    }

    pub async fn send(&self, conversation: ConversationId, body: Vec<u8>) -> Answer {
        self.mls(Method::POST, &format!("/v1/conversations/{conversation}/messages"), body).await
    }

    pub async fn sent(&self, conversation: ConversationId, body: Vec<u8>) -> MessageAccepted {
        self.send(conversation, body).await.done()
    }

    pub async fn commit(&self, conversation: ConversationId, bundle: &Bundle) -> Answer {
        self.mls(Method::POST, &format!("/v1/conversations/{conversation}/commits"), bundle.body()).await
    }

    /// Sends the commit that is pending in the group, and applies it once the hub has accepted it.
    pub async fn committed(
        &self,
        conversation: ConversationId,
        group: &mut Group<Config>,
        bundle: &Bundle,
    ) -> CommitAccepted {
        let accepted = self.commit(conversation, bundle).await.done();
        group.apply_pending_commit().unwrap();
        accepted
    }

    pub async fn group_info(&self, conversation: ConversationId) -> Vec<u8> {
        self.get(&format!("/v1/conversations/{conversation}/group-info")).await.bytes()
    }

    pub async fn connect(&self, other: &Person) -> ConversationId {
        self.post("/v1/connections", &json!({ "handle": other.handle }))
            .await
            .done::<Connection>()
            .conversation
    }

    pub async fn set_connection(&self, other: &Person, status: &str) -> Answer {
        self.put(&format!("/v1/connections/{}", other.user), &json!({ "status": status })).await
    }

    /// One key package of each other device of these users.
    pub async fn claim(&self, users: &[UserId]) -> Vec<Vec<u8>> {
        let claim = KeyPackageClaim { users: users.to_vec() };
        let claimed: ClaimedKeyPackages = self.post("/v1/key-packages/claims", &claim).await.done();
        claimed.key_packages.into_iter().map(|claimed| claimed.key_package.0).collect()
    }

    pub async fn conversation(&self, id: ConversationId) -> Conversation {
        self.get(&format!("/v1/conversations/{id}")).await.done()
    }

    /// A new conversation of type group, before its first commit.
    pub async fn new_group(&self) -> (ConversationId, Group<Config>) {
        let conversation = ConversationId::random();
        let created: Conversation =
            self.post("/v1/conversations", &NewConversation::new(conversation)).await.done();
        assert_eq!(created.group_id.0, conversation.as_bytes());
        (conversation, self.mls.create_managed(conversation, &self.hub_key))
    }

    /// Adds users with all their devices.
    pub async fn add(
        &self,
        conversation: ConversationId,
        group: &mut Group<Config>,
        users: &[UserId],
    ) -> Bundle {
        let key_packages = self.claim(users).await;
        let bundle = mls::commit(group, &key_packages, &[]);
        self.committed(conversation, group, &bundle).await;
        bundle
    }

    /// All events after a cursor, page by page.
    pub async fn events_since(&self, since: Option<&str>) -> Vec<Event> {
        let mut events = Vec::new();
        let mut since = since.map(ToOwned::to_owned);
        loop {
            let query = since.as_ref().map(|since| format!("?since={since}")).unwrap_or_default();
            let page: EventPage = self.get(&format!("/v1/events{query}")).await.done();
            events.extend(page.events);
            if !page.more {
                return events;
            }
            since = Some(page.cursor);
        }
    }

    pub async fn events(&self) -> Vec<Event> {
        self.events_since(None).await
    }
}

/// Makes two users connected. Their 1:1.
pub async fn connect(a: &Person, b: &Person) -> ConversationId {
    let conversation = a.connect(b).await;
    b.set_connection(a, "accepted").await.done::<Connection>();
    conversation
}

/// The 1:1 of two connected users, after its first commit, with the group at both.
pub async fn one_to_one(a: &Person, b: &Person) -> (ConversationId, Group<Config>, Group<Config>) {
    let conversation = connect(a, b).await;
    let group_id = a.conversation(conversation).await.group_id.0;
    let mut at_a = a.mls.create_group(&group_id, &a.hub_key);
    let bundle = a.add(conversation, &mut at_a, &[b.user]).await;
    let at_b = b.mls.join(&bundle.welcome.unwrap().to_bytes().unwrap());
    (conversation, at_a, at_b)
}

/// The name of each event's type, with whom or what it is about left out.
pub fn types(events: &[Event]) -> Vec<String> {
    let name = |event: &Event| serde_json::to_value(event).unwrap()["type"].as_str().unwrap().to_owned();
    events.iter().map(name).collect()
}
