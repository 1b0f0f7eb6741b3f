//! Profiles, searches and deleted accounts, as their commands show them.

use crate::support::{Device, Hub};
use serde_json::Value;

fn connection(device: &Device, handle: &str) -> Option<String> {
    let lines = device.run(&["connections"]).lines();
    let line = lines.into_iter().find(|line| line["handle"] == handle)?;
    Some(line["status"].as_str().unwrap().to_owned())
}

#[test]
fn people_are_found_by_their_handles_and_the_locale_is_for_the_connected() {
    let hub = Hub::start();
    let (alice, bob, mallory) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("mallory"));
    hub.sign_up("alicia");
    let own = alice.run(&["profile", "--name", "Alice Munro", "--locale", "en-ca"]).one();
    assert_eq!((&own["name"], &own["locale"]), (&"Alice Munro".into(), &"en-CA".into()));
    alice.befriend(&bob);

    let found = mallory.run(&["search", "ali"]).lines();
    let handles: Vec<_> = found.iter().map(|person| person["handle"].as_str().unwrap()).collect();
    assert_eq!(handles, ["alice", "alicia"]);
    assert_eq!((&found[0]["name"], &found[0]["locale"]), (&"Alice Munro".into(), &Value::Null));
    assert!(mallory.run(&["search", "zz"]).lines().is_empty());

    assert_eq!(bob.run(&["profile", "@alice"]).one()["locale"], "en-CA");
    assert_eq!(mallory.run(&["profile", "alice"]).one()["locale"], Value::Null);
    assert_eq!(mallory.run(&["profile", "nobody"]).code(), "unknown-user");
    let own = alice.run(&["profile", "--no-locale"]).one();
    assert_eq!((&own["name"], &own["locale"]), (&"Alice Munro".into(), &Value::Null));
    assert_eq!(alice.run(&["profile"]).one(), own);
    assert_eq!(bob.run(&["profile", "@alice"]).one()["locale"], Value::Null);
}

#[test]
fn a_deleted_account_leaves_everything_and_its_group_goes_on() {
    let hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    alice.befriend(&bob);
    alice.befriend(&carol);
    bob.befriend(&carol);
    alice.run(&["group", "create", "garden", "bob", "carol"]).done();
    alice.send("@bob", "only to you");
    alice.send("garden", "farewell, all");
    bob.run(&["sync"]).done();

    let wrong = alice.run_with(&["account", "delete", "--password-stdin"], "not her password\n");
    assert_eq!(wrong.code(), "invalid-credentials");
    assert_eq!(alice.run(&["account", "delete"]).one()["handle"], "alice");
    assert_eq!(alice.run(&["sync"]).code(), "device-removed");
    assert_eq!(alice.run(&["read", "@bob", "--offline"]).lines().len(), 1);

    bob.send("garden", "she is gone");
    assert_eq!(carol.texts("garden"), ["farewell, all", "she is gone"]);
    let members = carol.run(&["group", "members", "garden"]).lines();
    let roles: Vec<_> =
        members.iter().map(|member| (member["handle"].as_str(), member["role"].as_str())).collect();
    assert_eq!(roles.len(), 2);
    let admins = roles.iter().filter(|(_, role)| *role == Some("admin")).count();
    assert_eq!(admins, 1, "{roles:?}");

    assert_eq!(connection(&bob, "alice").as_deref(), Some("cancelled"));
    assert_eq!(bob.texts("@alice"), ["only to you"]);
    assert_eq!(bob.run(&["send", "@alice", "hello?"]).code(), "not-connected");
    assert_eq!(bob.run(&["connect", "alice"]).code(), "invalid-user");
    let again = hub.device("alice");
    assert_eq!(again.run(&["signup", "alice", "--hub", again.hub()]).code(), "handle-taken");
}
