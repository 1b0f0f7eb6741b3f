//! Guests and services, as an application sees them.

use crate::support::{Hub, PASSWORD, connect, handle, read};
use tertulia::{AccountKind, Client, DisplayName, ErrorKind, Protocol};

#[tokio::test]
async fn a_guest_has_a_home_without_a_password_and_is_told_what_takes_an_account() {
    let hub = Hub::start().await;
    let alice = hub.sign_up("alice").await;
    let name: DisplayName = "Ana García".parse().expect("a name");
    let guest = Client::builder(hub.home("ana")).sign_up_guest(&hub.url, &name).await.expect("comes in");
    let me = guest.me().clone();
    assert_eq!(me.kind, AccountKind::Guest);
    assert!(me.handle.is_for_guests() && me.expires_at.is_some());
    let profile = guest.profile().await.expect("asks");
    assert_eq!((profile.kind, profile.name), (AccountKind::Guest, Some(name.clone())));

    let team: DisplayName = "Team".parse().expect("a name");
    for refused in [
        guest.create_group("Mine", &[]).await.map(drop),
        guest.create_team(&team).await.map(drop),
        guest.join_team("code").await.map(drop),
        guest.connect(&alice.me().handle).await.map(drop),
        guest.search(&handle("al")).await.map(drop),
        guest.change_password("", PASSWORD).await,
        guest.remove_device(me.device, "").await,
    ] {
        let error = refused.expect_err("takes an account");
        assert_eq!((error.code(), error.kind()), ("guest-denied", ErrorKind::Misuse));
    }
    assert_eq!(alice.connect(&me.handle).await.expect_err("nobody").code(), "invalid-user");
    assert_eq!(alice.profile_of(&me.handle).await.expect_err("nobody").code(), "unknown-user");

    // The home is like any other, and somebody else's from the start.
    drop(guest);
    let again = Client::builder(hub.home("ana")).open().await.expect("opens");
    assert_eq!(again.me(), &me);
    again.sync().await.expect("syncs");
    let taken = Client::builder(hub.home("ana")).sign_up_guest(&hub.url, &name).await;
    assert_eq!(taken.expect_err("it is taken").code(), "home-in-use");
    again.delete_account("").await.expect("ends it");
    assert_eq!(again.sync().await.expect_err("it is no more").code(), "device-removed");
}

#[tokio::test]
async fn a_service_is_shown_as_one_to_all_that_it_talks_with() {
    let hub = Hub::start().await;
    let alice = hub.sign_up("alice").await;
    let builder = Client::builder(hub.home("clock"));
    let clock = builder.sign_up_service(&hub.url, "clock", PASSWORD).await.expect("signs up");
    assert_eq!((clock.me().kind, clock.me().expires_at), (AccountKind::Service, None));
    let tablet = hub.log_in("clock", "clocks-tablet").await;
    assert_eq!(tablet.me().kind, AccountKind::Service);
    connect(&alice, &clock).await;
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let group = alice.create_group_with("time", &[handle("clock")], protocol).await.expect("a group");
        let kinds: Vec<_> = group.members.iter().map(|member| member.kind).collect();
        assert_eq!(kinds, [AccountKind::Person, AccountKind::Service]);
        clock.sync().await.expect("joins");
        clock.send(group.id, "it is five").await.expect("sends");
        assert_eq!(read(&alice, group.id).await, ["it is five"]);
        let seen = clock.conversation(group.id).await.expect("there").members;
        assert_eq!(seen.iter().map(|member| member.kind).collect::<Vec<_>>(), kinds);
    }
    assert_eq!(alice.profile_of(&handle("clock")).await.expect("found").kind, AccountKind::Service);
    let found = alice.search(&handle("cl")).await.expect("found");
    assert_eq!(found[0].kind, AccountKind::Service);
}
