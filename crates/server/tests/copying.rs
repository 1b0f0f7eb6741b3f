//! A hub that moves from its file into a PostgreSQL database, and those who talk over it.
#![allow(clippy::unwrap_used)]

mod support;

use std::{collections::BTreeSet, path::Path, thread};
use support::{
    database::on_postgres,
    hub::{Hub, Person, one_to_one, types},
    mls::{decrypt, encrypt},
};
use tertulia_api::event::EventBody;
use tertulia_server::{
    CopyError, CopyInfo, CopyProgress, DatabaseUrl, Server, ServerConfig, ServerError, StorageError,
    copy_database,
};
use tertulia_testkit::postgres::Server as Postgres;

fn create_database() -> String {
    let create = || Postgres::for_tests().unwrap().create_database().unwrap().url().to_owned();
    thread::scope(|scope| scope.spawn(create).join().unwrap())
}

/// On a thread of its own, for the client of PostgreSQL has a runtime of its own.
fn copy(data: &Path, to: &str, mut done: impl FnMut(&str) + Send) -> Result<CopyInfo, CopyError> {
    let to: DatabaseUrl = to.parse().unwrap();
    let told = |progress: CopyProgress| {
        assert!(progress.table_rows <= progress.rows && progress.rows <= progress.all_rows, "{progress:?}");
        if progress.is_table_done {
            done(progress.table);
        }
    };
    thread::scope(|scope| scope.spawn(|| copy_database(data, &to, told)).join().unwrap())
}

/// Runs statements on the database.
fn run(url: &str, sql: &str) {
    let run = || postgres::Client::connect(url, postgres::NoTls).unwrap().batch_execute(sql).unwrap();
    thread::scope(|scope| scope.spawn(run).join().unwrap());
}

fn at(data: &Path, url: &str) -> ServerConfig {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), data);
    config.database = Some(url.parse().unwrap());
    config
}

#[tokio::test]
async fn who_talks_over_a_hub_goes_on_after_it_has_moved() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    let (mut alice, mut bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
    let (conversation, mut at_alice, mut at_bob) = one_to_one(&alice, &bob).await;
    alice.sent(conversation, encrypt(&mut at_alice, "before")).await;
    let seen = bob.events().await;
    let since = seen.last().unwrap().cursor.clone();
    alice.sent(conversation, encrypt(&mut at_alice, "while it moves")).await;

    let url = create_database();
    assert_eq!(copy(hub.dir.path(), &url, |_| ()).unwrap_err().code(), "data-in-use");
    let dir = hub.stop().await;
    // Over the file that is there no hub starts with another database.
    assert_eq!(Server::bind(at(dir.path(), &url)).await.unwrap_err().code(), "two-databases");

    // It is interrupted in the middle.
    let begun = thread::scope(|scope| {
        let data = dir.path();
        let url = &url;
        scope.spawn(move || copy(data, url, |table| assert_ne!(table, "log", "this far"))).join()
    });
    assert!(begun.is_err());
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = Server::bind(at(elsewhere.path(), &url)).await.unwrap_err();
    assert!(refused.to_string().contains("not finished"), "{refused}");

    let mut tables = BTreeSet::new();
    let info = copy(dir.path(), &url, |table| assert!(tables.insert(table.to_owned()))).unwrap();
    assert!(info.rows > 20 && info.moved.join("hub.db").is_file() && info.moved.join("hub.key").is_file());
    assert!(!dir.path().join("hub.db").exists());
    // No table was forgotten.
    let there = support::database::Stored::Postgres(url.clone()).rows();
    let there: BTreeSet<String> = there.into_keys().filter(|table| table != "schema_version").collect();
    assert_eq!(there, tables);
    assert_eq!(copy(dir.path(), &url, |_| ()).unwrap_err().code(), "no-hub-data");

    let hub = Hub::start_with(dir, |config| config.database = Some(url.parse().unwrap())).await;
    for person in [&mut alice, &mut bob] {
        person.base.clone_from(&hub.base);
    }
    assert_eq!(bob.events().await, [seen, bob.events_since(Some(&since)).await].concat());
    bob.sent(conversation, encrypt(&mut at_bob, "after it")).await;
    let events = alice.events().await;
    assert_eq!(types(&events).iter().filter(|name| *name == "conversation.message").count(), 3);
    let Some(EventBody::Message { message, .. }) = events.last().map(|event| &event.body) else {
        panic!("a message")
    };
    assert_eq!(decrypt(&mut at_alice, message.as_ref()), "after it");
    // The hub signs with the key that it had.
    let keys = Person::log_in(&hub, "alice").await;
    assert_eq!(keys.hub_key, alice.hub_key);
}

#[tokio::test]
async fn a_copy_that_is_interrupted_at_its_very_end_is_finished_by_the_same_command() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    let mut alice = Person::sign_up(&hub, "alice").await;
    let dir = hub.stop().await;
    let (data, url) = (dir.path(), create_database());

    // Somebody looks at the note in the target, which therefore cannot go: it ends when the file is put aside already.
    let mut looking = None;
    let look = |table: &str| {
        if table == "hub" {
            let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
            client.batch_execute("BEGIN; SELECT FROM copy_unfinished").unwrap();
            looking = Some(client);
        }
    };
    let ended = copy(data, &url, look).unwrap_err();
    assert!(matches!(ended, CopyError::Storage(StorageError::InUse)), "{ended}");
    let aside = || -> Vec<_> {
        let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("moved-")).collect()
    };
    assert_eq!(aside().len(), 1);
    let moved = aside().remove(0);
    assert!(moved.join("hub.db").is_file() && !data.join("hub.db").exists());
    // As if it had ended between the two files.
    std::fs::rename(moved.join("hub.key"), data.join("hub.key")).unwrap();

    // No hub uses the target meanwhile, and in another data directory, where nothing was put aside, it is not finished.
    let elsewhere = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    let elsewhere = elsewhere.stop().await;
    std::fs::remove_file(elsewhere.path().join("hub.db")).unwrap();
    assert_eq!(copy(elsewhere.path(), &url, |_| ()).unwrap_err().code(), "no-hub-data");
    let refused = Server::bind(at(elsewhere.path(), &url)).await.unwrap_err();
    assert!(refused.to_string().contains("not finished"), "{refused}");
    thread::scope(|scope| scope.spawn(|| drop(looking)).join().unwrap());

    let info = copy(data, &url, |table| panic!("{table} is copied again")).unwrap();
    assert_eq!((&info.moved, aside()), (&moved, vec![moved.clone()]));
    let rows: i64 = support::database::Stored::Postgres(url.clone()).rows().values().sum();
    assert_eq!(info.rows.cast_signed(), rows - 1, "all but the version of the schema");
    assert!(moved.join("hub.db").is_file() && moved.join("hub.key").is_file());
    assert!(!data.join("hub.key").exists());
    assert_eq!(copy(data, &url, |_| ()).unwrap_err().code(), "no-hub-data");

    let hub = Hub::start_with(dir, |config| config.database = Some(url.parse().unwrap())).await;
    alice.base.clone_from(&hub.base);
    alice.events().await;
    assert_eq!(Person::log_in(&hub, "alice").await.hub_key, alice.hub_key);
}

#[tokio::test]
async fn what_was_compared_is_copied_anew_if_the_file_was_used_since() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let start = |dir| Hub::start_with(dir, |config| config.database = None);
    let hub = start(tempfile::tempdir().unwrap()).await;
    Person::sign_up(&hub, "alice").await;
    let (dir, url) = (hub.stop().await, create_database());
    // As it is when everything was compared and nothing put aside.
    let info = copy(dir.path(), &url, |_| ()).unwrap();
    for name in ["hub.db", "hub.key"] {
        std::fs::rename(info.moved.join(name), dir.path().join(name)).unwrap();
    }
    let begun = info.moved.file_name().unwrap().to_str().unwrap().trim_start_matches("moved-");
    run(
        &url,
        &format!("CREATE TABLE copy_unfinished (begun BIGINT); INSERT INTO copy_unfinished VALUES ({begun})"),
    );
    let hub = start(dir).await;
    Person::sign_up(&hub, "bob").await;
    let dir = hub.stop().await;
    let again = copy(dir.path(), &url, |_| ()).unwrap();
    assert!(again.rows > info.rows && again.moved.join("hub.db").is_file());
    let stored = support::database::Stored::Postgres(url);
    assert_eq!(stored.number("SELECT count(*) FROM users"), 2);
}

#[tokio::test]
async fn nothing_is_copied_over_what_is_there() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    Person::sign_up(&hub, "alice").await;
    let dir = hub.stop().await;
    let url = create_database();
    run(&url, "CREATE TABLE notes (text TEXT)");
    assert_eq!(copy(dir.path(), &url, |_| ()).unwrap_err().code(), "destination-in-use");
    assert!(dir.path().join("hub.db").is_file());
    assert_eq!(copy(Path::new("nowhere"), &url, |_| ()).unwrap_err().code(), "no-hub-data");
}

#[tokio::test]
async fn a_target_that_a_hub_or_another_copy_uses_is_left_as_it_is() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let mut dirs = Vec::new();
    for handle in ["alice", "bob"] {
        let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
        Person::sign_up(&hub, handle).await;
        dirs.push(hub.stop().await);
    }
    let [alices, bobs] = [dirs[0].path(), dirs[1].path()];
    let taken = |refused: &CopyError| {
        assert!(matches!(refused, CopyError::TargetTaken), "{refused}");
        assert_eq!(refused.code(), "data-in-use");
    };

    // A hub that runs on it goes on.
    let url = create_database();
    let start = |config: &mut ServerConfig| config.database = Some(url.parse().unwrap());
    let running = Hub::start_with(tempfile::tempdir().unwrap(), start).await;
    let carol = Person::sign_up(&running, "carol").await;
    taken(&copy(alices, &url, |_| ()).unwrap_err());
    assert!(alices.join("hub.db").is_file());
    carol.events().await;
    running.stop().await;

    // While one copy goes into it, no other does, and no hub comes up.
    let url = create_database();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut refused = Vec::new();
    let meanwhile = |table: &str| {
        if table == "users" {
            refused.push(copy(bobs, &url, |_| ()).unwrap_err());
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let hub = runtime.block_on(Server::bind(at(elsewhere.path(), &url))).unwrap_err();
            assert!(matches!(hub, ServerError::Storage(StorageError::InUse)), "{hub}");
        }
    };
    let info = copy(alices, &url, meanwhile).unwrap();
    taken(&refused.remove(0));
    assert!(info.moved.join("hub.db").is_file() && bobs.join("hub.db").is_file());
    let stored = support::database::Stored::Postgres(url);
    assert_eq!(stored.texts("SELECT handle FROM users"), ["alice"]);
}

#[tokio::test]
async fn schemas_of_a_later_program_are_named_before_anything_is_changed() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    let dir = hub.stop().await;
    let file = || rusqlite::Connection::open(dir.path().join("hub.db")).unwrap();
    let version = |file: &rusqlite::Connection| -> i64 {
        file.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    };
    let known = version(&file());
    let url = create_database();

    file().pragma_update(None, "user_version", known + 3).unwrap();
    let error = copy(dir.path(), &url, |_| ()).unwrap_err();
    assert!(matches!(error, CopyError::TooNew { what: "file", .. }), "{error}");
    assert_eq!(error.code(), "schema-too-new");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
    let target = support::database::Stored::Postgres(url.clone());
    assert_eq!(target.number(tables), 0, "the target is as it was");

    // A copy that a later program has begun, and a file of an earlier one: neither is touched.
    let begun = "CREATE TABLE copy_unfinished (begun BIGINT);
                 CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (99)";
    run(&url, begun);
    file().pragma_update(None, "user_version", known).unwrap();
    let before = std::fs::read(dir.path().join("hub.db")).unwrap();
    let error = copy(dir.path(), &url, |_| ()).unwrap_err();
    assert!(matches!(error, CopyError::TooNew { what: "target", found: 99, .. }), "{error}");
    assert_eq!(std::fs::read(dir.path().join("hub.db")).unwrap(), before);
    assert_eq!(target.number(tables), 2);
}

#[tokio::test]
async fn a_table_of_many_rows_is_moved_in_batches_that_are_told() {
    if !on_postgres() {
        return; // there is no server to move to
    }
    let hub = Hub::start_with(tempfile::tempdir().unwrap(), |config| config.database = None).await;
    Person::sign_up(&hub, "alice").await;
    let dir = hub.stop().await;
    let rows = 2345;
    let file = rusqlite::Connection::open(dir.path().join("hub.db")).unwrap();
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                  INSERT INTO moments (position, at) SELECT 1000000 + i, i FROM n";
    file.execute(insert, [rows]).unwrap();
    drop(file);
    let (url, mut told) = (create_database(), Vec::new());
    let to: DatabaseUrl = url.parse().unwrap();
    let info = thread::scope(|scope| {
        scope.spawn(|| copy_database(dir.path(), &to, |progress| told.push(progress))).join().unwrap()
    });
    let info = info.unwrap();
    let steps: Vec<_> = told.iter().filter(|one| one.table == "moments").map(|one| one.table_rows).collect();
    assert!(steps.len() >= 5 && steps.is_sorted(), "{steps:?}");
    let last = told.last().unwrap();
    assert_eq!((last.rows, last.all_rows), (info.rows, info.rows));
    let moved = support::database::Stored::Postgres(url).number("SELECT count(*) FROM moments");
    assert!(moved >= rows, "{moved}");
}
