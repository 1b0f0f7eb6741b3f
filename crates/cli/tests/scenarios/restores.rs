//! Backups of a hub that is at work, and hubs that are restored from them.

use crate::support::{Answer, Device, Hub, admin, set_back, tertulia};
use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use tertulia_testkit::postgres;

fn sequences(device: &Device, target: &str) -> Vec<u64> {
    let messages = device.run(&["read", target]).lines();
    messages.iter().map(|message| message["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn a_backup_under_load_has_everything_that_was_acknowledged_before_it() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "the first");
    bob.run(&["sync"]).done();

    // Alice writes on; what the hub acknowledged before the backup began has to be in it.
    let backup = hub.directory().join("backup");
    let before = written_meanwhile(&alice, || {
        let made = admin(&hub, &["backup"], &[&backup]).one();
        assert_eq!(made["accounts"], 2);
    });
    // It is there once, and for its owner alone.
    assert_eq!(admin(&hub, &["backup"], &[&backup]).code(), "destination-in-use");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&backup), 0o700);
        for name in ["hub.db", "hub.key"] {
            assert_eq!(mode(&backup.join(name)), 0o600, "{name}");
        }
    }
    assert!(
        !hub.directory().read_dir().unwrap().any(|entry| entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("partial"))
    );

    // A new hub of the backup. Its log has all of these, one after the other.
    let data = hub.directory().join("restored");
    let restored =
        tertulia().args(["admin", "restore"]).arg(&backup).arg("--data").arg(&data).output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let again = tertulia().args(["admin", "restore"]).arg(&backup).arg("--data").arg(&data).output().unwrap();
    assert_eq!(Answer::new("operator", &[], again).code(), "destination-in-use");
    let log = logged(&data);
    assert!(log.len() >= 2 + before.len(), "{} of {}", log.len(), before.len());
    assert!(log.iter().zip(1..).all(|(sequence, expected)| *sequence == expected), "{log:?}");
    let messages = bob.texts("@alice");
    for text in &before {
        assert!(messages.contains(text), "{text}");
    }
}

#[test]
fn a_dump_under_load_has_everything_that_was_acknowledged_before_it() {
    let postgres = postgres::Server::for_tests().unwrap();
    let database = postgres.create_database().unwrap();
    let mut hub = Hub::start_with(&["--database", database.url()]);
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let dump = hub.directory().join("dump");
    let before = written_meanwhile(&alice, || postgres.dump(&database, &dump).unwrap());
    bob.run(&["sync"]).done();

    hub.kill();
    postgres.restore(&database, &dump).unwrap();
    let mut client = database.connect().unwrap();
    let log: Vec<i64> = client.query(SEQUENCES, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    assert!(log.len() > before.len(), "{} of {}", log.len(), before.len());
    assert!(log.iter().zip(1..).all(|(sequence, expected)| *sequence == expected), "{log:?}");
    after_restore(&database).done();
    hub.start_again();
    for text in ["on again", "and again"] {
        alice.send("@bob", text);
    }
    let messages = bob.texts("@alice");
    for text in before.iter().map(String::as_str).chain(["on again", "and again"]) {
        assert_eq!(messages.iter().filter(|message| *message == text).count(), 1, "{text}: {messages:?}");
    }
}

/// What is acknowledged to somebody who writes to Bob all the time, before a backup is made meanwhile.
fn written_meanwhile(alice: &Device, back_up: impl FnOnce()) -> Vec<String> {
    let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                let text = format!("message {number} under way");
                alice.send("@bob", &text);
                acknowledged.lock().unwrap().push(text);
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        while acknowledged.lock().unwrap().len() < 3 {
            thread::yield_now();
        }
        let before = acknowledged.lock().unwrap().clone();
        back_up();
        stop.store(true, Ordering::Relaxed);
        before
    })
}

/// The sequence numbers in the log of the hub's only 1:1, in order.
const SEQUENCES: &str = "SELECT l.sequence FROM log l JOIN conversations c ON c.id = l.conversation
                         WHERE c.type = 'one_to_one' ORDER BY l.position";

/// Of what the backup has.
fn logged(data: &Path) -> Vec<i64> {
    let database = rusqlite::Connection::open(data.join("hub.db")).unwrap();
    let mut statement = database.prepare(SEQUENCES).unwrap();
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn devices_that_have_seen_more_than_a_restored_hub_go_on_with_it() {
    let hub = Hub::start();
    let backup = hub.directory().join("backup");
    devices_go_on(
        hub,
        |hub| {
            admin(hub, &["backup"], &[&backup]).done();
        },
        |hub| {
            set_back(hub, &backup);
        },
    );
}

/// The same with a hub on PostgreSQL, whose own programs make the backup and bring it back.
#[test]
fn devices_that_have_seen_more_than_a_database_that_was_brought_back_go_on_with_it() {
    let postgres = postgres::Server::for_tests().unwrap();
    let database = postgres.create_database().unwrap();
    let hub = Hub::start_with(&["--database", database.url()]);
    let dump = hub.directory().join("dump");
    // Before there is a hub, or while one runs, nothing is changed.
    let empty = postgres.create_database().unwrap();
    let refused = after_restore(&empty);
    assert_eq!(refused.code(), "no-hub-data");
    assert!(refused.stderr().contains("--database"), "{}", refused.stderr());
    assert_eq!(number(&empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
    devices_go_on(
        hub,
        |_| postgres.dump(&database, &dump).unwrap(),
        |hub| {
            assert_eq!(after_restore(&database).code(), "data-in-use");
            assert_eq!(number(&database, "SELECT count(*) FROM restores"), 0);
            hub.kill();
            postgres.restore(&database, &dump).unwrap();
            let noted = after_restore(&database).one();
            assert_eq!((&noted["accounts"], &noted["unreadable_groups"]), (&3.into(), &0.into()));
            hub.start_again();
        },
    );
}

/// Tells a hub that its database was brought back.
fn after_restore(database: &postgres::Database) -> Answer {
    let mut command = tertulia();
    command.args(["--json", "admin", "after-restore", "--database", database.url()]);
    Answer::new("operator", &["after-restore"], command.output().unwrap())
}

fn number(database: &postgres::Database, sql: &str) -> i64 {
    database.connect().unwrap().query_one(sql, &[]).unwrap().get(0)
}

/// Three people talk, a backup is made, two of them go on, and the hub is set back.
fn devices_go_on(mut hub: Hub, back_up: impl FnOnce(&Hub), set_back: impl FnOnce(&mut Hub)) {
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    alice.befriend(&bob);
    alice.befriend(&carol);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    alice.send("garden", "before the backup");
    alice.send("@bob", "between us, before");
    for device in [&bob, &carol] {
        device.run(&["sync"]).done();
    }
    back_up(&hub);

    // What comes now is lost to the hub. Alice and Bob see it, and their group goes ahead; Carol sees nothing of it.
    alice.send("garden", "after the backup");
    bob.send("garden", "after it too");
    alice.run(&["group", "rename", "garden", "orchard"]).done();
    alice.run(&["group", "create", "lost", "bob"]).done();
    bob.send("@alice", "between us, after");
    for device in [&alice, &bob] {
        device.run(&["sync"]).done();
    }
    set_back(&mut hub);

    for device in [&alice, &bob, &carol] {
        device.run(&["sync"]).done();
    }
    for device in [&alice, &bob, &carol] {
        device.run(&["sync"]).done();
    }
    // Everybody can talk, in what there is, whatever they had seen.
    for (device, text) in [(&alice, "alice goes on"), (&bob, "bob goes on"), (&carol, "carol goes on")] {
        let name = if device.handle() == "carol" { "garden" } else { "orchard" };
        device.send(name, text);
    }
    alice.send("@bob", "still there?");
    bob.send("@alice", "still here");
    assert_eq!(
        bob.texts("@alice"),
        ["between us, before", "between us, after", "still there?", "still here"]
    );
    assert_eq!(alice.texts("@bob"), bob.texts("@alice"));
    // Who had what was lost keeps it; who had not does not get it.
    let whole = [
        "before the backup",
        "after the backup",
        "after it too",
        "alice goes on",
        "bob goes on",
        "carol goes on",
    ];
    assert_eq!(alice.texts("orchard"), whole);
    assert_eq!(bob.texts("orchard"), whole);
    assert_eq!(carol.texts("garden"), ["before the backup", "alice goes on", "bob goes on", "carol goes on"]);
    for device in [&alice, &bob] {
        let name = "orchard";
        let numbers = sequences(device, name);
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    }
    // The group that was made after the backup is no more.
    assert_eq!(alice.run(&["send", "lost", "anybody?"]).status(), 1);
    // New devices and new people come in as ever: keys that were handed out before are not handed out again.
    let dave = hub.sign_up("dave");
    alice.befriend(&dave);
    alice.run(&["group", "add", "orchard", "dave"]).done();
    dave.send("orchard", "new here");
    assert_eq!(alice.texts("orchard").last().unwrap(), "new here");
    let phone = hub.log_in("bob");
    phone.run(&["sync"]).done();
    alice.send("@bob", "to both");
    assert_eq!(phone.texts("@alice"), ["to both"]);
}

#[test]
fn a_restore_touches_nothing_while_a_hub_runs_and_keeps_what_it_replaces() {
    let mut hub = Hub::start();
    let alice = hub.sign_up("alice");
    let backup = hub.directory().join("backup");
    admin(&hub, &["backup"], &[&backup]).done();
    assert_eq!(admin(&hub, &["restore", "--replace"], &[&backup]).code(), "data-in-use");
    hub.sign_up("bob");
    assert!(hub.terminate().success());
    assert_eq!(admin(&hub, &["restore"], &[&backup]).code(), "destination-in-use");
    let restored = admin(&hub, &["restore", "--replace"], &[&backup]).one();
    let replaced = Path::new(restored["replaced"].as_str().expect("what was there is kept"));
    assert!(replaced.join("hub.db").is_file() && replaced.join("hub.key").is_file());
    hub.start_again();
    alice.run(&["sync"]).done();
    assert_eq!(admin(&hub, &["users", "list"], &[]).lines().len(), 1);
    // What was kept is a hub as well.
    let count =
        tertulia().args(["--json", "admin", "users", "list", "--data"]).arg(replaced).output().unwrap();
    assert_eq!(Answer::new("operator", &[], count).lines().len(), 2);
}

#[test]
fn what_is_no_backup_is_refused() {
    let mut hub = Hub::start();
    let nothing = hub.directory().join("nothing");
    assert_eq!(admin(&hub, &["restore"], &[&nothing]).code(), "no-hub-data");
    let damaged = hub.directory().join("damaged");
    admin(&hub, &["backup"], &[&damaged]).done();
    let mut bytes = std::fs::read(damaged.join("hub.db")).unwrap();
    let half = bytes.len() / 2;
    bytes.truncate(half);
    std::fs::write(damaged.join("hub.db"), bytes).unwrap();
    assert!(hub.terminate().success());
    let before = std::fs::read(hub.data().join("hub.db")).unwrap();
    assert_eq!(admin(&hub, &["restore", "--replace"], &[&damaged]).code(), "data-unusable");
    assert_eq!(std::fs::read(hub.data().join("hub.db")).unwrap(), before);
    assert!(
        !hub.data().read_dir().unwrap().any(|entry| entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("partial"))
    );
}
