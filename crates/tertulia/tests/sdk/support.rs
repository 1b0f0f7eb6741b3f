//! A real hub on a free port, and homes in temporary directories.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;
use tertulia::{Client, Conversation, ConversationId, Handle, MessageQuery, UserId};
use tertulia_server::{Server, ServerConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A hub that runs in this process, over real sockets and on a real disk.
pub(crate) struct Hub {
    pub(crate) url: String,
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut hub = Self { url: String::new(), dir, stop: None, running: None };
        hub.run("127.0.0.1:0").await;
        hub
    }

    async fn run(&mut self, listen: &str) {
        let config = ServerConfig::new(listen.parse().expect("an address"), self.dir.path().join("hub"));
        let server = Server::bind(config).await.expect("the hub starts");
        self.url = format!("http://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel::<()>();
        self.stop = Some(stop);
        self.running = Some(tokio::spawn(async move {
            server.run(async { drop(stopped.await) }).await.expect("the hub ends well");
        }));
    }

    pub(crate) async fn stop(&mut self) {
        drop(self.stop.take());
        self.running.take().expect("it runs").await.expect("the hub ends well");
    }

    /// Starts again on the same address with the same data.
    pub(crate) async fn restart(&mut self) {
        let address = self.url.trim_start_matches("http://").to_owned();
        self.run(&address).await;
    }

    /// Something of what the hub has stored, as one number; or changed behind its back, where the statement does that.
    pub(crate) fn database(&self, sql: &str) -> i64 {
        let database = rusqlite::Connection::open(self.dir.path().join("hub/hub.db")).expect("a database");
        let mut statement = database.prepare(sql).expect("SQL");
        if statement.column_count() == 0 {
            return statement.execute(()).expect("changes").try_into().expect("few");
        }
        statement.query_row((), |row| row.get(0)).expect("a number")
    }

    /// The group info of a conversation, as the hub holds it.
    pub(crate) fn group_info(&self, conversation: ConversationId) -> Vec<u8> {
        let database =
            rusqlite::Connection::open(self.dir.path().join("hub/hub.db")).expect("the hub's database");
        let sql = "SELECT group_info FROM groups WHERE conversation = ?1";
        database.query_row(sql, [conversation.as_bytes()], |row| row.get(0)).expect("it has a group")
    }

    /// A key package of a user's that the hub could hand out.
    pub(crate) fn key_package(&self, user: UserId) -> Vec<u8> {
        let database =
            rusqlite::Connection::open(self.dir.path().join("hub/hub.db")).expect("the hub's database");
        let sql = "SELECT key_package FROM key_packages WHERE user_id = ?1";
        database.query_row(sql, [user.as_bytes()], |row| row.get(0)).expect("it has some")
    }

    pub(crate) fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Changes what a home holds, past the client and its engine: what only a fault brings about otherwise.
    pub(crate) fn tamper(&self, home: &str, sql: &str) {
        let home = self.home(home);
        let key = std::fs::read_to_string(home.join("key")).expect("the home's key");
        let database = rusqlite::Connection::open(home.join("tertulia.db")).expect("opens");
        database.execute_batch(&format!("PRAGMA key = \"x'{}'\"; {sql};", key.trim())).expect("changes it");
    }

    /// Something of what a home has stored, as one number.
    pub(crate) fn number(&self, home: &str, sql: &str) -> i64 {
        let home = self.home(home);
        let key = std::fs::read_to_string(home.join("key")).expect("the home's key");
        let database = rusqlite::Connection::open(home.join("tertulia.db")).expect("opens");
        database.execute_batch(&format!("PRAGMA key = \"x'{}'\";", key.trim())).expect("opens");
        database.query_row(sql, (), |row| row.get(0)).expect("a number")
    }

    pub(crate) async fn sign_up(&self, handle: &str) -> Client {
        Client::builder(self.home(handle)).sign_up(&self.url, handle, PASSWORD).await.expect("signs up")
    }

    pub(crate) async fn log_in(&self, handle: &str, home: &str) -> Client {
        Client::builder(self.home(home)).log_in(&self.url, handle, PASSWORD).await.expect("logs in")
    }
}

pub(crate) fn handle(name: &str) -> Handle {
    name.parse().expect("a handle")
}

/// Connects two users, and gives the id of their 1:1.
pub(crate) async fn connect(a: &Client, b: &Client) -> ConversationId {
    a.connect(&b.me().handle).await.expect("asks");
    b.sync().await.expect("sees the request");
    let connection = b.accept(&a.me().handle).await.expect("accepts");
    a.sync().await.expect("sees the answer");
    connection.conversation
}

/// A hub with alice, who is connected with bob and with carol.
pub(crate) async fn three_friends() -> (Hub, [Client; 3]) {
    let hub = Hub::start().await;
    let (alice, bob, carol) =
        (hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("carol").await);
    connect(&alice, &bob).await;
    connect(&alice, &carol).await;
    (hub, [alice, bob, carol])
}

/// A group of `admin` with `members`, all of whom have seen it.
pub(crate) async fn group(admin: &Client, name: &str, members: &[&Client]) -> Conversation {
    let handles: Vec<Handle> = members.iter().map(|member| member.me().handle.clone()).collect();
    let group = admin.create_group(name, &handles).await.expect("a group");
    for member in members {
        member.sync().await.expect("joins");
    }
    group
}

/// The texts of a conversation as this home has them.
pub(crate) async fn texts(client: &Client, conversation: ConversationId) -> Vec<String> {
    let messages = client.messages(conversation, MessageQuery::default()).await.expect("readable");
    messages.into_iter().map(|message| message.text).collect()
}

/// The same after bringing the home up to date.
pub(crate) async fn read(client: &Client, conversation: ConversationId) -> Vec<String> {
    client.sync().await.expect("syncs");
    texts(client, conversation).await
}

/// A network that can lose the answers to requests: the hub gets the request and carries it out, and nobody hears of it. Or the
/// requests themselves. And it can hold either on the way.
pub(crate) struct LossyNetwork {
    pub(crate) url: String,
    losses: Arc<Losses>,
}

#[derive(Default)]
struct Losses {
    answers: AtomicUsize,
    requests: AtomicBool,
    /// Exchanges that come through before any loss.
    spared: AtomicUsize,
    held: Mutex<Option<Holding>>,
}

/// Half of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Request,
    Answer,
}

/// What is to be held on the way, as the network has it.
struct Holding {
    half: Half,
    /// Told when it is.
    is_here: oneshot::Sender<()>,
    /// Resolves when it may go on.
    goes_on: oneshot::Receiver<()>,
}

/// The same as a test has it.
pub(crate) struct Held {
    /// Resolves when it is held.
    pub(crate) is_here: oneshot::Receiver<()>,
    /// Lets it go on, when it is told so or dropped.
    pub(crate) goes_on: oneshot::Sender<()>,
}

impl Losses {
    /// Holds this half if it is to be held.
    async fn pass(&self, half: Half) {
        let held = self.held.lock().expect("nobody panics with it").take_if(|held| held.half == half);
        if let Some(Holding { is_here, goes_on, .. }) = held {
            // Nobody may wait for either any more.
            let _ = is_here.send(());
            drop(goes_on.await);
        }
    }
}

impl LossyNetwork {
    /// In front of the hub. Answers to requests whose path contains `path` are lost when it is told so.
    pub(crate) async fn before(hub: &Hub, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let losses = Arc::new(Losses::default());
        let hub = hub.url.trim_start_matches("http://").to_owned();
        let losing = Arc::clone(&losses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, hub.clone(), path, Arc::clone(&losing)));
            }
        });
        Self { url, losses }
    }

    /// Loses the next so many answers.
    pub(crate) fn lose(&self, answers: usize) {
        self.losses.answers.store(answers, Ordering::SeqCst);
    }

    /// Loses every request, or none.
    pub(crate) fn lose_requests(&self, lose: bool) {
        self.losses.requests.store(lose, Ordering::SeqCst);
    }

    /// Lets the next so many requests and their answers through before it loses any.
    pub(crate) fn spare(&self, exchanges: usize) {
        self.losses.spared.store(exchanges, Ordering::SeqCst);
    }

    /// Holds the next request, or the next answer, until it is let go.
    pub(crate) fn hold(&self, half: Half) -> Held {
        let ((here, is_here), (goes_on, going)) = (oneshot::channel(), oneshot::channel());
        let holding = Holding { half, is_here: here, goes_on: going };
        *self.losses.held.lock().expect("nobody panics with it") = Some(holding);
        Held { is_here, goes_on }
    }

    /// Whether all that were to be lost are lost.
    pub(crate) fn has_lost_all(&self) -> bool {
        self.losses.answers.load(Ordering::SeqCst) == 0
    }
}

async fn relay(mut client: TcpStream, hub: String, path: &str, losses: Arc<Losses>) {
    let Ok(mut hub) = TcpStream::connect(hub).await else { return };
    let (mut from_client, mut from_hub) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut matched = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(length @ 1..) = read else { return };
                let head = String::from_utf8_lossy(&from_client[..length]);
                // A request's head begins a read; what follows in it is no UTF-8 text of that form.
                if let Some(line) = head.lines().next().filter(|line| line.ends_with("HTTP/1.1")) {
                    let spare = |left: usize| left.checked_sub(1);
                    matched = line.contains(path)
                        && losses.spared.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spare).is_err();
                }
                if matched { losses.pass(Half::Request).await }
                if matched && losses.requests.load(Ordering::SeqCst) { return }
                if hub.write_all(&from_client[..length]).await.is_err() { return }
            }
            read = hub.read(&mut from_hub) => {
                let Ok(length @ 1..) = read else { return };
                if matched { losses.pass(Half::Answer).await }
                let lose = |left: usize| left.checked_sub(1);
                if matched && losses.answers.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() { return }
                if client.write_all(&from_hub[..length]).await.is_err() { return }
            }
        }
    }
}
