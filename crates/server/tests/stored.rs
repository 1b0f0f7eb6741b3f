//! What is stored stays readable: the schema is one that is seen in review, and a database of version 1 is kept.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::Method;
use rusqlite::Connection;
use serde_json::json;
use support::{
    database::{Stored, on_postgres},
    hub::{Hub, PASSWORD, types},
    open::Client,
};
use tertulia_api::{
    Code,
    account::{HubKeys, KeyPackageCount, Session},
    connection::Connections,
    conversation::{Conversation, Conversations},
    event::EventPage,
    history::HistoryPage,
    setting::Settings,
    team::Team,
};
use tertulia_domain::{ConversationId, Protocol, access::Access, connection::Status};
use tertulia_server::{RelayConfig, RelayServer, Server, ServerConfig};

/// The schema as SQLite has it, with white space folded.
fn schema(database: &Connection) -> Vec<String> {
    let mut statement = database
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type DESC, name")
        .unwrap();
    let rows = statement.query_map((), |row| row.get::<_, String>(0)).unwrap();
    let without_comments = |sql: String| {
        let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
    };
    rows.map(|sql| without_comments(sql.unwrap())).collect()
}

/// A directory with the database of a hub that keeps it in a file, whatever the other tests have.
async fn file() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
    drop(Server::bind(config).await.unwrap());
    dir
}

#[tokio::test]
async fn the_schema_is_the_one_that_was_reviewed() {
    let dir = file().await;
    let database = Connection::open(dir.path().join("hub.db")).unwrap();
    insta::assert_json_snapshot!("schema", schema(&database));
}

/// That of a relay alone: what the writer counts with, and of a hub's the relay's own.
#[tokio::test]
async fn the_schema_of_a_relay_is_the_one_that_was_reviewed() {
    let dir = tempfile::tempdir().unwrap();
    let config = RelayConfig::new(([127, 0, 0, 1], 0).into(), dir.path());
    drop(RelayServer::bind(config).await.unwrap());
    let alone = schema(&Connection::open(dir.path().join("relay.db")).unwrap());
    insta::assert_json_snapshot!("schema_of_a_relay", alone);
    let hub = file().await;
    let hub = schema(&Connection::open(hub.path().join("hub.db")).unwrap());
    let of_relay = |sql: &&String| sql.contains("relay_");
    assert_eq!(
        alone.iter().filter(of_relay).collect::<Vec<_>>(),
        hub.iter().filter(of_relay).collect::<Vec<_>>()
    );
}

/// What PostgreSQL has beside what SQLite has.
const OF_POSTGRES: [&str; 2] = ["hub.key", "schema_version.version"];

#[tokio::test]
async fn both_engines_have_the_same_tables_columns_and_indexes() {
    if !on_postgres() {
        return; // there is no server to compare with
    }
    let hub = Hub::start().await;
    let mut there = hub.stored().texts(
        "SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema = 'public'",
    );
    there.retain(|column| !OF_POSTGRES.contains(&column.as_str()));
    let dir = file().await;
    let here = Stored::File(dir.path().join("hub.db"));
    let columns = "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE m.type = 'table'";
    assert_eq!(there, here.texts(columns));

    // Those that were named; the others follow from keys and constraints.
    let indexes = "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public'
                   AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'";
    let here_too = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
    assert_eq!(hub.stored().texts(indexes), here.texts(here_too));
}

/// The database and key of a hub of version 1, in a file, with alice and bob, who are connected and have talked, and carol, who asked
/// bob for a connection.
#[tokio::test]
async fn a_database_of_version_1_can_be_read() {
    if on_postgres() {
        return; // there was no other then
    }
    let dir = tempfile::tempdir().unwrap();
    let database = Connection::open(dir.path().join("hub.db")).unwrap();
    database.execute_batch(include_str!("fixtures/hub-v1.sql")).unwrap();
    drop(database);
    std::fs::write(dir.path().join("hub.key"), include_str!("fixtures/hub-v1.key")).unwrap();

    let hub = Hub::start_in(dir).await;
    everything_of_bob_is_there(&hub).await;
    assert_eq!(hub.rows()["users"], 3);
}

/// The same people in the first schema of PostgreSQL, which later ones have changed with everybody's data in it.
#[tokio::test]
async fn a_postgres_database_of_version_1_can_be_read() {
    if !on_postgres() {
        return; // there is no server to have it on
    }
    let dir = tempfile::tempdir().unwrap();
    let stored = Stored::of(dir.path());
    stored.batch(include_str!("fixtures/hub-postgres-1.sql"));
    let before = stored.rows();
    // Of alice the bytes of her message and her commit, of the guest what was counted otherwise.
    let bytes = "SELECT handle || ' ' || stored_bytes FROM users";
    assert_eq!(stored.texts(bytes), ["alice 1974", "bob 0", "carol 0", "eve 0", "guest-dora 77"]);

    let hub = Hub::start_in(dir).await;
    // What was there is there, and each table that came later.
    let mut now = hub.rows();
    for table in ["relay_log", "relay_topics", "relay_envelopes"] {
        assert!(!before.contains_key(table) && now.remove(table).is_some(), "{table}");
    }
    let versions = now.insert("schema_version".to_owned(), 1);
    assert_eq!(versions, Some(2), "the one that was there, and the one that it was brought to");
    let before = before.into_iter().filter(|(table, _)| table != "moments");
    assert_eq!(now, before.collect());
    // And the key packages: three of alice and carol each, two of bob.
    assert_eq!(stored.texts(bytes), ["alice 3027", "bob 702", "carol 1053", "eve 0", "guest-dora 77"]);

    everything_of_bob_is_there(&hub).await;
    assert_eq!(hub.rows()["users"], 5);
    // It is brought up to date once.
    let dir = hub.stop().await;
    let hub = Hub::start_in(dir).await;
    assert_eq!(hub.stored().number("SELECT count(*) FROM schema_version"), 2);
    let of_carol = "SELECT stored_bytes FROM users WHERE handle = 'carol'";
    assert_eq!(hub.stored().number(of_carol), 1053);
}

/// Bob finds what he had, and can do what came later.
async fn everything_of_bob_is_there(hub: &Hub) {
    let client = Client::new(hub);
    let credentials = json!({ "handle": "bob", "password": PASSWORD });
    let session: Session = client.post("/v1/sessions", &credentials).await.done();
    assert_eq!(session.domain, "chat.example.org");

    // The session that bob's device had.
    let bob = client.with_token(include_str!("fixtures/hub-v1.token").trim());
    let connections: Connections = bob.get("/v1/connections").await.done();
    let statuses: Vec<_> =
        connections.connections.iter().map(|other| (other.handle.as_str(), other.status)).collect();
    assert_eq!(statuses, [("alice", Status::Accepted), ("carol", Status::Pending)]);
    let conversations: Conversations = bob.get("/v1/conversations").await.done();
    assert_eq!(conversations.conversations[0].epoch, 1);
    assert_eq!(conversations.conversations[0].protocol, Protocol::Mls, "there was no other");
    let of_before = (conversations.conversations[0].settings, conversations.conversations[0].parent);
    assert_eq!(of_before, (Settings::default(), None));
    let page: EventPage = bob.get("/v1/events").await.done();
    assert_eq!(
        types(&page.events),
        [
            "connection.updated",
            "connection.updated",
            "conversation.joined",
            "conversation.commit",
            "conversation.message",
            "connection.updated"
        ]
    );
    assert_eq!(bob.get("/v1/key-packages/count").await.done::<KeyPackageCount>().count, 2);
    let keys: HubKeys = bob.get("/v1/mls/keys").await.done();
    assert_eq!(hex::encode(keys.external_sender.0), &include_str!("fixtures/hub-v1.key").trim()[64..]);

    let bits = |column: &str| {
        let bits = hub.stored().number(&format!("SELECT {column} FROM conversations LIMIT 1"));
        u8::try_from(bits).unwrap()
    };
    assert_eq!(
        Access::from_bits((bits("access"), bits("access_roles"))),
        Some(Access::of_new(false)),
        "people were invited, and came not otherwise"
    );

    // What came later works on it: a profile, a team with a conversation of its own, and the end of the account.
    let profile = json!({ "name": "Bob", "locale": "eu" });
    bob.answer(bob.request(Method::PUT, "/v1/self/profile").json(&profile)).await.empty();
    bob.post("/v1/team", &json!({ "name": "Old friends" })).await.done::<Team>();
    let new = json!({ "conversation": ConversationId::random(), "team": true });
    let made: Conversation = bob.post("/v1/conversations", &new).await.done();
    let timer = json!({ "message_timer": 60_000 });
    let path = format!("/v1/conversations/{}/message-timer", made.conversation);
    bob.answer(bob.request(Method::PUT, &path).json(&timer)).await.empty();
    let path = format!("/v1/conversations/{}/history", made.conversation);
    let shared = json!({ "history": "86400000ms" });
    bob.answer(bob.request(Method::PUT, &path).json(&shared)).await.empty();
    assert!(bob.get(&path).await.done::<HistoryPage>().entries.is_empty());
    bob.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty();
    bob.get("/v1/self").await.refused(Code::DeviceRemoved);
    let rows = hub.rows();
    assert_eq!((rows["teams"], rows["leaves"]), (0, 0));
}
