//! Roles that are given with an addition, and the role of the last admin, in groups on MLS and pairwise alike.

use crate::support::{Hub, connect, handle, read};
use tertulia::{Action, Client, ConversationId, GroupOptions, Protocol, RoleName};

const ALL: [Action; 10] = [
    Action::AddMember,
    Action::RemoveMember,
    Action::ModifyName,
    Action::ModifyMessageTimer,
    Action::ModifyReceiptMode,
    Action::ModifyAccess,
    Action::ModifyOtherMember,
    Action::ModifyAddPermission,
    Action::Leave,
    Action::Delete,
];

/// A team of these, which defines a role with all actions and one that adds and changes roles.
async fn team(hub: &Hub) -> [Client; 4] {
    let people = [
        hub.sign_up("alice").await,
        hub.sign_up("bob").await,
        hub.sign_up("carol").await,
        hub.sign_up("dave").await,
    ];
    let [alice, mates @ ..] = &people;
    alice.create_team(&"Table".parse().expect("a name")).await.expect("makes a team");
    for mate in mates {
        let invitation = alice.invite_to_team(None).await.expect("invites");
        mate.join_team(&invitation.code).await.expect("joins");
    }
    let steward = [Action::AddMember, Action::ModifyOtherMember, Action::Leave];
    for (name, actions) in [("chair", &ALL[..]), ("steward", &steward[..])] {
        let name: RoleName = name.parse().expect("a name");
        alice.define_role(&name, actions.iter().copied().collect()).await.expect("defines it");
    }
    people
}

/// Handles and roles, as this device has them.
async fn roles(client: &Client, id: ConversationId) -> Vec<(String, String)> {
    client.sync().await.expect("syncs");
    let members = client.conversation(id).await.expect("there").members;
    let name = |handle: Option<tertulia::Handle>| handle.expect("known").to_string();
    let mut roles: Vec<_> =
        members.into_iter().map(|member| (name(member.handle), member.role.to_string())).collect();
    roles.sort();
    roles
}

fn named(roles: &[(&str, &str)]) -> Vec<(String, String)> {
    roles.iter().map(|(handle, role)| ((*handle).to_owned(), (*role).to_owned())).collect()
}

#[tokio::test]
async fn who_is_added_has_the_role_from_the_beginning_and_the_last_admin_is_followed() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let [alice, bob, carol, dave] = team(&hub).await;
        let mut options = GroupOptions::default();
        (options.protocol, options.team) = (protocol, true);
        let id = alice.create_group_as("table", &[], options).await.expect("a group").id;
        let unknown = alice.add_members_as(id, &[handle("bob")], "nobody").await.expect_err("no role");
        assert_eq!(unknown.code(), "unknown-role", "{protocol}");
        alice.add_members_as(id, &[handle("bob")], "chair").await.expect("adds");
        bob.sync().await.expect("comes in");
        bob.add_members_as(id, &[handle("carol")], "steward").await.expect("adds");
        carol.sync().await.expect("comes in");
        let elevated = carol.add_members_as(id, &[handle("dave")], "admin").await.expect_err("not hers");
        assert_eq!(elevated.code(), "role-elevation", "{protocol}");
        carol.add_members_as(id, &[handle("dave"), handle("bob")], "steward").await.expect("adds");
        let expected = [("alice", "admin"), ("bob", "chair"), ("carol", "steward"), ("dave", "steward")];
        for client in [&alice, &bob, &carol, &dave] {
            assert_eq!(roles(client, id).await, named(&expected), "{protocol}");
        }

        // Nobody takes the role from the last admin without saying who follows, and nobody follows whom one may not make admin.
        for (by, successor, code) in [
            (&bob, None, "last-admin"),
            (&bob, Some("bob"), "role-elevation"),
            (&carol, Some("dave"), "role-elevation"),
        ] {
            let successor = successor.map(handle);
            let refused = by.set_role_naming(id, &handle("alice"), "member", successor.as_ref()).await;
            assert_eq!(refused.expect_err("refused").code(), code, "{protocol}");
        }
        bob.set_role_naming(id, &handle("alice"), "member", Some(&handle("dave"))).await.expect("both");
        let expected = [("alice", "member"), ("bob", "chair"), ("carol", "steward"), ("dave", "admin")];
        for client in [&alice, &bob, &carol, &dave] {
            assert_eq!(roles(client, id).await, named(&expected), "{protocol}");
            assert!(client.suspicions().await.expect("readable").is_empty(), "{protocol}");
        }
        dave.send(id, "thank you").await.expect("sends");
        assert_eq!(read(&alice, id).await, ["thank you"], "{protocol}");
    }
}

#[tokio::test]
async fn who_may_give_no_roles_is_told_that_whatever_role_they_name() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let [alice, bob, carol, _dave] = team(&hub).await;
        let mut options = GroupOptions::default();
        (options.protocol, options.team) = (protocol, true);
        alice.sync().await.expect("knows the team");
        let people = [handle("bob"), handle("carol")];
        let id = alice.create_group_as("table", &people, options).await.expect("a group").id;
        for client in [&bob, &carol] {
            client.sync().await.expect("comes in");
        }
        // A role of the team that nobody has here, one that there is not, what is no name of one, and one that everybody knows.
        for role in ["chair", "nobody", "NOT A NAME", "admin"] {
            let refused = bob.set_role(id, &handle("carol"), role).await.expect_err("not his");
            assert_eq!(refused.code(), "action-denied", "{protocol}, {role}");
            let refused = bob.add_members_as(id, &[handle("dave")], role).await.expect_err("not his");
            assert_eq!(refused.code(), "action-denied", "{protocol}, {role}");
        }
        let expected = named(&[("alice", "admin"), ("bob", "member"), ("carol", "member")]);
        assert_eq!(roles(&carol, id).await, expected, "{protocol}");
        // Who may is told that there is no such role.
        for role in ["nobody", "NOT A NAME"] {
            let unknown = alice.set_role(id, &handle("carol"), role).await.expect_err("no role");
            assert_eq!(unknown.code(), "unknown-role", "{protocol}, {role}");
        }
    }
}

/// Whoever leaves and names somebody changes nothing as long as another admin is there, whatever the messages are encrypted by; and the
/// home of who leaves need not have heard who that is.
#[tokio::test]
async fn a_successor_becomes_admin_only_of_a_group_that_would_have_none() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let [alice, bob, carol, dave] = team(&hub).await;
        let mut options = GroupOptions::default();
        (options.protocol, options.team) = (protocol, true);
        let others = [handle("bob"), handle("carol"), handle("dave")];
        alice.sync().await.expect("hears who is in the team");
        let id = alice.create_group_as("table", &others, options).await.expect("a group").id;
        bob.sync().await.expect("comes in");
        alice.set_role(id, &handle("bob"), "admin").await.expect("promotes");
        carol.sync().await.expect("comes in");

        // Carol is none and Alice is one of two: nobody follows either.
        carol.leave(id, Some(&handle("dave"))).await.expect("leaves");
        let expected = [("alice", "admin"), ("bob", "admin"), ("dave", "member")];
        assert_eq!(roles(&alice, id).await, named(&expected), "{protocol}");
        alice.leave(id, Some(&handle("dave"))).await.expect("leaves");
        // Bob has not heard that he is the last.
        let refused = bob.leave(id, None).await.expect_err("the last admin");
        assert_eq!(refused.code(), "last-admin", "{protocol}");
        assert_eq!(roles(&dave, id).await, named(&[("bob", "admin"), ("dave", "member")]), "{protocol}");
        bob.leave(id, Some(&handle("dave"))).await.expect("with a successor");
        assert_eq!(roles(&dave, id).await, named(&[("dave", "admin")]), "{protocol}");
        dave.rename(id, "Dave's table").await.expect("an admin may");
    }
}

/// Alice, who has a team with the role `host`; Bob, who is in it; and Zoe, who has a team of her own, in which `host` means everything.
async fn two_teams(hub: &Hub) -> [Client; 3] {
    let people = [hub.sign_up("alice").await, hub.sign_up("bob").await, hub.sign_up("zoe").await];
    let [alice, bob, zoe] = &people;
    let host: RoleName = "host".parse().expect("a name");
    for (owner, actions) in [(alice, &[Action::ModifyName, Action::Leave][..]), (zoe, &ALL[..])] {
        owner.create_team(&"Table".parse().expect("a name")).await.expect("makes a team");
        owner.define_role(&host, actions.iter().copied().collect()).await.expect("defines it");
    }
    let invitation = alice.invite_to_team(None).await.expect("invites");
    bob.join_team(&invitation.code).await.expect("joins");
    connect(alice, zoe).await;
    people
}

/// A group of Alice's team in which Zoe, who is not in it, is admin too.
async fn with_an_admin_from_outside(alice: &Client, zoe: &Client, protocol: Protocol) -> ConversationId {
    let mut options = GroupOptions::default();
    (options.protocol, options.team) = (protocol, true);
    let id = alice.create_group_as("table", &[handle("bob")], options).await.expect("a group").id;
    alice.add_members_as(id, &[handle("zoe")], "admin").await.expect("adds");
    zoe.sync().await.expect("comes in");
    id
}

/// Bob has the role as Alice's team defines it, and not as Zoe's does.
async fn is_host(bob: &Client, id: ConversationId) {
    bob.sync().await.expect("syncs");
    bob.rename(id, "Bob's table").await.expect("a host may");
    let denied = bob.set_role(id, &handle("zoe"), "member").await.expect_err("a host may not");
    assert_eq!(denied.code(), "action-denied");
}

#[tokio::test]
async fn an_admin_from_outside_gives_the_roles_of_the_conversations_team() {
    for protocol in [Protocol::Mls, Protocol::Pairwise] {
        let hub = Hub::start().await;
        let [alice, bob, zoe] = two_teams(&hub).await;
        let id = with_an_admin_from_outside(&alice, &zoe, protocol).await;
        zoe.set_role(id, &handle("bob"), "host").await.expect("gives it");
        for client in [&alice, &bob, &zoe] {
            let expected = [("alice", "admin"), ("bob", "host"), ("zoe", "admin")];
            assert_eq!(roles(client, id).await, named(&expected), "{protocol}");
        }
        is_host(&bob, id).await;
        let unknown = zoe.set_role(id, &handle("bob"), "nobody").await.expect_err("no role");
        assert_eq!(unknown.code(), "unknown-role", "{protocol}");
    }
}

#[tokio::test]
async fn an_admin_from_outside_migrates_a_group_with_its_roles() {
    let hub = Hub::start().await;
    let [alice, bob, zoe] = two_teams(&hub).await;
    let id = with_an_admin_from_outside(&alice, &zoe, Protocol::Pairwise).await;
    alice.set_role(id, &handle("bob"), "host").await.expect("gives it");
    zoe.migrate(id).await.expect("migrates");
    let expected = [("alice", "admin"), ("bob", "host"), ("zoe", "admin")];
    for client in [&alice, &bob, &zoe] {
        assert_eq!(roles(client, id).await, named(&expected));
    }
    is_host(&bob, id).await;
    bob.send(id, "by the group").await.expect("sends");
    assert_eq!(read(&zoe, id).await, ["by the group"]);
}

#[tokio::test]
async fn a_group_whose_team_is_no_more_is_migrated_with_its_roles() {
    let hub = Hub::start().await;
    let [alice, bob, zoe] = two_teams(&hub).await;
    let yuri = hub.sign_up("yuri").await;
    connect(&alice, &yuri).await;
    let id = with_an_admin_from_outside(&alice, &zoe, Protocol::Pairwise).await;
    alice.add_members_as(id, &[handle("yuri")], "host").await.expect("adds");
    yuri.sync().await.expect("comes in");
    // Who leaves the team leaves its groups, and it ends with the last.
    bob.leave_team().await.expect("leaves");
    alice.leave_team().await.expect("leaves");
    zoe.sync().await.expect("syncs");
    zoe.migrate(id).await.expect("migrates");
    for client in [&yuri, &zoe] {
        assert_eq!(roles(client, id).await, named(&[("yuri", "host"), ("zoe", "admin")]));
    }
    yuri.rename(id, "Yuri's table").await.expect("a host may");
}
