//! What a hub logs, and what it must not.

use crate::support::{Hub, PASSWORD};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
};

/// Everything that happens on a hub in a day, and what of it must stay out of its log.
fn a_busy_day(hub: &Hub) -> BTreeSet<String> {
    let said = ["the parcel lies under the third stair", "bring the lantern and forty-one matches"];
    let names = ["The conspiracy of the lighthouse", "The society of the harbour"];
    let link_password = "nine red balloons";
    let (alice, bob) = (hub.sign_up("alice-the-keeper"), hub.sign_up("bob-the-pilot"));
    let phone = hub.log_in("alice-the-keeper");
    let guest = hub.device("guest");
    guest.run(&["guest", "--name", "Ana García", "--hub", &hub.url()]).done();
    alice.befriend(&bob);
    bob.run(&["profile", "--name", "Bob of the harbour"]).done();
    bob.run(&["search", "alice-the"]).done();

    let mut follower = bob.spawn(&["read", "@alice-the-keeper", "--follow"]);
    alice.send("@bob-the-pilot", said[0]);
    let mut line = String::new();
    BufReader::new(follower.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(said[0]), "{line}");
    follower.kill().unwrap();
    follower.wait().unwrap();

    alice.run(&["group", "create", names[0], "bob-the-pilot"]).done();
    phone.run(&["sync"]).done();
    bob.send(names[0], said[1]);
    alice.run(&["group", "rename", names[0], names[1]]).done();
    alice.run(&["group", "access", names[1], "--modes", "invite,code"]).done();
    let link = alice.run_with(&["link", "create", names[1], "--password-stdin"], link_password).one();
    let link = link["link"].as_str().expect("a link").to_owned();
    guest.run_with(&["join", &link, "--password-stdin"], link_password).done();
    alice.run(&["sync"]).done();
    alice.run(&["team", "create", "The harbour office"]).done();
    let invitation = alice.run(&["team", "invite"]).one();
    bob.run(&["team", "join", invitation["code"].as_str().expect("a code")]).done();
    // And what is refused.
    let mut wrong = hub.device("wrong").command(&["login", "alice-the-keeper", "--hub", &hub.url()]);
    assert!(!wrong.env("TERTULIA_PASSWORD", "not her password").output().unwrap().status.success());
    assert_ne!(bob.run(&["connect", "nobody-of-this-name"]).status(), 0);

    let mut secrets: BTreeSet<String> = said.iter().chain(&names).map(|&text| text.to_owned()).collect();
    secrets.extend(
        [PASSWORD, link_password, "not her password", "Bob of the harbour", "The harbour office"]
            .map(str::to_owned),
    );
    secrets.extend(["alice-the-keeper", "bob-the-pilot", "nobody-of-this-name"].map(str::to_owned));
    secrets.insert(link.rsplit_once(['#', '.']).expect("a secret").1.to_owned());
    secrets.insert(invitation["code"].as_str().expect("a code").to_owned());
    for device in [&alice, &phone, &bob, &guest] {
        for answer in [device.run(&["whoami"]), device.run(&["list"])] {
            answer.lines().iter().for_each(|value| ids(value, &mut secrets));
        }
    }
    // Every session's token was on the wire.
    let traffic = hub.traffic();
    let tokens = traffic.iter().flat_map(|stream| {
        let text = String::from_utf8_lossy(stream).into_owned();
        let tokens =
            text.split("Bearer ").skip(1).filter_map(|after| after.lines().next().map(str::to_owned));
        tokens.collect::<Vec<_>>()
    });
    let tokens: BTreeSet<String> = tokens.collect();
    assert!(tokens.len() >= 4, "{} tokens", tokens.len());
    secrets.extend(tokens);
    secrets
}

/// The ids in a JSON object: of users, devices and conversations.
fn ids(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => {
            let hexadecimal = text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if hexadecimal && (text.len() == 36 || text.len() == 16) {
                found.insert(text.clone());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| ids(value, found)),
        Value::Object(object) => object.values().for_each(|value| ids(value, found)),
        _ => {}
    }
}

#[test]
fn nothing_that_was_said_no_secret_and_no_whole_id_is_in_the_log_however_much_it_tells() {
    for format in ["text", "json"] {
        let mut hub = Hub::start_with(&["-vv", "--log-filter", "trace", "--log-format", format]);
        let secrets = a_busy_day(&hub);
        assert!(secrets.iter().filter(|secret| secret.len() == 36).count() >= 5, "{secrets:?}");
        assert!(hub.terminate().success());
        let log = hub.log();
        assert!(log.contains("signed up") && log.contains("answered"), "the log is of nothing:\n{log}");
        for secret in &secrets {
            if let Some(line) = log.lines().find(|line| line.contains(secret.as_str())) {
                panic!("{secret} is in the log: {line}");
            }
        }
        if format == "json" {
            for line in log.lines() {
                let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
            }
        }
    }
}

#[test]
fn the_filter_chooses_what_is_logged() {
    let quiet = Hub::start_with(&["--log-filter", "off"]);
    quiet.sign_up("alice");
    assert_eq!(quiet.log(), "");
    let chosen = Hub::start_with(&["--log-filter", "off,tertulia_server::http::layers=debug"]);
    chosen.sign_up("alice");
    let log = chosen.log();
    assert!(log.contains("answered") && !log.contains("signed up"), "{log}");
}
