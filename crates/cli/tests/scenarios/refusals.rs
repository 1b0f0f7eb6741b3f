//! Bad input at the command line: the exit status, and the stable code on standard error.

use crate::support::Hub;
use std::io::{BufRead as _, BufReader};

#[test]
fn what_the_hub_refuses_has_its_code_and_changes_nothing() {
    let hub = Hub::start();
    let (alice, bob, mallory) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("mallory"));
    alice.befriend(&bob);
    let group = alice.run(&["group", "create", "private", "bob"]).one();
    let group = group["conversation"].as_str().unwrap();
    alice.send("private", "among us");

    for (device, args, code) in [
        (&alice, &["connect", "nobody"][..], "invalid-user"),
        (&alice, &["connect", "alice"], "invalid-user"),
        (&alice, &["accept", "mallory"], "not-connected"),
        (&alice, &["send", "@mallory", "hello"], "not-connected"),
        (&alice, &["send", "@nobody", "hello"], "not-connected"),
        (&alice, &["send", "nothing of that name", "hello"], "unknown-target"),
        (&alice, &["read", "nothing of that name"], "unknown-target"),
        (&alice, &["group", "add", "private", "mallory"], "not-connected"),
        (&alice, &["group", "remove", "private", "mallory"], "no-such-member"),
        (&alice, &["group", "create", "with a stranger", "mallory"], "not-connected"),
        (&alice, &["send", "private", ""], "empty-text"),
        // A conversation that one is not in does not exist, even if one knows its id.
        (&mallory, &["send", group, "let me in"], "unknown-target"),
        (&mallory, &["read", group], "unknown-target"),
        (&mallory, &["group", "add", group, "mallory"], "unknown-target"),
    ] {
        assert_eq!(device.run(args).code(), code, "{} {args:?}", device.handle());
    }
    assert_eq!(bob.texts("private"), ["among us"]);
    assert_eq!(alice.run(&["list"]).lines().len(), 2);
    assert_eq!(mallory.run(&["list"]).lines().len(), 0);
}

#[test]
fn a_wrong_password_and_an_unknown_handle_are_not_told_apart() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let stranger = hub.device("alice");
    let log_in = |handle| {
        let mut command = stranger.command(&["login", handle, "--hub", stranger.hub()]);
        let output = command.env("TERTULIA_PASSWORD", "not the password").output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), stderr.lines().next().unwrap().to_owned())
    };
    let (wrong, unknown) = (log_in("alice"), log_in("alicia"));
    assert!(wrong.1.starts_with("error[invalid-credentials]: "), "{}", wrong.1);
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.0, Some(1));
    // The home is as if nothing had been tried, and the right password still works.
    assert_eq!(stranger.run(&["whoami"]).code(), "not-signed-in");
    stranger.run(&["login", "alice", "--hub", stranger.hub()]).done();
    assert_eq!(alice.run(&["device", "list"]).lines().len(), 2);
}

#[test]
fn a_sign_up_that_cannot_be_is_refused() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let other = hub.device("alice");
    assert_eq!(other.run(&["signup", "alice", "--hub", other.hub()]).code(), "handle-taken");
    let mut short = other.command(&["signup", "albert", "--hub", other.hub()]);
    let output = short.env("TERTULIA_PASSWORD", "short").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error[invalid-password]: "));
    // A home is one device of one user.
    assert_eq!(alice.run(&["signup", "albert", "--hub", alice.hub()]).code(), "home-in-use");
    assert_eq!(alice.run(&["whoami"]).one()["handle"], "alice");
    // The home in which it failed is still good for another try.
    other.run(&["signup", "albert", "--hub", other.hub()]).done();
}

#[test]
fn a_home_that_nobody_has_signed_in_with_says_so() {
    let hub = Hub::start();
    let nobody = hub.device("nobody");
    for args in [&["whoami"][..], &["list"], &["sync"], &["connect", "bob"], &["read", "@bob", "--offline"]] {
        assert_eq!(nobody.run(args).code(), "not-signed-in", "{args:?}");
    }
    assert!(!nobody.home().exists(), "asking leaves nothing behind");
}

#[test]
fn a_text_that_is_too_long_is_refused_and_nothing_is_sent() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    for length in [300_000, 2_000_000] {
        let answer = alice.run_with(&["send", "@bob"], &"x".repeat(length));
        assert_eq!(answer.code(), "text-too-long", "{length}");
    }
    // From standard input, a text may have lines.
    alice.run_with(&["send", "@bob"], "two\nlines\n").done();
    assert_eq!(bob.texts("@alice"), ["two\nlines"]);
}

#[test]
fn a_wrong_command_line_is_told_apart_from_a_refusal() {
    let hub = Hub::start();
    let device = hub.device("alice");
    for args in [
        &[][..],
        &["frobnicate"],
        &["send"],
        &["connect"],
        &["connect", "Not A Handle!"],
        &["signup", "alice"],
        &["signup", "alice", "--hub", "not an address"],
        &["read", "@bob", "--limit", "0"],
        &["read", "@bob", "--limit", "many"],
        &["group", "role", "garden", "bob", "Emperor!"],
        &["group", "add", "garden"],
        &["serve", "--listen", "nowhere"],
    ] {
        device.run(args).usage();
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    alice.befriend(&bob);
    // More than a pipe holds.
    for n in 0..3 {
        alice.send("@bob", &format!("{n}{}", " and so on".repeat(5_000)));
    }
    let mut read = bob.spawn(&["read", "@alice"]);
    let mut line = String::new();
    let mut stdout = BufReader::new(read.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    drop(stdout);
    let output = read.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn guessing_a_password_is_slowed_down() {
    let hub = Hub::start();
    hub.sign_up("alice");
    let stranger = hub.device("alice");
    let guess = |number: usize| {
        let guess = format!("guess number {number}\n");
        let args = ["login", "alice", "--hub", stranger.hub(), "--password-stdin"];
        stranger.run_with(&args, &guess).code()
    };
    // The bound is the hub's to choose; that there is one, and that it comes soon, is what counts.
    let codes: Vec<_> = (0..30).map(guess).take_while(|code| code == "invalid-credentials").collect();
    assert!((3..30).contains(&codes.len()), "refused to listen after {} guesses", codes.len());
    assert_eq!(guess(30), "rate-limited");
    // Others are not in the way of it.
    hub.sign_up("bob");
    hub.log_in("bob");
}
