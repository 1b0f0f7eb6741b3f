//! What a hub logs, and what it must not.

use crate::support::{Hub, Needle, PASSWORD, tertulia};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    sync::{Arc, Mutex},
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

/// Runs an operator's command with all that it logs, and gives what it says on both its outputs.
fn operate(hub: &Hub, args: &[&str]) -> String {
    let mut command = tertulia();
    command.arg("-vv").env("RUST_LOG", "trace").arg("admin").args(args).arg("--data").arg(hub.data());
    let output = command.output().expect("the binary was built");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("output is UTF-8")).concat()
}

/// What the hub has issued: tokens of sessions.
fn issued(hub: &Hub) -> BTreeSet<String> {
    let mut tokens = BTreeSet::new();
    for stream in hub.traffic() {
        let text = String::from_utf8_lossy(&stream).into_owned();
        for (before, after) in [("Bearer ", '\r'), ("\"token\":\"", '"')] {
            let found = text.split(before).skip(1).filter_map(|rest| rest.split_once(after));
            tokens.extend(found.map(|(token, _)| token.to_owned()));
        }
    }
    tokens
}

#[test]
fn no_secret_is_in_what_hub_client_and_operator_log_not_even_encoded_and_not_when_something_fails() {
    let text = "the parcel lies under the third stair";
    let [passphrase, other_passphrase] = ["open sesame, said Ali", "close sesame, said Cassim"];
    let [password, link_password, wrong] =
        ["twelve brass buttons", "nine red balloons", "seven wrong guesses"];
    let mut hub = Hub::start_with(&["-vv", "--log-filter", "trace", "--log-format", "json"]);
    let told = Arc::new(Mutex::new(String::new()));
    let device = |name: &str| hub.device(name).telling(&told);

    // A home with a passphrase, a further device, a password that is changed, and what goes wrong with all that.
    let alice = device("alice");
    let with_passphrase = |args: &[&str], input: &str| {
        alice.run_with(&[args, &["--passphrase-stdin"]].concat(), &format!("{passphrase}\n{input}"))
    };
    with_passphrase(&["signup", "alice", "--hub", &hub.url()], "").done();
    let bob = device("bob");
    bob.run(&["signup", "bob", "--hub", &hub.url()]).done();
    assert_eq!(alice.run_with(&["whoami", "--passphrase-stdin"], &format!("{wrong}\n")).code(), "wrong-key");
    assert_eq!(device("alice").run(&["signup", "alice", "--hub", &hub.url()]).code(), "handle-taken");
    let thief = device("alice").run_with(&["login", "alice", "--hub", &hub.url(), "--password-stdin"], wrong);
    assert_eq!(thief.code(), "invalid-credentials");
    let phone = device("alice");
    phone.run(&["login", "alice", "--hub", &hub.url()]).done();
    let change = ["password", "--password-stdin"];
    assert_eq!(bob.run_with(&change, &format!("{wrong}\n{password}\n")).code(), "invalid-credentials");
    bob.run_with(&change, &format!("{PASSWORD}\n{password}\n")).done();
    let copy = hub.directory().join("copy");
    let export = ["home", "export", copy.to_str().expect("UTF-8"), "--new-passphrase-stdin"];
    with_passphrase(&export, &format!("{other_passphrase}\n")).done();

    // Messages, a link with a password, a guest, a team.
    with_passphrase(&["connect", "bob"], "").done();
    bob.run(&["accept", "alice"]).done();
    with_passphrase(&["send", "@bob", text], "").done();
    assert_eq!(bob.texts("@alice"), [text]);
    let mut follower = bob.spawn(&["read", "@alice", "--follow"]);
    let mut line = String::new();
    BufReader::new(follower.stdout.take().expect("a pipe")).read_line(&mut line).expect("a pipe can be read");
    assert!(line.contains(text), "{line}");
    follower.kill().expect("it runs");
    let follower = follower.wait_with_output().expect("it is our child");
    bob.run(&["group", "create", "The conspiracy of the lighthouse", "alice"]).done();
    let garden = bob.listed("The conspiracy of the lighthouse").expect("listed")["conversation"].clone();
    let garden = garden.as_str().expect("an id");
    bob.run(&["group", "access", garden, "--modes", "invite,code"]).done();
    let link = bob.run_with(&["link", "create", garden, "--password-stdin"], link_password).one();
    let link = link["link"].as_str().expect("a link").to_owned();
    let guest = device("guest");
    guest.run(&["guest", "--name", "Ana García", "--hub", &hub.url()]).done();
    assert_eq!(
        guest.run_with(&["join", &link, "--password-stdin"], wrong).code(),
        "invalid-conversation-password"
    );
    guest.run_with(&["join", &link, "--password-stdin"], link_password).done();
    bob.run(&["sync"]).done();
    bob.run(&["team", "create", "The harbour office"]).done();
    let invitation = bob.run(&["team", "invite"]).one()["code"].as_str().expect("a code").to_owned();
    assert_eq!(phone.run(&["team", "join", &invitation[1..]]).status(), 1);
    phone.run(&["team", "join", &invitation]).done();
    phone.run(&["session", "end", "--others"]).done();

    // The operator, whose commands reach the running hub and, after it, its data; a restore; and a hub that is not there.
    let mut operated = String::new();
    let backup = hub.directory().join("backup");
    let backup = backup.to_str().expect("UTF-8");
    for running in [true, false] {
        if !running {
            assert!(hub.terminate().success());
        }
        for args in [
            &["users", "list"][..],
            &["users", "show", "alice"],
            &["devices", "list", "alice"],
            &["sessions", "list", "alice"],
            &["sessions", "end", "alice", "--all"],
            &["users", "lock", "nobody"],
            &["statistics"],
            &["prune"],
            &["backup", backup],
            &["restore", "--replace", backup],
        ] {
            operated.push_str(&operate(&hub, args));
        }
    }
    assert_eq!(bob.run(&["send", "@alice", text]).code(), "hub-unreachable");
    bob.run(&["send", "--offline", "@alice", text]).done();
    hub.start_again();
    bob.run(&["sync"]).done();

    let mut secrets = issued(&hub);
    assert_eq!(secrets.len(), 4, "each device has a session of its own: alice, bob, phone and guest");
    secrets.extend(
        [text, passphrase, other_passphrase, password, link_password, wrong, PASSWORD].map(str::to_owned),
    );
    secrets.insert(link.rsplit_once(['#', '.']).expect("a secret").1.to_owned());
    secrets.insert(invitation);
    secrets.insert("The conspiracy of the lighthouse".to_owned());
    for device in [&bob, &phone, &guest] {
        let key = std::fs::read_to_string(device.home().join("key")).expect("a home has its key in a file");
        secrets.insert(key.trim().to_owned());
    }
    let hub_key = std::fs::read_to_string(hub.data().join("hub.key")).expect("a hub has a key");
    secrets.insert(hub_key.trim().to_owned());
    let told = [
        told.lock().expect("nobody panicked").clone(),
        String::from_utf8_lossy(&follower.stderr).into_owned(),
    ];
    let outputs = [("the hub", hub.log()), ("a client", told.concat()), ("an operator's command", operated)];
    for (who, output) in &outputs {
        assert!(
            output.contains("TRACE") || output.contains("DEBUG") || output.contains("INFO"),
            "{who}: {output}"
        );
        for secret in &secrets {
            if let Some(line) = Needle::new(secret).line_in(output) {
                panic!("{who} tells {secret}: {line}");
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
