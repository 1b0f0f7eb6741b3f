//! A hub that lies: the real one, behind somebody who changes what it says to one client.

use crate::support::Hub;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use http::Method;
use std::{
    path::Path,
    sync::{Arc, Mutex},
};
use tertulia_api::{
    Code, Problem,
    conversation::{CommitAccepted, Conversation, Conversations},
    event::{Event, EventPage},
    history::HistoryPage,
    policy::{decode, encode},
};
use tertulia_domain::{Role, UserId};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, CommitOutcome, ConversationId, Credential, KeyPackage,
    MlsCommitBundle, MlsConversationConfiguration, MlsTransport, Session, SessionConfig, VerifiableGroupInfo,
};
use tertulia_store::{KeySource, Store};
use tokio::{net::TcpListener, sync::oneshot};

type Change = Box<dyn FnMut(&mut Vec<Event>) + Send>;
type ChangeHistory = Box<dyn FnMut(&mut HistoryPage) + Send>;
type ChangeCommit = Box<dyn FnMut(&mut Vec<u8>) + Send>;
type Describe = Box<dyn FnMut(&mut Conversation) + Send>;

/// Changes answers of the hub on their way to who uses this address.
pub(crate) struct LyingHub {
    pub(crate) url: String,
    lies: Arc<Mutex<Lies>>,
}

#[derive(Default)]
struct Lies {
    events: Option<Change>,
    /// Changes commit bundles on their way to the hub: what a member does who keeps to no rule.
    commits: Option<ChangeCommit>,
    history: Option<ChangeHistory>,
    conversation: Option<Describe>,
    group_info: Option<Bytes>,
    refuses_commits: Option<Code>,
    takes_commits: bool,
    /// The next request of this method and with this end of its path waits.
    holds: Option<(Method, &'static str, Gate)>,
    /// All events that went through, as the hub said them.
    seen: Vec<Event>,
}

impl LyingHub {
    pub(crate) async fn before(hub: &Hub) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let lies = Arc::<Mutex<Lies>>::default();
        let state = (hub.url.clone(), Arc::clone(&lies), reqwest::Client::new());
        let app = Router::new().fallback(pass_on).with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, lies }
    }

    /// Changes each page of events from now on.
    pub(crate) fn change_events(&self, change: impl FnMut(&mut Vec<Event>) + Send + 'static) {
        self.lies.lock().expect("nobody panics").events = Some(Box::new(change));
    }

    /// Changes each commit bundle from now on, before the hub has it, as its sender could.
    pub(crate) fn change_commits(&self, change: impl FnMut(&mut Vec<u8>) + Send + 'static) {
        self.lies.lock().expect("nobody panics").commits = Some(Box::new(change));
    }

    /// Changes each page of older messages from now on.
    pub(crate) fn change_history(&self, change: impl FnMut(&mut HistoryPage) + Send + 'static) {
        self.lies.lock().expect("nobody panics").history = Some(Box::new(change));
    }

    /// Adds an event at the end of the next page, which is then not empty.
    pub(crate) fn say_once(&self, event: Event) {
        let mut event = Some(event);
        self.change_events(move |events| events.extend(event.take()));
    }

    /// Adds these events at the end of the next page.
    pub(crate) fn say_all_once(&self, mut said: Vec<Event>) {
        self.change_events(move |events| events.append(&mut said));
    }

    /// Describes every conversation so from now on, also those that it is asked to make.
    pub(crate) fn describe(&self, describe: impl FnMut(&mut Conversation) + Send + 'static) {
        self.lies.lock().expect("nobody panics").conversation = Some(Box::new(describe));
    }

    /// Serves this group info, whatever is asked for.
    pub(crate) fn serve_group_info(&self, group_info: Bytes) {
        self.lies.lock().expect("nobody panics").group_info = Some(group_info);
    }

    /// Refuses every commit from now on.
    pub(crate) fn refuse_commits(&self, code: Code) {
        self.lies.lock().expect("nobody panics").refuses_commits = Some(code);
    }

    /// Takes every commit from now on, and tells nobody else of it.
    pub(crate) fn take_commits(&self) {
        self.lies.lock().expect("nobody panics").takes_commits = true;
    }

    /// Lets the next request of this method and with this end of its path wait, whose answer is that of the time when it goes on.
    pub(crate) fn hold(&self, method: Method, end: &'static str) -> Held {
        let ((arrives, arrived), (release, released)) = (oneshot::channel(), oneshot::channel());
        self.lies.lock().expect("nobody panics").holds = Some((method, end, (arrives, released)));
        Held { arrived, release }
    }

    /// Says from now on what the hub says.
    pub(crate) fn repent(&self) {
        let mut lies = self.lies.lock().expect("nobody panics");
        (lies.events, lies.conversation, lies.group_info, lies.history) = (None, None, None, None);
        (lies.takes_commits, lies.refuses_commits, lies.commits) = (false, None, None);
    }

    pub(crate) fn seen(&self) -> Vec<Event> {
        self.lies.lock().expect("nobody panics").seen.clone()
    }
}

/// Tells that a request has come, and lets it go on.
type Gate = (oneshot::Sender<()>, oneshot::Receiver<()>);

/// A request that waits.
pub(crate) struct Held {
    arrived: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Waits for it to come.
    pub(crate) async fn arrives(self) -> oneshot::Sender<()> {
        self.arrived.await.expect("the hub is there");
        self.release
    }
}

type Passing = (String, Arc<Mutex<Lies>>, reqwest::Client);

async fn pass_on(State((hub, lies, client)): State<Passing>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let refused = lies.lock().expect("nobody panics").refuses_commits.filter(|_| path.ends_with("/commits"));
    if let Some(code) = refused {
        let problem = Problem::new(code, "The hub says so.");
        let mut response = Response::new(Body::from(serde_json::to_vec(&problem).expect("a problem")));
        *response.status_mut() = http::StatusCode::from_u16(problem.status).expect("a status");
        let media_type = http::HeaderValue::from_static(Problem::MEDIA_TYPE);
        response.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
        return response;
    }
    if path.ends_with("/commits") && lies.lock().expect("nobody panics").takes_commits {
        let taken = CommitAccepted { sequence: 999, epoch: 999, sent_at: 1 };
        return Response::new(Body::from(serde_json::to_vec(&taken).expect("an answer")));
    }
    let is_held = |held: &mut (Method, &str, Gate)| parts.method == held.0 && path.ends_with(held.1);
    let held = lies.lock().expect("nobody panics").holds.take_if(is_held);
    if let Some((_, _, (arrives, released))) = held {
        // Who does not wait for either lets it pass.
        let _ = arrives.send(());
        let _ = released.await;
    }
    let url = format!("{hub}{}", parts.uri.path_and_query().expect("it has one"));
    let mut body = axum::body::to_bytes(body, usize::MAX).await.expect("the client sends all of it");
    if let (true, Some(change)) =
        (path.ends_with("/commits"), &mut lies.lock().expect("nobody panics").commits)
    {
        let mut bundle = body.to_vec();
        change(&mut bundle);
        body = bundle.into();
    }
    let mut headers = parts.headers;
    headers.remove(http::header::HOST);
    let answer = client.request(parts.method, url).headers(headers).body(body).send().await;
    let answer = answer.expect("the hub answers");
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut body = answer.bytes().await.expect("the hub sends all of it");
    if status.is_success() {
        let mut lies = lies.lock().expect("nobody panics");
        if path == "/v1/events" {
            body = lies.about_events(&body);
        } else if let (true, Some(change)) = (path.ends_with("/history"), &mut lies.history)
            && let Ok(mut page) = serde_json::from_slice(&body)
        {
            change(&mut page);
            body = serde_json::to_vec(&page).expect("a page").into();
        } else if path.ends_with("/group-info") {
            body = lies.group_info.clone().unwrap_or(body);
        } else if let Some(describe) = &mut lies.conversation {
            if let Ok(mut conversation) = serde_json::from_slice(&body) {
                describe(&mut conversation);
                body = serde_json::to_vec(&conversation).expect("a conversation").into();
            } else if path == "/v1/conversations"
                && let Ok(mut all) = serde_json::from_slice::<Conversations>(&body)
            {
                all.conversations.iter_mut().for_each(describe);
                body = serde_json::to_vec(&all).expect("conversations").into();
            }
        }
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        if let Some(name) = name.filter(|name| *name != http::header::CONTENT_LENGTH) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

impl Lies {
    fn about_events(&mut self, body: &Bytes) -> Bytes {
        let mut page: EventPage = serde_json::from_slice(body).expect("a page");
        self.seen.extend(page.events.iter().cloned());
        if let Some(change) = &mut self.events {
            change(&mut page.events);
        }
        for event in &mut page.events {
            if event.cursor.is_empty() {
                event.cursor.clone_from(&page.cursor);
            }
        }
        serde_json::to_vec(&page).expect("a page").into()
    }
}

/// Flips the last bit of a readable commit's membership tag, which stands at the commit's end (RFC 9420, section 6.2), in a bundle of a
/// commit and a group info.
pub(crate) fn flip_tag(bundle: &mut [u8]) {
    // A message of version 1, which is a group info (section 6). Without that beginning, what can be read as one is found by chance.
    const BEGINNING: [u8; 4] = [0, 1, 0, 4];
    let is_group_info = |at: &usize| {
        bundle[*at..].starts_with(&BEGINNING) && VerifiableGroupInfo::from_bytes(&bundle[*at..]).is_ok()
    };
    let commit_ends = (1..bundle.len()).find(is_group_info).expect("a group info behind the commit");
    bundle[commit_ends - 1] ^= 1;
}

/// The commit with which a device of this identity, whose program asks nobody, joins the group of a group info.
pub(crate) async fn external_commit(home: &Path, group_info: &[u8], identity: &str) -> Vec<u8> {
    let store = Store::create(home, &KeySource::File).expect("a new home");
    let caught = Arc::<Catch>::default();
    let session = Session::open(store, caught.clone(), SessionConfig::default()).expect("opens");
    let mut tx = session.new_transaction().await.expect("free");
    let credential = Credential::basic(ClientId::from(identity.to_owned()), Ciphersuite::default());
    let credential = tx.add_credential(credential.expect("a credential")).expect("new");
    let group_info = VerifiableGroupInfo::from_bytes(group_info).expect("a group info");
    tx.join_by_external_commit(group_info, &credential).await.expect("joins");
    caught.0.lock().expect("nobody panics").take().expect("it was sent")
}

/// What a device of this identity can do that the hub makes up for a member, and whose program asks nobody: it joins the group of a
/// group info by one commit, and adds a user by the next, whose key package this is.
pub(crate) async fn intruder_who_adds(
    home: &Path,
    (group, group_info): (&ConversationId, &[u8]),
    identity: &str,
    (user, key_package): (UserId, &[u8]),
) -> [Vec<u8>; 2] {
    let caught = Arc::<CatchBundle>::default();
    let session = session(home, caught.clone());
    let commit = || caught.0.lock().expect("nobody panics").take().expect("it was sent").commit;
    let mut tx = session.new_transaction().await.expect("free");
    let credential = Credential::basic(ClientId::from(identity.to_owned()), Ciphersuite::default());
    let credential = tx.add_credential(credential.expect("a credential")).expect("new");
    let group_info = VerifiableGroupInfo::from_bytes(group_info).expect("a group info");
    tx.join_by_external_commit(group_info, &credential).await.expect("joins");
    let joining = commit();
    let mut guard = tx.conversation(group).await.expect("it is in it");
    let policy = decode(guard.group_data().expect("readable").as_deref()).expect("a policy");
    let mut options = CommitOptions::default();
    options.group_data = Some(encode(&policy.with_members([user], &Role::MEMBER)));
    let key_package = KeyPackage::from_bytes(key_package).expect("a key package");
    guard.change_members(vec![key_package], &[], options).await.expect("adds");
    [joining, commit()]
}

/// The proposal with which a device of this identity, whose program asks nobody, wants to be added to the group of a group info.
pub(crate) async fn external_wish(home: &Path, group_info: &[u8], identity: &str) -> Vec<u8> {
    let session = session(home, Arc::<Catch>::default());
    let mut tx = session.new_transaction().await.expect("free");
    let credential = Credential::basic(ClientId::from(identity.to_owned()), Ciphersuite::default());
    let credential = tx.add_credential(credential.expect("a credential")).expect("new");
    let group_info = VerifiableGroupInfo::from_bytes(group_info).expect("a group info");
    let wish = tx.new_external_add_proposal(group_info, &credential).expect("proposes").proposal;
    tx.finish().await.expect("finishes");
    wish
}

/// A group that somebody has made up.
pub(crate) struct MadeUp {
    /// The last commit.
    pub(crate) commit: Vec<u8>,
    /// The Welcome of it, if it added somebody.
    pub(crate) welcome: Option<Vec<u8>>,
    pub(crate) group_info: Vec<u8>,
}

/// A group of this id and with these data, which a device of this identity brings to this epoch, and whose program asks nobody. The
/// last commit adds who has the key package, if there is one.
pub(crate) async fn made_up_group(
    home: &Path,
    group: &ConversationId,
    identity: &str,
    data: Vec<u8>,
    epoch: u64,
    key_package: Option<&[u8]>,
) -> MadeUp {
    let caught = Arc::<CatchBundle>::default();
    let session = session(home, caught.clone());
    let mut tx = session.new_transaction().await.expect("free");
    let credential = Credential::basic(ClientId::from(identity.to_owned()), Ciphersuite::default());
    let credential = tx.add_credential(credential.expect("a credential")).expect("new");
    let configuration =
        MlsConversationConfiguration { group_data: Some(data), ..MlsConversationConfiguration::default() };
    tx.new_conversation(group, &credential, configuration).expect("a group");
    let mut guard = tx.conversation(group).await.expect("there");
    for _ in 1..epoch {
        guard.update_key_material().await.expect("commits");
    }
    match key_package {
        Some(key_package) => {
            let key_package = KeyPackage::from_bytes(key_package).expect("a key package");
            guard.change_members(vec![key_package], &[], CommitOptions::default()).await.expect("adds");
        }
        None => guard.update_key_material().await.expect("commits"),
    }
    assert_eq!(guard.epoch().expect("there"), epoch);
    let bundle = caught.0.lock().expect("nobody panics").take().expect("it was sent");
    MadeUp { commit: bundle.commit, welcome: bundle.welcome, group_info: bundle.group_info.payload }
}

fn session(home: &Path, transport: Arc<impl MlsTransport + 'static>) -> Session {
    let store = Store::create(home, &KeySource::File).expect("a new home");
    Session::open(store, transport, SessionConfig::default()).expect("opens")
}

/// Takes every commit bundle, and keeps it.
#[derive(Default)]
struct CatchBundle(Mutex<Option<MlsCommitBundle>>);

#[async_trait::async_trait]
impl MlsTransport for CatchBundle {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().expect("nobody panics") = Some(bundle);
        CommitOutcome::Accepted
    }
}

/// Takes every commit, and keeps it.
#[derive(Default)]
struct Catch(Mutex<Option<Vec<u8>>>);

#[async_trait::async_trait]
impl MlsTransport for Catch {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().expect("nobody panics") = Some(bundle.commit);
        CommitOutcome::Accepted
    }
}
