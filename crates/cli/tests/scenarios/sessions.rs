//! Sessions of devices: their tokens are exchanged by themselves, whatever happens meanwhile.

use crate::support::{Fault, Hub};

/// The hub's database, for what only time brings about otherwise.
fn database(hub: &Hub) -> rusqlite::Connection {
    rusqlite::Connection::open(hub.data().join("hub.db")).unwrap()
}

fn token(hub: &Hub) -> Vec<u8> {
    database(hub).query_row("SELECT token_hash FROM sessions", (), |row| row.get(0)).unwrap()
}

/// As if nobody had come for longer than a token is good. The hub remembers sessions for a minute, so it is started again.
fn grow_old(hub: &mut Hub) {
    let sql = "UPDATE sessions SET created_at = created_at - 8000000000, token_at = token_at - 8000000000";
    assert!(database(hub).execute(sql, ()).unwrap() > 0);
    hub.restart();
}

#[test]
fn a_device_exchanges_a_token_that_is_too_old_and_goes_on() {
    let mut hub = Hub::start();
    let alice = hub.sign_up("alice");
    let first = token(&hub);
    grow_old(&mut hub);
    alice.run(&["sync"]).done();
    let second = token(&hub);
    assert_ne!(first, second);
    alice.run(&["sync"]).done();
    assert_eq!(token(&hub), second, "once is enough");

    // The answer is lost: what the device has is good, and so is what it gets the next time.
    grow_old(&mut hub);
    let cut = hub.plan("/v1/sessions/current/token", Fault::LoseAnswer);
    assert_eq!(alice.run(&["sync"]).code(), "hub-unreachable");
    cut.recv().unwrap();
    hub.restart();
    alice.run(&["sync"]).done();
    let third = token(&hub);
    assert_ne!(second, third);

    // The device has it and never learns whether it was used.
    grow_old(&mut hub);
    let cut = hub.plan("GET /v1/self", Fault::LoseAnswer);
    alice.run(&["sync"]);
    cut.recv().unwrap();
    alice.run(&["sync"]).done();
    assert_ne!(token(&hub), third);
}

#[test]
fn people_see_their_sessions_and_end_them() {
    let hub = Hub::start();
    let (alice, phone) = (hub.sign_up("alice"), hub.log_in("alice"));
    let listed = alice.run(&["session", "list"]).lines();
    assert_eq!(listed.iter().filter(|session| session["current"] == true).count(), 1);
    let other = listed.iter().find(|session| session["current"] == false).unwrap();
    assert_eq!(other["device"], phone.run(&["whoami"]).one()["device"]);
    let name = other["session"].as_str().unwrap();
    assert_eq!(alice.run(&["session", "end", name]).one()["ended"], 1);
    assert_eq!(alice.run(&["session", "end", name]).code(), "not-found");
    assert_eq!(phone.run(&["sync"]).code(), "unauthenticated");
    phone.run(&["login", "alice", "--hub", &hub.url()]).done();
    phone.run(&["sync"]).done();
    assert_eq!(alice.run(&["session", "end", "--others"]).one()["ended"], 1);
    alice.run(&["session", "end"]).usage();
    assert_eq!(alice.run(&["session", "list"]).lines().len(), 1);
}
