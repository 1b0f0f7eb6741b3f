//! Several nodes of one hub: one PostgreSQL database, and NATS between them, all of them real.
#![allow(clippy::unwrap_used)]

mod support;

use async_nats::ServerAddr;
use futures::{StreamExt as _, future::join_all};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use support::{
    database::Stored,
    hub::{Hub, PASSWORD, Person, connect, one_to_one},
    mls::encrypt,
    open::Client,
    race,
    relay::{Envelopes, easy, topic},
    socket::{Socket, closed, next, open},
};
use tertulia_api::{
    Code, Problem,
    account::HubKeys,
    conversation::MessageAccepted,
    event::{EventBody, EventPage},
};
use tertulia_domain::ConversationId;
use tertulia_server::{Server, ServerConfig, ServerError, StorageError};
use tertulia_testkit::{nats, postgres};
use tertulia_transport::{Relay, RelayNews};
use tokio_tungstenite::tungstenite::{Message, protocol::frame::coding::CloseCode};

/// The services that the nodes share. The nodes of a test end before them.
struct Services {
    database: String,
    postgres: Arc<Mutex<postgres::Server>>,
    nats: Arc<Mutex<nats::Server>>,
}

impl Services {
    async fn start() -> Self {
        aside(|| {
            let postgres = postgres::Server::for_tests().unwrap();
            Self::on(postgres)
        })
        .await
    }

    /// With a PostgreSQL server that can be stopped.
    async fn start_own() -> Self {
        aside(|| Self::on(postgres::Server::start().unwrap())).await
    }

    fn on(postgres: postgres::Server) -> Self {
        let database = postgres.create_database().unwrap().url().to_owned();
        let nats = nats::Server::start().unwrap();
        Self { database, postgres: Arc::new(Mutex::new(postgres)), nats: Arc::new(Mutex::new(nats)) }
    }

    fn nats_url(&self) -> String {
        self.nats.lock().unwrap().url()
    }

    /// A node with numbers.
    async fn node(&self) -> Hub {
        self.node_with(|_| ()).await
    }

    async fn node_with(&self, change: impl FnOnce(&mut ServerConfig)) -> Hub {
        let (database, nats) = (self.database.parse().unwrap(), self.nats_url().parse().unwrap());
        Hub::start_with(tempfile::tempdir().unwrap(), |config| {
            config.database = Some(database);
            config.nats = Some(nats);
            config.metrics = Some(([127, 0, 0, 1], 0).into());
            change(config);
        })
        .await
    }

    /// Three nodes that hear one another.
    async fn three(&self, change: impl Fn(&mut ServerConfig)) -> [Hub; 3] {
        let nodes =
            [self.node_with(&change).await, self.node_with(&change).await, self.node_with(&change).await];
        for node in &nodes {
            connected(node).await;
        }
        nodes
    }
}

/// On a thread of its own: the client of PostgreSQL has a runtime of its own.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// A number that a node tells of itself; none if it does not.
async fn number(node: &Hub, name: &str) -> Option<f64> {
    let numbers = node.numbers().await;
    let line = numbers.lines().find(|line| line.split(' ').next() == Some(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until the node has a connection with NATS.
async fn connected(node: &Hub) {
    while number(node, "tertulia_nats_connected").await != Some(1.0) {
        tokio::time::sleep(Duration::from_millis(20)).await; // nothing tells
    }
}

/// The same person at another node.
fn at(node: &Hub, person: Person) -> Person {
    Person { base: node.base.clone(), ..person }
}

/// A socket on which everything was read that there is.
async fn socket(person: &Person) -> Socket {
    let count = person.events().await.len();
    let mut socket = open(person, "").await;
    for _ in 0..count {
        next(&mut socket).await;
    }
    socket
}

/// The sequence number of the next message in a conversation.
async fn next_message(socket: &mut Socket, conversation: ConversationId) -> u64 {
    loop {
        let frame = frame(socket).await;
        if frame["type"] == "conversation.message" && frame["conversation"] == json!(conversation) {
            return frame["sequence"].as_u64().unwrap();
        }
    }
}

/// The next frame, be it an event or not.
async fn frame(socket: &mut Socket) -> Value {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => return serde_json::from_str(&text).unwrap(),
            Message::Ping(_) => {}
            other => panic!("not a frame: {other:?}"),
        }
    }
}

#[tokio::test]
async fn what_one_node_accepts_another_pushes_and_what_goes_between_them_are_ids() {
    let services = Services::start().await;
    let [first, second, third] = services.three(|_| ()).await;
    let server: ServerAddr = services.nats_url().parse().unwrap();
    let listener = async_nats::connect(server).await.unwrap();
    let mut heard = listener.subscribe("tertulia.>").await.unwrap();
    listener.flush().await.unwrap();

    let (alice, bob) = (Person::sign_up(&first, "alice").await, Person::sign_up(&second, "bob").await);
    let (direct, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let bob = at(&third, bob);
    let mut bobs = socket(&bob).await;
    for text in ["one", "two", "three"] {
        let message = encrypt(&mut at_alice, text);
        let accepted: MessageAccepted = alice.send(direct, message).await.done();
        assert_eq!(next_message(&mut bobs, direct).await, accepted.sequence);
    }

    // Who stands in between sees where something was said, and by no means what or by whom.
    let mut with_conversation = 0;
    while with_conversation < 3 {
        let message = heard.next().await.unwrap();
        let payload = message.payload.as_ref();
        let has = |what: &[u8]| payload.windows(what.len()).any(|found| found == what);
        assert!(!has(b"alice") && !has(b"localhost") && payload.len() < 256, "{payload:?}");
        let is_message = payload.len() == 18 + 17 && has(direct.as_bytes());
        with_conversation += usize::from(is_message);
    }
}

#[tokio::test]
async fn who_is_typing_at_one_node_is_seen_at_another() {
    let services = Services::start().await;
    let [first, second, third] = services.three(|_| ()).await;
    let (alice, bob) = (Person::sign_up(&first, "alice").await, Person::sign_up(&second, "bob").await);
    let carol = Person::sign_up(&third, "carol").await;
    let eve = Person::sign_up(&second, "eve").await;
    for other in [&bob, &carol] {
        connect(&alice, other).await;
    }
    for device in [&alice, &bob, &carol] {
        device.publish_pairwise(&[1, 2, 3]).await;
    }
    let group = alice.pairwise_group(&[&bob, &carol]).await;
    let (mut bobs, mut carols, mut eves) = (socket(&bob).await, socket(&carol).await, socket(&eve).await);
    let path = format!("/v1/conversations/{group}/typing");
    for status in ["started", "stopped"] {
        alice.post(&path, &json!({ "status": status })).await.empty();
        for socket in [&mut bobs, &mut carols] {
            let heard = frame(socket).await;
            let expected = json!({ "type": "conversation.typing", "conversation": group, "user": alice.user, "status": status });
            assert_eq!(heard, expected);
        }
    }
    // Who is not in it hears the next thing that concerns them.
    alice.connect(&eve).await;
    assert_ne!(frame(&mut eves).await["type"], "conversation.typing");
}

#[tokio::test]
async fn a_session_that_ends_at_one_node_closes_its_socket_at_another() {
    let services = Services::start().await;
    let [first, second, _third] = services.three(|_| ()).await;
    let alice = at(&first, Person::sign_up(&second, "alice").await);
    let mut socket = socket(&alice).await;
    let elsewhere = Client::new(&second).with_token(&alice.token);
    elsewhere.send(Method::DELETE, "/v1/sessions/current").await.empty();
    assert_eq!(closed(&mut socket).await, CloseCode::Policy);
    alice.get("/v1/self").await.refused(Code::Unauthenticated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_50_concurrent_commits_at_three_nodes_exactly_one_wins() {
    let services = Services::start().await;
    let nodes = services.three(race::without_limit).await;
    race::commits(&nodes.each_ref(), race::rounds(50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_10_000_key_packages_claimed_at_three_nodes_none_is_handed_out_twice() {
    let services = Services::start().await;
    let nodes = services.three(race::many_claims).await;
    race::claims(&nodes.each_ref()).await;
}

/// Sends until it is told to stop, each message until it is accepted, and gives the sequence numbers.
async fn traffic(
    alice: Person,
    group: ConversationId,
    messages: Vec<Vec<u8>>,
    stop: Arc<AtomicBool>,
) -> Vec<u64> {
    let mut accepted = Vec::new();
    for message in messages {
        loop {
            let answer = alice.send(group, message.clone()).await;
            if answer.status.is_success() {
                accepted.push(answer.done::<MessageAccepted>().sequence);
                break;
            }
            passes(&answer.body, answer.status);
            tokio::time::sleep(Duration::from_millis(50)).await; // as a client does
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    accepted
}

/// Checks that a refusal is one that a client tries again after.
fn passes(body: &[u8], status: StatusCode) {
    let problem: Problem = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (problem.code.as_str(), status),
        ("unavailable", StatusCode::SERVICE_UNAVAILABLE),
        "{problem:?}"
    );
    assert!(problem.retryable, "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nats_is_killed_and_comes_back_every_message_arrives() {
    let services = Services::start().await;
    let [first, second, _third] = services.three(race::without_limit).await;
    let (alice, bob) = (Person::sign_up(&first, "alice").await, Person::sign_up(&second, "bob").await);
    let (direct, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let mut bobs = socket(&bob).await;
    let messages = (0..20_000).map(|n| encrypt(&mut at_alice, &n.to_string())).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let token = alice.token.clone();
    let sending = tokio::spawn(traffic(alice, direct, messages, Arc::clone(&stop)));
    let mut received = BTreeSet::new();
    for _ in 0..3 {
        let nats = Arc::clone(&services.nats);
        aside(move || nats.lock().unwrap().kill()).await;
        // Without NATS too what is sent arrives.
        for _ in 0..20 {
            assert!(received.insert(next_message(&mut bobs, direct).await));
        }
        let nats = Arc::clone(&services.nats);
        aside(move || nats.lock().unwrap().start_again().unwrap()).await;
        for node in [&first, &second] {
            connected(node).await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let accepted = sending.await.unwrap();
    while received.last() != accepted.last() {
        assert!(received.insert(next_message(&mut bobs, direct).await));
    }
    assert_eq!(received, accepted.into_iter().collect());
    assert!(number(&second, "tertulia_wake_ups_found_total").await.unwrap_or_default() > 0.0);

    // Only NATS carries this. It is heard again, be it not at the first time.
    let alice = Client::new(&first).with_token(&token);
    let typing = async {
        loop {
            let status = json!({ "status": "started" });
            alice.post(&format!("/v1/conversations/{direct}/typing"), &status).await.empty();
            tokio::time::sleep(Duration::from_millis(1100)).await; // its rate
        }
    };
    let heard = async { while frame(&mut bobs).await["type"] != "conversation.typing" {} };
    tokio::select! {
        () = typing => {}
        () = heard => {}
    }
}

#[tokio::test]
async fn without_nats_everything_arrives_and_everybody_who_is_concerned_is_woken() {
    let services = Services::start().await;
    let [first, second] = [
        services.node_with(|config| config.nats = None).await,
        services.node_with(|config| config.nats = None).await,
    ];
    let (alice, bob) = (Person::sign_up(&first, "alice").await, Person::sign_up(&second, "bob").await);
    let mut bobs = socket(&bob).await;
    // An event of Bob's own, a conversation that he comes into, and what is said in it.
    alice.connect(&bob).await;
    while !matches!(next(&mut bobs).await.body, EventBody::ConnectionUpdated { .. }) {}
    bob.set_connection(&alice, "accepted").await.done::<Value>();
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[bob.user]).await;
    while !matches!(next(&mut bobs).await.body, EventBody::Commit { entry, welcome: Some(_), .. } if entry.conversation == group)
    {
    }
    let accepted: MessageAccepted = alice.send(group, encrypt(&mut at_alice, "found")).await.done();
    assert_eq!(next_message(&mut bobs, group).await, accepted.sequence);
    // Who waits with a request is woken as well.
    let cursor = bob.events().await.pop().unwrap().cursor;
    let waiting = async { bob.get(&format!("/v1/events?wait=60&since={cursor}")).await.done::<EventPage>() };
    let sending = async {
        let message = encrypt(&mut at_alice, "found again");
        alice.send(group, message).await.done::<MessageAccepted>()
    };
    let (page, _) = tokio::join!(waiting, sending);
    assert_eq!(page.events.len(), 1);
    assert_eq!(number(&first, "tertulia_nats_connected").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_crashes_and_comes_back_requests_fail_for_the_time_and_nothing_is_lost() {
    let services = Services::start_own().await;
    let [first, second, _third] = services.three(race::without_limit).await;
    let (alice, bob) = (Person::sign_up(&first, "alice").await, Person::sign_up(&second, "bob").await);
    let (direct, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let messages = (0..20_000).map(|n| encrypt(&mut at_alice, &n.to_string())).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let sending = tokio::spawn(traffic(alice, direct, messages, Arc::clone(&stop)));
    for crashes in [true, false] {
        // As many readers as there are, so that each has a connection that ends.
        read_at_once(&bob).await;
        let postgres = Arc::clone(&services.postgres);
        aside(move || {
            let mut postgres = postgres.lock().unwrap();
            if crashes { postgres.crash_and_restart() } else { postgres.restart() }.unwrap();
        })
        .await;
        // With the server the reads are there, also the first.
        read_at_once(&bob).await;
    }
    stop.store(true, Ordering::Relaxed);
    let accepted = sending.await.unwrap();
    let received: Vec<u64> = bob
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event.body {
            EventBody::Message { entry, .. } => Some(entry.sequence),
            _ => None,
        })
        .collect();
    assert_eq!(received, accepted, "each message is there once, and in order");
}

/// More reads than a node has connections to read, none of which may fail.
async fn read_at_once(person: &Person) {
    for answer in join_all((0..16).map(|_| person.get("/v1/self"))).await {
        answer.done::<Value>();
    }
}

#[tokio::test]
async fn nodes_that_start_at_once_on_an_empty_database_all_come_up_as_one_hub() {
    let services = Services::start().await;
    let nodes: Vec<Hub> = join_all((0..4).map(|_| services.node())).await;
    let alice = Person::sign_up(&nodes[0], "alice").await;
    for node in &nodes {
        let keys: HubKeys = Client::new(node).with_token(&alice.token).get("/v1/mls/keys").await.done();
        assert_eq!(keys.external_sender.0, alice.hub_key, "all sign with one key");
    }
}

#[tokio::test]
async fn nodes_that_start_at_once_after_a_restore_begin_each_group_anew_once() {
    let services = Services::start().await;
    let node = services.node().await;
    let alice = Person::sign_up(&node, "alice").await;
    for _ in 0..8 {
        let (group, mut at_alice) = alice.new_group().await;
        alice.add(group, &mut at_alice, &[]).await;
    }
    node.stop().await;
    let (url, database) = (services.database.parse().unwrap(), services.database.clone());
    let mut client = aside(move || {
        tertulia_server::after_database_restore(&url).unwrap();
        let mut client = ::postgres::Client::connect(&database, ::postgres::NoTls).unwrap();
        client.batch_execute("BEGIN; LOCK TABLE groups_to_renew").unwrap();
        client
    })
    .await;
    // Both ask for the list before either has begun one anew.
    let nodes = join_all((0..2).map(|_| services.node())).await;
    aside(move || {
        let waiting =
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'groups_to_renew'::regclass";
        while client.query_one(waiting, &[]).unwrap().get::<_, i64>(0) < 2 {
            std::thread::sleep(Duration::from_millis(5)); // nothing tells
        }
        client.batch_execute("COMMIT").unwrap();
    })
    .await;
    for node in &nodes {
        assert_eq!(Client::new(node).get("/healthz").await.bytes(), b"ok\n");
    }
    let database = Stored::Postgres(services.database.clone());
    let [begun, groups] = aside(move || {
        ["count(*)", "count(DISTINCT conversation)"]
            .map(|count| database.number(&format!("SELECT {count} FROM log WHERE kind = 'reset'")))
    })
    .await;
    assert!(groups >= 8, "{groups}");
    assert_eq!(begun, groups);
}

#[tokio::test]
async fn a_transaction_that_waited_in_vain_on_a_new_connection_leaves_nothing_for_the_next() {
    let services = Services::start().await;
    let node = services.node().await;
    let client = Client::new(&node);
    let database = Stored::Postgres(services.database.clone());
    // The writer's connection ends, and on its next one it does not get the lock.
    let other = aside(move || {
        let other = database.hold();
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND application_name = 'tertulia'";
        assert!(database.number(ended) > 0);
        other
    })
    .await;
    let bob = json!({ "handle": "bob", "password": PASSWORD });
    client.post("/v1/accounts", &bob).await.refused(Code::Unavailable);
    aside(move || drop(other)).await;
    assert!(client.post("/v1/accounts", &bob).await.status.is_success());
}

/// Has the server take writes, or none, as a standby does, over all connections to it.
fn set_writable(database: &str, is_writable: bool) {
    let connect = || ::postgres::Client::connect(database, ::postgres::NoTls).unwrap();
    let mut client = connect();
    let (change, expected) = if is_writable { ("RESET", "off") } else { ("SET", "on") };
    let value = if is_writable { "" } else { " = on" };
    client.batch_execute(&format!("ALTER SYSTEM {change} default_transaction_read_only{value}")).unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    // Who connects from now on finds it so, and by then whoever is connected was told.
    let found = || connect().query_one("SHOW transaction_read_only", &[]).unwrap().get::<_, String>(0);
    while found() != expected {
        std::thread::sleep(Duration::from_millis(5)); // nothing tells
    }
}

#[tokio::test]
async fn a_node_that_comes_to_a_standby_says_so_and_goes_on_by_itself() {
    let services = Services::start_own().await;
    let node = services.node().await;
    let alice = Person::sign_up(&node, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[]).await;
    let mut message = || encrypt(&mut at_alice, "does anybody take this?");
    let (here, there) = (message(), message());
    let set = async |is_writable: bool| {
        let database = services.database.clone();
        aside(move || set_writable(&database, is_writable)).await;
    };

    // Over a connection that is there, which the server keeps.
    set(false).await;
    for _ in 0..3 {
        alice.send(group, here.clone()).await.refused(Code::Unavailable);
    }
    set(true).await;
    alice.sent(group, here).await;

    // Over new ones: neither who writes nor who reads takes a standby for the server.
    set(false).await;
    let database = Stored::Postgres(services.database.clone());
    aside(move || {
        let own =
            "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tertulia'";
        assert!(database.number(&format!("SELECT count(pg_terminate_backend(pid)) {own}")) > 0);
        while database.number(&format!("SELECT count(*) {own}")) > 0 {
            std::thread::sleep(Duration::from_millis(5)); // nothing tells
        }
    })
    .await;
    for _ in 0..3 {
        alice.get("/v1/self").await.refused(Code::Unavailable);
        alice.send(group, there.clone()).await.refused(Code::Unavailable);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), elsewhere.path());
    config.database = Some(services.database.parse().unwrap());
    let refused = Server::bind(config).await.unwrap_err();
    assert!(matches!(refused, ServerError::Storage(StorageError::ReadOnly)), "{refused}");
    assert!(refused.to_string().contains("standby"), "{refused}");
    set(true).await;
    alice.get("/v1/self").await.done::<Value>();
    alice.sent(group, there).await;
    node.stop().await;
}

#[tokio::test]
async fn numbers_are_told_while_the_database_is_away() {
    let services = Services::start_own().await;
    let node = services.node().await;
    assert!(number(&node, "tertulia_database_bytes").await.is_some());
    let postgres = Arc::clone(&services.postgres);
    aside(move || postgres.lock().unwrap().stop(postgres::Shutdown::Fast).unwrap()).await;
    assert_eq!(number(&node, "tertulia_database_bytes").await, None);
    assert!(number(&node, "tertulia_writer_queue").await.is_some());
    let postgres = Arc::clone(&services.postgres);
    aside(move || postgres.lock().unwrap().start_again().unwrap()).await;
    assert!(number(&node, "tertulia_database_bytes").await.is_some());
}

#[tokio::test]
async fn a_guest_whose_time_is_over_is_seen_out_once_whoever_notices() {
    let services = Services::start().await;
    let nodes = services.three(|_| ()).await;
    let alice = Person::sign_up(&nodes[0], "alice").await;
    let guest = Person::sign_up(&nodes[1], "guest").await;
    connect(&alice, &guest).await;
    let database = services.database.clone();
    let user = guest.user;
    aside(move || {
        let mut client = ::postgres::Client::connect(&database, ::postgres::NoTls).unwrap();
        let sql = "UPDATE users SET kind = 'guest', password = '', expires_at = 1 WHERE id = $1";
        client.execute(sql, &[&user.as_bytes().as_slice()]).unwrap();
    })
    .await;
    // All of them look at their start, at the same time.
    let started: Vec<Hub> = join_all((0..3).map(|_| services.node())).await;
    let mut alices = open(&alice, "").await;
    let mut told = 0;
    while told == 0 {
        told += usize::from(matches!(next(&mut alices).await.body, EventBody::UserDeleted { .. }));
    }
    for node in started {
        node.stop().await;
    }
    let told = alice.events().await;
    let deleted = told.iter().filter(|event| matches!(event.body, EventBody::UserDeleted { .. }));
    assert_eq!(deleted.count(), 1);
}

#[tokio::test]
async fn nats_is_refused_to_a_hub_that_keeps_its_data_in_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
    config.nats = Some("nats://127.0.0.1:4222".parse().unwrap());
    let refused = Server::bind(config).await.unwrap_err();
    assert!(matches!(refused, ServerError::NatsWithoutDatabase), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}

#[tokio::test]
async fn a_node_starts_without_nats_and_with_wrong_credentials_and_serves() {
    let services = Services::start().await;
    let guarded =
        aside(|| nats::Server::start_with(&["--user", "hub", "--pass", "open sesame"]).unwrap()).await;
    let with = |credentials: &str| format!("nats://{credentials}@{}", guarded.address()).parse().unwrap();
    let right: tertulia_server::NatsUrl = with("hub:open%20sesame");
    let wrong = with("hub:sesame");
    let nowhere = "nats://127.0.0.1:1".parse().unwrap();
    let admitted = services.node_with(|config| config.nats = Some(right)).await;
    connected(&admitted).await;
    let refused = services.node_with(|config| config.nats = Some(wrong)).await;
    let alone = services.node_with(|config| config.nats = Some(nowhere)).await;
    let (alice, bob) = (Person::sign_up(&refused, "alice").await, Person::sign_up(&alone, "bob").await);
    let (direct, mut at_alice, _) = one_to_one(&alice, &bob).await;
    let mut bobs = socket(&bob).await;
    let accepted: MessageAccepted = alice.send(direct, encrypt(&mut at_alice, "hello")).await.done();
    assert_eq!(next_message(&mut bobs, direct).await, accepted.sequence);
    for node in [&refused, &alone] {
        assert_eq!(number(node, "tertulia_nats_connected").await, Some(0.0));
    }
}

/// What one node's relay has taken another gives, by NATS or without it, and all count together.
#[tokio::test]
async fn the_relays_of_all_nodes_are_one() {
    let services = Services::start().await;
    let terms = |config: &mut ServerConfig| config.relay = Some(easy());
    let [first, second, third] = services.three(terms).await;
    // It hears of nothing, and finds it in the database.
    let alone = services
        .node_with(|config| {
            terms(config);
            config.nats = None;
        })
        .await;
    let nodes = [first, second, third, alone];
    let relays = nodes.each_ref().map(|node| Relay::new(&node.base).unwrap());
    let logs = join_all(relays.iter().map(|relay| async move { relay.terms().await.unwrap().log })).await;
    assert!(logs.iter().all(|log| *log == logs[0]), "all have one log");

    let mut sockets = Vec::new();
    for relay in &relays {
        let mut socket = relay.subscribe(&[(topic(7), None)]).await.unwrap();
        assert!(matches!(socket.next().await.unwrap(), Some(RelayNews::CaughtUp { .. })));
        sockets.push(socket);
    }
    // All nodes take at once; the same bytes at two of them are one envelope.
    let mut envelopes = Envelopes::new();
    let posted: Vec<_> = (0..40).map(|_| envelopes.next()).collect();
    let positions = join_all((0..80).map(|number: usize| {
        let (relay, envelope) = (&relays[(number + number / 40) % 4], &posted[number % 40]);
        async move { (number % 40, relay.post(&topic(7), envelope).await.unwrap()) }
    }))
    .await;
    let distinct: BTreeSet<_> = positions.into_iter().collect();
    assert_eq!(distinct.len(), 40);
    for socket in &mut sockets {
        for expected in 1..=40 {
            let Some(RelayNews::Envelope { position, bytes, .. }) = socket.next().await.unwrap() else {
                panic!("an envelope")
            };
            let number = posted.iter().position(|envelope| *envelope == bytes).unwrap();
            assert!(position.0 == expected && distinct.contains(&(number, position)));
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test]
async fn what_a_database_server_says_of_its_full_disk_is_said_like_that_of_ones_own() {
    let services = Services::start().await;
    let node = services.node().await;
    let alice = Person::sign_up(&node, "alice").await;
    let (group, mut at_alice) = alice.new_group().await;
    alice.add(group, &mut at_alice, &[]).await;
    // What the server says when a table has no room to grow.
    let database = Stored::Postgres(services.database.clone());
    let full = "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full';
        END $$;
        CREATE TRIGGER no_room BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION no_room()";
    aside(move || database.batch(full)).await;
    let rows = node_rows(&services).await;
    let message = encrypt(&mut at_alice, "is there room?");
    alice.send(group, message.clone()).await.refused(Code::StorageFull);
    assert_eq!(Client::new(&node).get("/healthz").await.bytes(), b"storage-full\n");
    assert_eq!(node_rows(&services).await, rows, "something was stored");
    alice.conversation(group).await;

    let database = Stored::Postgres(services.database.clone());
    aside(move || database.batch("DROP TRIGGER no_room ON log")).await;
    alice.sent(group, message).await;
    assert_eq!(Client::new(&node).get("/healthz").await.bytes(), b"ok\n");
    node.stop().await;
}

async fn node_rows(services: &Services) -> i64 {
    let database = Stored::Postgres(services.database.clone());
    aside(move || database.number("SELECT count(*) FROM log")).await
}

#[tokio::test]
async fn a_largest_size_is_refused_to_a_hub_that_keeps_its_data_in_postgresql() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
    config.database = Some("postgres://hub@127.0.0.1:9/hub".parse().unwrap());
    config.limits.database_bytes = Some(1 << 30);
    let refused = Server::bind(config).await.unwrap_err();
    assert!(matches!(refused, ServerError::SizeOfDatabase), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
}
