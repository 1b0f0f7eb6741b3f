//! Channels, as their commands show them.

use crate::support::{Device, Hub};

fn in_team(alice: &Device, others: &[&Device]) {
    alice.run(&["team", "create", "Café Gijón"]).done();
    for other in others {
        let code = alice.run(&["team", "invite"]).one()["code"].as_str().unwrap().to_owned();
        other.run(&["team", "join", &code]).done();
    }
}

#[test]
fn a_channel_is_seen_by_the_team_managed_like_a_group_and_read_by_its_members() {
    let hub = Hub::start();
    let (alice, bob, carol) = (hub.sign_up("alice"), hub.sign_up("bob"), hub.sign_up("carol"));
    assert_eq!(alice.run(&["channel", "list"]).code(), "no-team");
    assert_eq!(alice.run(&["channel", "create", "News"]).code(), "no-team");
    in_team(&alice, &[&bob, &carol]);
    assert!(bob.run(&["channel", "list"]).lines().is_empty());
    assert_eq!(bob.run(&["channel", "create", "Bob's"]).code(), "action-denied");
    let made = alice.run(&["channel", "create", "Announcements", "bob"]).one();
    assert_eq!((&made["type"], &made["name"]), (&"channel".into(), &"Announcements".into()));

    alice.send("Announcements", "for those who are in it");
    assert_eq!(bob.texts("Announcements"), ["for those who are in it"]);
    assert_eq!(carol.run(&["read", "Announcements"]).code(), "unknown-target");
    let seen = carol.run(&["channel", "list"]).one();
    assert_eq!(seen["conversation"], made["conversation"]);
    assert_eq!((&seen["members"], &seen["joined"]), (&2.into(), &false.into()));
    assert_eq!(bob.run(&["channel", "list"]).one()["joined"], true);

    // Whoever comes knows the name from the hub, and everybody sees another one.
    alice.run(&["group", "add", "Announcements", "carol"]).done();
    assert_eq!(carol.listed("Announcements").unwrap()["type"], "channel");
    assert_eq!(bob.run(&["group", "rename", "Announcements", "Bob's"]).code(), "action-denied");
    assert_eq!(alice.run(&["group", "rename", "Announcements", "News"]).one()["name"], "News");
    assert!(bob.listed("News").is_some() && carol.listed("News").is_some());
    assert_eq!(bob.run(&["channel", "list"]).one()["name"], "News");
    let phone = hub.log_in("carol");
    phone.send("News", "from the phone");
    assert_eq!(alice.texts("News").last().unwrap(), "from the phone");

    // Who may add people is the channel's own rule.
    let dave = hub.sign_up("dave");
    bob.befriend(&dave);
    assert_eq!(bob.run(&["group", "add", "News", "dave"]).code(), "action-denied");
    alice.run(&["group", "adders", "News", "everyone"]).done();
    bob.run(&["group", "add", "News", "dave"]).done();
    bob.send("News", "dave is no team mate");
    assert_eq!(dave.texts("News"), ["dave is no team mate"]);
    assert_eq!(dave.run(&["channel", "list"]).code(), "no-team");

    // Who leaves the team leaves its channels.
    carol.run(&["team", "leave"]).done();
    assert_eq!(carol.run(&["send", "News", "hello?"]).code(), "no-conversation");
    assert_eq!(alice.run(&["channel", "list"]).one()["members"], 3);
}

#[test]
fn a_pairwise_channel_has_its_name_from_the_hub_too() {
    let hub = Hub::start();
    let (alice, bob) = (hub.sign_up("alice"), hub.sign_up("bob"));
    in_team(&alice, &[&bob]);
    alice.run(&["channel", "create", "Pairs", "bob", "--protocol", "pairwise"]).done();
    alice.send("Pairs", "one by one");
    assert_eq!(bob.texts("Pairs"), ["one by one"]);
    alice.run(&["group", "rename", "Pairs", "Couples"]).done();
    bob.send("Couples", "renamed");
    assert_eq!(alice.run(&["group", "migrate", "Couples"]).one()["protocol"], "mls");
    alice.send("Couples", "on MLS");
    assert_eq!(bob.texts("Couples"), ["one by one", "renamed", "on MLS"]);
}
