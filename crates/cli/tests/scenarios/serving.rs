//! `tertulia serve` as a process.

use crate::support::{Hub, tertulia};
use std::process::Stdio;

#[test]
fn a_hub_that_is_asked_to_end_does_so_in_good_order() {
    let mut hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    alice.send("@bob", "before");
    // Somebody is connected while it ends.
    let mut follower = bob.spawn(&["read", "@alice", "--follow"]);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(follower.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(hub.terminate().success());
    follower.kill().unwrap();
    follower.wait().unwrap();

    hub.start_again();
    alice.send("@bob", "after");
    assert_eq!(bob.texts("@alice"), ["before", "after"]);
}

#[test]
fn plain_http_is_served_to_this_machine_only_unless_a_proxy_is_named() {
    let hub = Hub::start();
    let data = hub.directory().join("another hub");
    let output = tertulia().args(["serve", "--listen", "0.0.0.0:0", "--data"]).arg(&data).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().any(|line| line.starts_with("error[plain")), "{stderr}");
}

#[test]
fn a_port_that_is_taken_is_named() {
    let hub = Hub::start();
    let url = hub.url();
    let address = url.trim_start_matches("http://");
    let data = hub.directory().join("another hub");
    let output = tertulia()
        .args(["serve", "--listen", address, "--data"])
        .arg(&data)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let error = stderr.lines().find(|line| line.starts_with("error[cannot-listen]: "));
    assert!(error.is_some_and(|error| error.contains(address)), "{stderr}");
}

#[test]
fn two_hubs_do_not_share_their_data() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let output =
        tertulia().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(hub.data()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("error["));
    assert_eq!(alice.run(&["device", "list"]).lines().len(), 1);
}
