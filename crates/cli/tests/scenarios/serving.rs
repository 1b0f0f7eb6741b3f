//! `tertulia serve` as a process.

use crate::support::{Hub, signal, tertulia};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
};

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

/// A certificate in the files of a hub, and what trusts it.
fn new_certificate(directory: &Path) -> reqwest::Certificate {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
    reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_certificate_is_used_after_a_hang_up_and_the_hub_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let first = new_certificate(directory.path());
    let mut hub = tertulia()
        .current_dir(directory.path())
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            "hub",
            "--tls-cert",
            "cert.pem",
            "--tls-key",
            "key.pem",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(hub.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let port = line.trim_end().rsplit_once(':').expect("the first line has the address").1.to_owned();
    let is_trusted = async |certificate: &reqwest::Certificate| {
        let client = reqwest::Client::builder().tls_certs_only([certificate.clone()]).build().unwrap();
        client.get(format!("https://localhost:{port}/healthz")).send().await.is_ok()
    };
    assert!(is_trusted(&first).await, "{line}");
    let second = new_certificate(directory.path());
    signal(&hub, "HUP");
    while !is_trusted(&second).await {
        assert!(hub.try_wait().unwrap().is_none(), "the hub has ended");
    }
    signal(&hub, "TERM");
    assert!(hub.wait().unwrap().success());
}
