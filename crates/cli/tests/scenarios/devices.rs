//! Devices that are removed, and a changed password, as their commands show them.

use crate::support::{Device, Hub, PASSWORD};

/// The ids of the account's devices but this one.
fn others(device: &Device) -> Vec<String> {
    let lines = device.run(&["device", "list"]).lines();
    let others = lines.into_iter().filter(|line| line["current"] == false);
    others.map(|line| line["device"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_lost_device_is_removed_and_reads_nothing_that_comes_later() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let phone = hub.log_in("bob");
    alice.run(&["group", "create", "garden", "bob"]).done();
    alice.send("garden", "to both devices");
    assert_eq!(phone.texts("garden"), ["to both devices"]);
    let [lost] = &others(&bob)[..] else { panic!("bob has two devices") };

    let wrong = bob.run_with(&["device", "remove", lost, "--password-stdin"], "not his password\n");
    assert_eq!(wrong.code(), "invalid-credentials");
    assert_eq!(bob.run(&["device", "remove", "00c0ffee00c0ffee"]).code(), "not-found");
    assert_eq!(bob.run(&["device", "remove", lost]).one()["device"], lost.as_str());
    assert_eq!(others(&bob), [""; 0]);

    alice.send("garden", "without the phone");
    assert_eq!(bob.texts("garden"), ["to both devices", "without the phone"]);
    bob.send("garden", "I still can");
    assert_eq!(alice.texts("garden").last().unwrap(), "I still can");

    // It is told what became of it, and shows what it has.
    let answer = phone.run(&["sync"]);
    assert_eq!(answer.code(), "device-removed");
    assert!(answer.stderr().contains("hint: "), "{}", answer.stderr());
    assert_eq!(phone.run(&["send", "garden", "hello?"]).code(), "device-removed");
    let kept = phone.run(&["read", "garden", "--offline"]).lines();
    assert_eq!(kept.len(), 1);
    assert_eq!(phone.run(&["login", "bob", "--hub", phone.hub()]).code(), "device-removed");
    // The person comes back with another home.
    let new = hub.log_in("bob");
    alice.send("garden", "welcome back");
    assert_eq!(new.texts("garden"), ["welcome back"]);
}

#[test]
fn who_follows_on_a_device_that_is_removed_is_told() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before");
    let phone = hub.log_in("bob");
    let following = phone.spawn(&["read", "@alice", "--follow"]);
    let [lost] = &others(&bob)[..] else { panic!("bob has two devices") };
    bob.run(&["device", "remove", lost]).done();
    let output = following.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.starts_with("error[device-removed]: "), "{stderr}");
}

#[test]
fn a_changed_password_logs_the_other_devices_out_and_they_go_on_after_a_log_in() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    let phone = hub.log_in("bob");
    alice.send("@bob", "one");
    assert_eq!(phone.texts("@alice"), ["one"]);

    let change = |present: &str, new: &str| {
        bob.run_with(&["password", "--password-stdin"], &format!("{present}\n{new}\n"))
    };
    assert_eq!(change("not his password", "another password").code(), "invalid-credentials");
    assert_eq!(change(PASSWORD, "short").code(), "invalid-password");
    assert_eq!(change(PASSWORD, "another password").one()["handle"], "bob");
    assert_eq!(phone.run(&["sync"]).code(), "unauthenticated");
    bob.run(&["sync"]).done();

    alice.send("@bob", "two");
    assert_eq!(phone.run(&["login", "bob", "--hub", phone.hub()]).code(), "invalid-credentials");
    let again = ["login", "bob", "--hub", phone.hub(), "--password-stdin"];
    phone.run_with(&again, "another password\n").done();
    assert_eq!(phone.texts("@alice"), ["one", "two"]);
    assert_eq!(others(&bob).len(), 1);
    // Somebody else's home is not taken over.
    assert_eq!(phone.run(&["login", "alice", "--hub", phone.hub()]).code(), "home-in-use");
}
