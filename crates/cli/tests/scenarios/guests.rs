//! Guests and services, as their commands show them.

use crate::support::Hub;

#[test]
fn a_guest_comes_in_without_a_password_and_goes_without_one() {
    let hub = Hub::start();
    let alice = hub.sign_up("alice");
    let ana = hub.device("ana");
    let me = ana.run(&["guest", "--name", "Ana García", "--hub", &hub.url()]).one();
    assert_eq!(me["kind"], "guest");
    assert!(me["handle"].as_str().unwrap().starts_with("guest-") && me["expires_at"].is_string());
    assert_eq!(ana.run(&["whoami"]).one(), me);
    let profile = ana.run(&["profile"]).one();
    assert_eq!((&profile["name"], &profile["kind"]), (&"Ana García".into(), &"guest".into()));
    for refused in [
        &["connect", "alice"][..],
        &["search", "al"],
        &["group", "create", "Mine"],
        &["channel", "create", "Mine"],
        &["team", "create", "Mine"],
        &["password"],
    ] {
        let code = ana.run_with(refused, "").code();
        let expected = match refused[0] {
            "channel" => "no-team",
            "password" => "no-secret",
            _ => "guest-denied",
        };
        assert_eq!(code, expected, "{refused:?}");
    }
    assert_eq!(alice.run(&["connect", me["handle"].as_str().unwrap()]).code(), "invalid-user");
    assert_eq!(ana.run(&["guest", "--name", "Ana", "--hub", &hub.url()]).code(), "home-in-use");
    ana.run(&["account", "delete"]).done();
    assert_eq!(ana.run(&["sync"]).code(), "device-removed");
}

#[test]
fn a_service_is_marked_wherever_it_is_shown() {
    let hub = Hub::start();
    let (alice, clock) = (hub.sign_up("alice"), hub.device("clock"));
    assert_eq!(clock.run(&["signup", "clock", "--service", "--hub", &hub.url()]).one()["kind"], "service");
    assert_eq!(alice.run(&["whoami"]).one()["kind"], "person");
    alice.befriend(&clock);
    assert_eq!(alice.run(&["profile", "clock"]).one()["kind"], "service");
    assert_eq!(alice.run(&["search", "cl"]).one()["kind"], "service");
    alice.run(&["group", "create", "time", "clock"]).done();
    let members = alice.run(&["group", "members", "time"]).lines();
    let kinds: Vec<_> = members.iter().map(|member| member["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["person", "service"]);
}
