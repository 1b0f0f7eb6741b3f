//! A hub that lies: it adds whom nobody added, gives roles, repeats and withholds commits, offers what is over. The client refuses
//! or notices it, and says so.

use crate::{
    lying_hub::{LyingHub, MadeUp, external_commit, intruder_who_adds, made_up_group},
    support::{Hub, PASSWORD, connect, group, handle, read, texts},
    watch::Watch,
};
use futures::StreamExt as _;
use std::{
    pin::pin,
    time::{Duration, SystemTime},
};
use tertulia::{
    Client, ClientEvent, Conversation, ConversationId, Error, ErrorKind, LinkOptions, RoleName, Suspicion,
};
use tertulia_api::{
    Base64, Code, UserDevice,
    event::{Event, EventBody, LogEntry},
    policy::encode,
};
use tertulia_domain::{DeviceId, GroupId, Role, UserId, policy::Policy};

/// Alice with an honest hub, Bob with one that lies to him, and a group of both.
pub(crate) struct Setting {
    pub(crate) hub: Hub,
    pub(crate) liar: LyingHub,
    pub(crate) alice: Client,
    pub(crate) bob: Client,
    pub(crate) table: Conversation,
    pub(crate) one_to_one: ConversationId,
    /// What Bob's events tell.
    pub(crate) watch: Watch,
}

impl Setting {
    pub(crate) async fn new() -> Self {
        let hub = Hub::start().await;
        let liar = LyingHub::before(&hub).await;
        let alice = hub.sign_up("alice").await;
        let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
        let bob = bob.expect("signs up");
        let one_to_one = connect(&alice, &bob).await;
        let table = group(&alice, "Friday table", &[&bob]).await;
        alice.send(one_to_one, "just us").await.expect("sends");
        assert_eq!(read(&bob, one_to_one).await, ["just us"]);
        let watch = Watch::over(&bob).await;
        Self { hub, liar, alice, bob, table, one_to_one, watch }
    }

    /// An event in a conversation's log, behind everything that Bob has seen of it.
    pub(crate) fn entry(&self, conversation: ConversationId) -> LogEntry {
        let last =
            self.liar.seen().iter().filter_map(|event| event.body.entry().cloned()).fold(0, |last, entry| {
                if entry.conversation == conversation { last.max(entry.sequence) } else { last }
            });
        LogEntry { conversation, sequence: last + 1, sent_at: 1, sender: Some(mallory()) }
    }

    /// A commit with which a device of this user comes into the group, as the hub itself can make it.
    pub(crate) async fn intrusion(&self, conversation: ConversationId, by: UserDevice) -> Event {
        // The hub has the group info of every group.
        let newest = self.hub.group_info(conversation);
        let identity = format!("{}:{}@{}", by.user, by.device, self.bob.me().domain);
        let commit = external_commit(&self.hub.home("mallory"), &newest, &identity).await;
        let epoch = self.bob.epoch(conversation).await.expect("in it") + 1;
        let entry = LogEntry { sender: Some(by), ..self.entry(conversation) };
        event(EventBody::Commit { entry, epoch, commit: Base64(commit), welcome: None, message: None })
    }

    pub(crate) async fn suspicions(&self) -> Vec<Suspicion> {
        self.bob.suspicions().await.expect("readable").into_iter().map(|noticed| noticed.suspicion).collect()
    }
}

/// A user's device as the hub names it.
pub(crate) fn device_of(client: &Client) -> UserDevice {
    UserDevice { user: client.me().user, device: client.me().device }
}

/// A device that the hub makes up.
pub(crate) fn mallory() -> UserDevice {
    UserDevice { user: UserId::from_bytes([0x66; 16]), device: DeviceId::new(0x666) }
}

/// Has a device commit in all its groups, for the `nth` time.
pub(crate) async fn rotate(client: &Client, nth: u32) {
    let later = SystemTime::now() + nth * Duration::from_hours(31 * 24);
    assert_eq!(client.rotate_keys(later).await.expect("rotates"), 2);
}

/// The cursor is filled in on the way.
pub(crate) fn event(body: EventBody) -> Event {
    Event { cursor: String::new(), body }
}

#[tokio::test]
async fn a_hub_that_adds_a_member_by_itself_is_refused() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, one_to_one, .. } = &setting;
    for conversation in [table.id, *one_to_one] {
        let epoch = bob.epoch(conversation).await.expect("in it");
        let intrusion = setting.intrusion(conversation, mallory()).await;
        std::fs::remove_dir_all(setting.hub.home("mallory")).expect("it was made");
        liar.say_once(intrusion);
        let report = bob.sync().await.expect("syncs");
        assert_eq!(report.suspicious, 1);
        assert!(
            matches!(setting.suspicions().await.last(), Some(Suspicion::ForbiddenCommit { .. })),
            "{:?}",
            setting.suspicions().await
        );
        assert_eq!(bob.epoch(conversation).await.expect("in it"), epoch);
        let refused = bob.send(conversation, "who is there?").await.expect_err("he keeps out");
        assert_eq!((refused.code(), refused.kind()), ("distrusted", ErrorKind::Peer));
    }
    let members = bob.conversation(table.id).await.expect("there").members;
    assert_eq!(members.len(), 2, "nobody was added");

    // What follows is not read, and not said to be withheld as well.
    alice.send(table.id, "after it").await.expect("sends");
    let after = setting.suspicions().await.len();
    assert!(texts(bob, table.id).await.is_empty());
    bob.sync().await.expect("syncs");
    assert_eq!(setting.suspicions().await.len(), after);

    // Bob decides to go on with whoever is in it now.
    liar.repent();
    bob.trust(table.id).await.expect("joins again");
    alice.sync().await.expect("sees it");
    alice.send(table.id, "welcome back").await.expect("sends");
    assert_eq!(read(bob, table.id).await.last().map(String::as_str), Some("welcome back"));
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_further_device_that_the_hub_vouches_for_is_told() {
    let setting = Setting::new().await;
    let Setting { hub, bob, alice, table, .. } = &setting;
    let tablet = hub.log_in("alice", "tablet").await;
    tablet.send(table.id, "from the tablet").await.expect("sends");
    assert_eq!(read(bob, table.id).await, ["from the tablet"]);
    let (user, device) = (alice.me().user, tablet.me().device);
    assert!(setting.suspicions().await.contains(&Suspicion::NewDevice { user, device }));
    setting.watch.tells_all().await;
}

/// The hub makes up a device of Alice, who is admin. Bob cannot know that it is not hers, and what it does is in her rights: he is
/// told of the device, and of what it does.
#[tokio::test]
async fn what_a_device_does_that_the_hub_makes_up_for_an_admin_is_told() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let zoe = hub.sign_up("zoe").await;
    let made_up = UserDevice { user: alice.me().user, device: mallory().device };
    let identity = format!("{}:{}@{}", made_up.user, made_up.device, bob.me().domain);
    let group = GroupId::first(table.id).to_bytes();
    let [joining, adding] = intruder_who_adds(
        &hub.home("mallory"),
        (&group.as_slice().into(), &hub.group_info(table.id)),
        &identity,
        (zoe.me().user, &hub.key_package(zoe.me().user)),
    )
    .await;
    let epoch = bob.epoch(table.id).await.expect("in it");
    let first = LogEntry { sender: Some(made_up), ..setting.entry(table.id) };
    let second = LogEntry { sequence: first.sequence + 1, ..first.clone() };
    let commit = |(entry, epoch, commit)| {
        event(EventBody::Commit { entry, epoch, commit: Base64(commit), welcome: None, message: None })
    };
    liar.say_all_once([(first, epoch + 1, joining), (second, epoch + 2, adding)].map(commit).into());
    assert_eq!(bob.sync().await.expect("syncs").suspicious, 2);
    let UserDevice { user, device } = made_up;
    let told = setting.suspicions().await;
    assert_eq!(
        told[told.len() - 2..],
        [Suspicion::NewDevice { user, device }, Suspicion::ChangedByNewDevice { user, device }]
    );
    let members = bob.conversation(table.id).await.expect("there").members;
    assert!(members.iter().any(|member| member.user == zoe.me().user), "it is in the admin's rights");
    setting.watch.tells_all().await;
}

/// What an admin's further device does is told once, and what her first one does is not.
#[tokio::test]
async fn what_a_further_device_changes_is_told_once() {
    let setting = Setting::new().await;
    let Setting { hub, bob, alice, table, .. } = &setting;
    let tablet = hub.log_in("alice", "tablet").await;
    let (user, device) = (alice.me().user, tablet.me().device);
    let told = async || {
        bob.sync().await.expect("syncs");
        let suspicions = setting.suspicions().await;
        let by_tablet = Suspicion::ChangedByNewDevice { user, device };
        suspicions.iter().filter(|suspicion| **suspicion == by_tablet).count()
    };
    tablet.send(table.id, "from the tablet").await.expect("sends");
    alice.set_role(table.id, &handle("bob"), "admin").await.expect("gives the role");
    assert_eq!(told().await, 0);
    tablet.sync().await.expect("syncs");
    for (role, count) in [("member", 1), ("admin", 1)] {
        tablet.set_role(table.id, &handle("bob"), role).await.expect("changes the role");
        assert_eq!(told().await, count);
    }
    setting.watch.tells_all().await;
}

/// Nobody has to sign that an admin is gone. So the hub can say so of all of them, and together with the member who follows by rule
/// it adds whom it likes. Everybody is told who follows.
#[tokio::test]
async fn who_is_admin_because_the_hub_says_that_the_admins_are_gone_is_told() {
    let hub = Hub::start().await;
    let alice = hub.sign_up("alice").await;
    let (bob, carol, zoe) = (hub.sign_up("bob").await, hub.sign_up("carol").await, hub.sign_up("zoe").await);
    for (a, b) in [(&alice, &bob), (&alice, &carol), (&bob, &zoe)] {
        connect(a, b).await;
    }
    let table = group(&alice, "Friday table", &[&bob]).await;
    alice.add_members(table.id, &[handle("carol")]).await.expect("adds");
    bob.sync().await.expect("syncs");
    carol.sync().await.expect("syncs");
    let watches = [Watch::over(&bob).await, Watch::over(&carol).await];
    // The hub does to Alice's account what it does when she says so.
    let by_the_hub = hub.log_in("alice", "by-the-hub").await;
    by_the_hub.delete_account(PASSWORD).await.expect("deletes it");
    bob.sync().await.expect("is admin now");
    bob.add_members(table.id, &[handle("zoe")]).await.expect("adds");
    carol.sync().await.expect("syncs");
    let follows = Suspicion::Succession { user: bob.me().user };
    for client in [&bob, &carol] {
        let noticed = client.suspicions().await.expect("readable");
        let told = noticed.iter().filter(|noticed| noticed.suspicion == follows);
        assert_eq!(told.count(), 1, "{noticed:?}");
        let members = client.conversation(table.id).await.expect("there").members;
        assert_eq!(members.len(), 3);
    }
    for watch in watches {
        watch.tells_all().await;
    }
}

#[tokio::test]
async fn a_role_that_the_hub_gives_by_itself_does_not_count() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    let role = |user, role| event(EventBody::Role { entry: setting.entry(table.id), user, role });
    for (user, forged) in [(bob.me().user, RoleName::ADMIN), (alice.me().user, RoleName::MEMBER)] {
        liar.say_once(role(user, forged));
        assert_eq!(bob.sync().await.expect("syncs").suspicious, 1);
        assert_eq!(setting.suspicions().await.last(), Some(&Suspicion::ForgedRole { user }));
    }
    let members = bob.conversation(table.id).await.expect("there").members;
    let roles: Vec<_> = members.iter().map(|member| (member.user, member.role.as_str())).collect();
    assert_eq!(roles, [(alice.me().user, "admin"), (bob.me().user, "member")]);

    // A true one does, and is nothing to be told of.
    liar.repent();
    alice.set_role(table.id, &handle("bob"), "admin").await.expect("gives the role");
    let before = setting.suspicions().await.len();
    bob.sync().await.expect("syncs");
    assert_eq!(setting.suspicions().await.len(), before);
    let members = bob.conversation(table.id).await.expect("there").members;
    assert!(members.iter().all(|member| member.role == RoleName::ADMIN), "{members:?}");
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_commit_that_is_delivered_again_as_a_new_one_is_noticed() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    rotate(alice, 1).await;
    bob.sync().await.expect("syncs");
    let old = liar.seen().into_iter().rev().find_map(|event| match event.body {
        EventBody::Commit { entry, commit, .. } if entry.conversation == table.id => Some(commit),
        _ => None,
    });
    let epoch = bob.epoch(table.id).await.expect("in it") + 1;
    let again = EventBody::Commit {
        entry: setting.entry(table.id),
        epoch,
        commit: old.expect("Alice's update"),
        welcome: None,
        message: None,
    };
    liar.say_once(event(again));
    assert_eq!(bob.sync().await.expect("syncs").suspicious, 1);
    assert_eq!(setting.suspicions().await.last(), Some(&Suspicion::Replayed { epoch }));
    alice.send(table.id, "still the same").await.expect("sends");
    assert_eq!(read(bob, table.id).await, ["still the same"]);
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_commit_that_is_withheld_is_noticed_and_the_device_comes_back() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    let id = table.id;
    liar.change_events(move |events| {
        events.retain(|event| {
            let of_table = event.body.entry().is_some_and(|entry| entry.conversation == id);
            !(of_table && matches!(event.body, EventBody::Commit { .. }))
        });
    });
    let mut events = pin!(bob.events());
    rotate(alice, 1).await;
    alice.send(id, "in the new epoch").await.expect("sends");
    bob.sync().await.expect("syncs");
    assert!(setting.suspicions().await.contains(&Suspicion::Withheld));
    liar.repent();
    bob.sync().await.expect("syncs");
    alice.sync().await.expect("syncs");
    alice.send(id, "everybody here?").await.expect("sends");
    assert_eq!(read(bob, id).await, ["everybody here?"]);
    // The stream tells it too.
    let told = loop {
        let event = events.next().await.expect("it goes on").expect("it works");
        if let ClientEvent::Suspicion(noticed) = event {
            break noticed;
        }
    };
    assert_eq!((told.conversation, told.suspicion), (id, Suspicion::Withheld));
}

/// The hub refuses what the group needs before anything can be said in it, as one does that knows of something which this device has not
/// heard of. No text is lost by that.
#[tokio::test]
async fn a_text_waits_while_the_hub_refuses_the_commit_that_comes_before_it() {
    for code in [Code::MissingProposals, Code::DeviceMismatch, Code::ProposalNotFound, Code::InvalidCommit] {
        let hub = Hub::start().await;
        let liar = LyingHub::before(&hub).await;
        let (alice, carol) = (hub.sign_up("alice").await, hub.sign_up("carol").await);
        let bob = Client::builder(hub.home("bob")).sign_up(&liar.url, "bob", PASSWORD).await;
        let bob = bob.expect("signs up");
        connect(&alice, &bob).await;
        connect(&alice, &carol).await;
        let table = group(&alice, "Friday table", &[&bob, &carol]).await;
        carol.leave(table.id, None).await.expect("leaves");
        // Her removal is proposed, and Bob commits it before he says anything.
        liar.refuse_commits(code);
        bob.sync().await.expect("syncs");
        bob.queue(table.id, "one").await.expect("keeps it");
        let queued = bob.send(table.id, "two").await.expect_err("the group is not ready");
        let Error::Queued { cause } = queued else { panic!("{code}: {queued}") };
        assert_eq!(cause.code(), code.as_str());
        let report = bob.sync().await.expect("syncs");
        assert_eq!((report.sent, report.refused), (0, 0), "{code}");
        liar.repent();
        assert_eq!(bob.sync().await.expect("syncs").sent, 2, "{code}");
        assert_eq!(read(&alice, table.id).await, ["one", "two"], "{code}");
    }
}

#[tokio::test]
async fn an_old_group_info_is_not_joined() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let id = table.id;
    let old = hub.group_info(id);
    let epoch = bob.epoch(id).await.expect("in it");
    rotate(alice, 1).await;
    bob.sync().await.expect("syncs");

    // Out of step by something that was withheld, Bob's device asks for the group as it is.
    liar.serve_group_info(old.into());
    liar.change_events(move |events| {
        events.retain(
            |event| !matches!(&event.body, EventBody::Commit { entry, .. } if entry.conversation == id),
        );
    });
    rotate(alice, 2).await;
    alice.send(id, "you cannot read this").await.expect("sends");
    bob.sync().await.expect("syncs");
    let known = epoch + 1;
    assert!(setting.suspicions().await.contains(&Suspicion::OldGroupInfo { epoch, known }));
    let Err(Error::Queued { cause }) = bob.send(id, "hello?").await else { panic!("it is not joined") };
    assert_eq!((cause.code(), cause.kind()), ("untrustworthy-hub", ErrorKind::Peer));

    liar.repent();
    bob.sync().await.expect("syncs");
    assert_eq!(read(alice, id).await, ["you cannot read this", "hello?"]);
    setting.watch.tells_all().await;
}

/// The hub tells Bob that Zoe asks to be let in, and shows this.
fn request_of(setting: &Setting, zoe: &Client, epoch: u64, proof: Option<Vec<u8>>) -> Event {
    event(EventBody::JoinRequested {
        entry: LogEntry { sender: None, ..setting.entry(setting.table.id) },
        epoch,
        user: zoe.me().user,
        handle: "zoe".to_owned(),
        proof: proof.map(Base64),
    })
}

#[tokio::test]
async fn whom_the_hub_wants_let_in_without_a_proof_stays_out_and_that_is_noticed() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    let zoe = hub.sign_up("zoe").await;
    let (user, domain) = (zoe.me().user, &zoe.me().domain);
    let link = alice.create_link(table.id, &LinkOptions::default()).await.expect("makes a link").link;
    let link = link.expect("it was made here");
    let other_table = group(alice, "Saturday table", &[]).await;
    let other = alice.create_link(other_table.id, &LinkOptions::default()).await.expect("another").link;
    let other = other.expect("it was made here");
    bob.sync().await.expect("syncs");
    let epoch = bob.epoch(table.id).await.expect("in it");
    let right = link.prove(user, domain).to_vec();
    let lies = [
        ("none at all", None),
        ("made up", Some(vec![7; 64])),
        ("of no length", Some(Vec::new())),
        ("of another conversation", Some(other.prove(user, domain).to_vec())),
        ("of another user", Some(link.prove(alice.me().user, domain).to_vec())),
        ("of another hub", Some(link.prove(user, &"other.example".parse().expect("a domain")).to_vec())),
    ];
    for (what, proof) in lies {
        let before = setting.suspicions().await.len();
        liar.say_once(request_of(&setting, &zoe, epoch, proof));
        assert_eq!(bob.sync().await.expect("syncs").suspicious, 1, "{what}");
        assert_eq!(setting.suspicions().await[before..], [Suspicion::ForgedJoin { user }], "{what}");
        assert_eq!(bob.epoch(table.id).await.expect("in it"), epoch, "{what}");
    }

    // What was true once is no more: the link was taken back.
    liar.repent();
    alice.revoke_link(table.id).await.expect("takes it back");
    bob.sync().await.expect("syncs");
    liar.say_once(request_of(&setting, &zoe, epoch + 1, Some(right.clone())));
    assert_eq!(bob.sync().await.expect("syncs").suspicious, 1);
    assert_eq!(setting.suspicions().await.last(), Some(&Suspicion::ForgedJoin { user }));
    // As of an epoch that is over it may have been true, and is of no use.
    liar.say_once(request_of(&setting, &zoe, epoch, Some(right)));
    assert_eq!(bob.sync().await.expect("syncs").suspicious, 0);
    let members = bob.conversation(table.id).await.expect("there").members;
    assert_eq!(members.len(), 2, "nobody was let in");
    assert_eq!(alice.epoch(table.id).await.expect("in it"), bob.epoch(table.id).await.expect("in it"));
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_proof_that_is_true_is_of_no_use_to_a_hub_that_adds_by_itself() {
    let setting = Setting::new().await;
    let Setting { liar, alice, bob, table, .. } = &setting;
    alice.create_link(table.id, &LinkOptions::default()).await.expect("makes a link");
    bob.sync().await.expect("syncs");
    // The hub has a proof of Mallory, say, who has the link. A member has to commit it all the same.
    let intrusion = setting.intrusion(table.id, mallory()).await;
    liar.say_once(intrusion);
    bob.sync().await.expect("syncs");
    assert!(matches!(setting.suspicions().await.last(), Some(Suspicion::ForbiddenCommit { .. })));
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn a_group_that_the_hub_begins_anew_with_roles_of_its_own_is_refused() {
    type Forgery = fn(Policy, UserId) -> Policy;
    let forgeries: [(&str, Forgery); 5] = [
        ("nothing is forged, for comparison", |policy, _| policy),
        ("whoever begins it was no member", |policy, _| policy),
        ("a member is admin who was none", |policy, bob| policy.with_role(bob, &Role::ADMIN)),
        ("it has a join link that it did not have", |policy, _| policy.with_link(Some([1; 32]))),
        ("it is open to all who ask", |policy, _| policy.with_open(true)),
    ];
    for (what, forge) in forgeries {
        let setting = Setting::new().await;
        let Setting { hub, liar, alice, bob, table, .. } = &setting;
        // The one who begins it: a device that the hub makes up, of nobody or of Alice.
        let by = if what.starts_with("whoever") { mallory().user } else { alice.me().user };
        let identity = format!("{by}:{}@{}", mallory().device, bob.me().domain);
        let policy = Policy::new(table.id, table.kind, by).expect("a group has one");
        let policy = forge(policy.with_members([bob.me().user], &Role::MEMBER), bob.me().user);
        let group_id = GroupId::first(table.id).after_reset().to_bytes();
        let key_package = hub.key_package(bob.me().user);
        let MadeUp { commit, welcome, .. } = made_up_group(
            &hub.home("mallory"),
            &group_id.as_slice().into(),
            &identity,
            encode(&policy),
            1,
            Some(&key_package),
        )
        .await;
        let sender = Some(UserDevice { user: by, device: mallory().device });
        let reset = LogEntry { sender, ..setting.entry(table.id) };
        let entry = LogEntry { sequence: reset.sequence + 1, ..reset.clone() };
        liar.say_all_once(vec![
            event(EventBody::GroupReset { entry: reset, group_id: Base64(group_id) }),
            event(EventBody::Commit {
                entry,
                epoch: 1,
                commit: Base64(commit),
                welcome: welcome.map(Base64),
                message: None,
            }),
        ]);
        bob.sync().await.expect("syncs");
        let noticed = setting.suspicions().await;
        let is_refused = matches!(noticed.last(), Some(Suspicion::ForbiddenGroup { .. }));
        if what.starts_with("nothing") {
            // A device that the hub makes up for a member can do that: it is one of the things that a hub can do.
            assert!(!is_refused && bob.epoch(table.id).await.expect("in it") == 1, "{noticed:?}");
            continue;
        }
        assert!(is_refused, "{what}: {noticed:?}");
        setting.watch.tells_all().await;
        let refused = bob.send(table.id, "who is there?").await.expect_err("he keeps out");
        assert_eq!((refused.code(), refused.kind()), ("distrusted", ErrorKind::Peer), "{what}");
    }
}
