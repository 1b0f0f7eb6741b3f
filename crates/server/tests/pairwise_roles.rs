//! Roles in conversations without an MLS group, where the hub's record of them is all that there is.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::hub::{Hub, PASSWORD, Person, connect, types};
use tertulia_api::{
    Code,
    conversation::Conversation,
    event::EventBody,
    team::{Invitation, Team},
};
use tertulia_domain::{ConversationId, Protocol, UserId};

const ALL: [&str; 10] = [
    "add_member",
    "remove_member",
    "modify_name",
    "modify_message_timer",
    "modify_receipt_mode",
    "modify_access",
    "modify_other_member",
    "modify_add_permission",
    "leave",
    "delete",
];

/// A pairwise conversation of a team, of which alice is the admin.
struct Setting {
    hub: Hub,
    alice: Person,
    bob: Person,
    carol: Person,
    id: ConversationId,
}

impl Setting {
    async fn new() -> Self {
        let hub = Hub::start().await;
        let alice = Person::sign_up(&hub, "alice").await;
        let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
        alice.post("/v1/team", &json!({ "name": "Table" })).await.done::<Team>();
        for mate in [&bob, &carol] {
            let code = alice.post("/v1/team/invitations", &json!({})).await.done::<Invitation>().code;
            mate.post("/v1/team/join", &json!({ "code": code })).await.done::<Team>();
        }
        for (name, actions) in [("chair", &ALL[..]), ("steward", &["add_member", "modify_other_member"])] {
            let role = json!({ "name": name, "actions": actions });
            alice.post("/v1/team/roles", &role).await.done::<Value>();
        }
        let new = json!({ "conversation": ConversationId::random(), "team": true, "protocol": "pairwise" });
        let id = alice.post("/v1/conversations", &new).await.done::<Conversation>().conversation;
        Self { hub, alice, bob, carol, id }
    }

    fn members(&self) -> String {
        format!("/v1/conversations/{}/members", self.id)
    }

    fn role_of(&self, person: &Person) -> String {
        format!("{}/{}/role", self.members(), person.user)
    }

    /// Alice has the team define a role for its conversations.
    async fn define(&self, name: &str, actions: &[&str]) {
        let role = json!({ "name": name, "actions": actions });
        self.alice.post("/v1/team/roles", &role).await.done::<Value>();
    }

    /// Carol is given the role `host`, which lets her change the name alone.
    async fn carol_is_a_narrow_host(&self) {
        let Self { alice, carol, .. } = self;
        alice.put(&self.role_of(carol), &json!({ "role": "host" })).await.empty();
        let admin = json!({ "role": "member", "successor": carol.user });
        carol.put(&self.role_of(alice), &admin).await.refused(Code::ActionDenied);
        let known = alice.conversation(self.id).await.roles;
        let host = known.iter().find(|role| role.name.as_str() == "host").unwrap();
        assert_eq!(serde_json::to_value(host.actions).unwrap(), json!(["modify_name"]));
    }

    async fn roles(&self) -> Vec<(UserId, String)> {
        let members = self.alice.conversation(self.id).await.members;
        members.into_iter().map(|member| (member.user, member.role.to_string())).collect()
    }
}

#[tokio::test]
async fn a_member_is_added_with_a_role_that_who_adds_may_give() {
    let setting = Setting::new().await;
    let Setting { hub, alice, bob, carol, .. } = &setting;
    let members = setting.members();
    let add = |who: &Person, role: &str| json!({ "users": [who.user], "role": role });
    alice.post(&members, &add(bob, "nobody")).await.refused(Code::UnknownRole);
    alice.post(&members, &add(bob, "NOT A NAME")).await.refused(Code::UnknownRole);
    alice.post(&members, &add(bob, "steward")).await.empty();

    // A steward gives what has no more actions than they have. Whose role adds nobody is told that first.
    let rows = hub.rows();
    for role in ["admin", "wire_admin", "chair", "member"] {
        let refused = bob.post(&members, &add(carol, role)).await;
        // `leave` is not among a steward's actions, and it is what a member has.
        refused.refused(Code::RoleElevation);
    }
    carol.post(&members, &add(carol, "nobody")).await.refused(Code::NoConversation);
    assert_eq!(hub.rows(), rows);
    bob.post(&members, &add(carol, "steward")).await.empty();
    // Who is in it keeps the role.
    alice.post(&members, &add(carol, "admin")).await.empty();
    let expected = [(alice.user, "admin"), (bob.user, "steward"), (carol.user, "steward")];
    assert_eq!(setting.roles().await, expected.map(|(user, role)| (user, role.to_owned())));
    let told = carol.events().await.into_iter().find_map(|event| match event.body {
        EventBody::Members { joined, .. } => Some(joined),
        _ => None,
    });
    assert_eq!(told.unwrap()[0].role.as_str(), "steward");
    alice.delete("/v1/team/roles/steward").await.refused(Code::RoleInUse);
    alice.put(&setting.role_of(carol), &json!({ "role": "member" })).await.empty();
    carol.post(&members, &add(bob, "nobody")).await.refused(Code::ActionDenied);
}

#[tokio::test]
async fn where_everyone_may_add_they_add_members_and_nobody_with_another_role() {
    let hub = Hub::start().await;
    let alice = Person::sign_up(&hub, "alice").await;
    let (bob, carol) = (Person::sign_up(&hub, "bob").await, Person::sign_up(&hub, "carol").await);
    connect(&alice, &bob).await;
    connect(&bob, &carol).await;
    let id = alice.pairwise_group(&[&bob]).await;
    let path = format!("/v1/conversations/{id}/add-permission");
    alice.put(&path, &json!({ "add_permission": "everyone" })).await.empty();
    let members = format!("/v1/conversations/{id}/members");
    let add = |role: &str| json!({ "users": [carol.user], "role": role });
    bob.post(&members, &add("admin")).await.refused(Code::ActionDenied);
    bob.post(&members, &add("wire_member")).await.empty();
    assert_eq!(carol.conversation(id).await.members.len(), 3);
}

#[tokio::test]
async fn who_takes_the_role_from_the_last_admin_names_who_follows() {
    let setting = Setting::new().await;
    let Setting { hub, alice, bob, carol, .. } = &setting;
    for (person, role) in [(bob, "chair"), (carol, "steward")] {
        let new = json!({ "users": [person.user], "role": role });
        alice.post(&setting.members(), &new).await.empty();
    }
    let stranger = Person::sign_up(hub, "dave").await;
    let alices = setting.role_of(alice);
    let demote = |successor: Option<&Person>| match successor {
        Some(successor) => json!({ "role": "member", "successor": successor.user }),
        None => json!({ "role": "member" }),
    };
    let rows = hub.rows();
    bob.put(&alices, &demote(None)).await.refused(Code::LastAdmin);
    bob.put(&alices, &demote(Some(alice))).await.refused(Code::LastAdmin);
    bob.put(&alices, &demote(Some(bob))).await.refused(Code::RoleElevation);
    bob.put(&alices, &demote(Some(&stranger))).await.refused(Code::UnknownUser);
    // A steward may change others' roles, and not to more than their own allows.
    carol.put(&alices, &demote(Some(bob))).await.refused(Code::RoleElevation);
    assert_eq!(hub.rows(), rows);

    let before = types(&carol.events().await).len();
    bob.put(&alices, &demote(Some(carol))).await.empty();
    let roles = [(alice.user, "member"), (bob.user, "chair"), (carol.user, "admin")];
    assert_eq!(setting.roles().await, roles.map(|(user, role)| (user, role.to_owned())));
    let told: Vec<_> = carol.events().await.split_off(before).into_iter().map(|event| event.body).collect();
    let told: Vec<_> = told
        .iter()
        .map(|body| match body {
            EventBody::Role { user, role, .. } => (*user, role.as_str()),
            other => panic!("not a role: {other:?}"),
        })
        .collect();
    assert_eq!(told, [(carol.user, "admin"), (alice.user, "member")]);

    // Where another admin remains, whoever is named has nothing to follow.
    carol.put(&setting.role_of(bob), &json!({ "role": "admin" })).await.empty();
    let demoted = json!({ "role": "steward", "successor": alice.user });
    carol.put(&setting.role_of(bob), &demoted).await.empty();
    let roles = [(alice.user, "member"), (bob.user, "steward"), (carol.user, "admin")];
    assert_eq!(setting.roles().await, roles.map(|(user, role)| (user, role.to_owned())));
}

/// Those who had a role are gone, and the team defines another one under its name.
#[tokio::test]
async fn what_a_role_allowed_goes_with_the_last_who_had_it() {
    let ways = ["removed", "left", "left the team", "deleted"];
    let cases = ways.map(|way| [(way, Protocol::Pairwise), (way, Protocol::Mixed)]);
    for (way, protocol) in cases.into_iter().flatten() {
        let setting = Setting::new().await;
        let Setting { alice, bob, carol, id, .. } = &setting;
        setting.define("host", &ALL).await;
        let members = setting.members();
        for (person, role) in [(bob, "host"), (carol, "member")] {
            alice.post(&members, &json!({ "users": [person.user], "role": role })).await.empty();
        }
        alice.delete("/v1/team/roles/host").await.refused(Code::RoleInUse);
        match way {
            "removed" => alice.delete(&format!("{members}/{}", bob.user)).await.empty(),
            "left" => bob.post(&format!("/v1/conversations/{id}/leave"), &json!({})).await.empty(),
            "left the team" => bob.post("/v1/team/leave", &json!({})).await.empty(),
            _ => bob.post("/v1/self/delete", &json!({ "password": PASSWORD })).await.empty(),
        }
        // On the way to MLS a role counts as used while the conversation has it.
        if protocol == Protocol::Mixed {
            alice.set_protocol(*id, protocol).await.empty();
        }
        alice.delete("/v1/team/roles/host").await.empty();
        setting.define("host", &["modify_name"]).await;
        setting.carol_is_a_narrow_host().await;
    }
}

/// As those hubs have it that did not forget what a role allowed.
#[tokio::test]
async fn what_is_left_of_a_role_that_was_defined_otherwise_counts_for_nothing() {
    let setting = Setting::new().await;
    let Setting { hub, alice, carol, id, .. } = &setting;
    alice.post(&setting.members(), &json!({ "users": [carol.user] })).await.empty();
    setting.define("host", &["modify_name"]).await;
    let sql = "INSERT INTO conversation_roles (conversation, name, actions) VALUES (?1, 'host', 1023)";
    hub.stored().execute(sql, [id.as_bytes()]);
    setting.carol_is_a_narrow_host().await;
}

#[tokio::test]
async fn who_may_give_roles_is_shown_those_of_the_team_and_others_those_in_use() {
    let setting = Setting::new().await;
    let Setting { alice, bob, carol, id, .. } = &setting;
    for (person, role) in [(bob, "steward"), (carol, "member")] {
        let new = json!({ "users": [person.user], "role": role });
        alice.post(&setting.members(), &new).await.empty();
    }
    for (person, known) in
        [(alice, &["chair", "steward"][..]), (bob, &["chair", "steward"]), (carol, &["steward"])]
    {
        let shown = person.conversation(*id).await.roles;
        assert_eq!(shown.iter().map(|role| role.name.as_str()).collect::<Vec<_>>(), known);
    }
}
