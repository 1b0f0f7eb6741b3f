//! What no application can ask for: the other's device does what the rules of a conversation of two forbid.

use super::super::invitations;
use crate::{
    Client, MessageQuery, Suspicion,
    envelopes::{Work, intro::own_bundle},
};
use async_trait::async_trait;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tertulia_api::policy::encode;
use tertulia_conversation::{
    conversation_id,
    inbox::{Bundle, InvitesTo},
    types::{ConversationType as _, DirectV1, GroupV1, TypeId},
    wire::DirectFrame,
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, DeviceId, Protocol, Role,
    policy::{Pair, Policy},
};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, CommitOutcome, Credential, KeyPackage, MlsCommitBundle,
    MlsConversationConfiguration, MlsTransport, MlsWirePolicy, RejectReason, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};
use tertulia_transport::MemoryNetwork;
use zeroize::Zeroizing;

/// Keeps what it is to send, and sends nothing.
#[derive(Debug, Default)]
struct Capture(Mutex<Option<MlsCommitBundle>>);

impl Capture {
    fn take(&self) -> MlsCommitBundle {
        self.0.lock().expect("no panic").take().expect("something was to be sent")
    }
}

#[async_trait]
impl MlsTransport for Capture {
    async fn send_commit_bundle(
        &self,
        _: &tertulia_mls::ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        *self.0.lock().expect("no panic") = Some(bundle);
        // So nothing of it is left with who has made it.
        let (code, detail) = ("nowhere".to_owned(), "it goes nowhere".to_owned());
        CommitOutcome::Rejected(RejectReason::Refused { code, detail })
    }
}

/// The engine of a home without the rules that an honest one has.
fn lawless(client: &Client) -> (Session, Arc<Capture>) {
    let capture = Arc::new(Capture::default());
    let transport: Arc<dyn MlsTransport> = Arc::clone(&capture) as _;
    let config =
        SessionConfig { padding: client.inner().session.config().padding, ..SessionConfig::default() };
    let session = Session::open(client.inner().store.clone(), transport, config).expect("opens");
    (session, capture)
}

struct Setting {
    dir: TempDir,
    network: MemoryNetwork,
    ana: Client,
    bruno: Client,
    id: ConversationId,
}

impl Setting {
    async fn new() -> Self {
        let (dir, network) = (tempfile::tempdir().expect("a directory"), MemoryNetwork::ordered("relay"));
        let (ana, bruno) = (init(&dir, &network, "ana").await, init(&dir, &network, "bruno").await);
        let intro = bruno.intro().await.expect("an intro").to_string();
        ana.meet(&intro, None).await.expect("asks");
        bruno.sync().await.expect("hears of it");
        let from = bruno.requests().await.expect("readable")[0].from.clone();
        let id = bruno.accept(&from).await.expect("accepts").conversation;
        ana.sync().await.expect("hears of it");
        Self { dir, network, ana, bruno, id }
    }

    async fn on_mls(self) -> Self {
        self.ana.migrate(self.id).await.expect("begins");
        self.bruno.sync().await.expect("comes in");
        self.ana.sync().await.expect("hears of it");
        assert_eq!(self.ana.conversation(self.id).await.expect("known").protocol, Protocol::Mls);
        self
    }

    /// What carries the conversation of the two by MLS.
    fn direct(&self) -> ConversationId {
        self.bruno.carried_by(self.id).expect("readable").expect("there").conversation
    }

    async fn assert_talk(&self, text: &str) {
        for (from, to) in [(&self.ana, &self.bruno), (&self.bruno, &self.ana)] {
            let text = format!("{text}, by {}", from.me().user);
            from.send(self.id, &text).await.expect("sends");
            to.sync().await.expect("syncs");
            let messages = to.messages(self.id, MessageQuery::default()).await.expect("readable");
            assert!(messages.iter().any(|message| message.text == text), "{text}");
        }
    }
}

async fn init(dir: &TempDir, network: &MemoryNetwork, name: &str) -> Client {
    let carrier = Arc::new(network.endpoint(name));
    Client::builder(dir.path().join(name)).carrier(carrier).init::<&str>(&[]).await.expect("a home")
}

fn address(client: &Client) -> ClientId {
    ClientId::from(client.own_address().to_identity())
}

/// A key package of a further device that says to be this user's.
async fn further_device(dir: &TempDir, name: &str, of: &Client) -> KeyPackage {
    let store = Store::create(&dir.path().join(name), &KeySource::File).expect("a store");
    let session =
        Session::open(store, Arc::new(Capture::default()), SessionConfig::default()).expect("opens");
    let identity = DeviceAddress::new(of.me().user, DeviceId::random(), of.me().domain.clone()).to_identity();
    let credential =
        Credential::basic(ClientId::from(identity), Ciphersuite::default()).expect("a credential");
    let mut tx = session.new_transaction().await.expect("free");
    let credential = tx.add_credential(credential).expect("adds it");
    let package = tx.generate_last_resort_key_package(&credential).expect("a key package");
    tx.finish().await.expect("finishes");
    package
}

/// The key package that somebody shows.
async fn shown_by(client: &Client) -> KeyPackage {
    let bundle = client.intro().await.expect("an intro");
    KeyPackage::from_bytes(&bundle.content().devices[0].key_package).expect("one is in it")
}

#[tokio::test]
async fn a_commit_that_brings_somebody_in_or_puts_the_other_out_is_refused() {
    let setting = Setting::new().await.on_mls().await;
    let Setting { dir, network, ana, bruno, id } = &setting;
    let carla = init(dir, network, "carla").await;
    let stranger = shown_by(&carla).await;
    let of_ana = further_device(dir, "of-ana", ana).await;
    let own = further_device(dir, "of-bruno", bruno).await;
    let direct = setting.direct();
    let group = bruno.group_of(direct).expect("a group");
    let epoch = ana.epoch(*id).await.expect("in it");
    let cases = [
        ("somebody else comes in", vec![stranger], vec![]),
        ("a device that says to be the other's comes in", vec![of_ana.clone()], vec![]),
        ("the other is put out", vec![], vec![address(ana)]),
        ("the other's device is exchanged", vec![of_ana], vec![address(ana)]),
    ];
    for (number, (what, add, remove)) in cases.into_iter().enumerate() {
        let (session, capture) = lawless(bruno);
        let mut tx = session.new_transaction().await.expect("free");
        let mut guard = tx.conversation(&group).await.expect("in it");
        guard.change_members(add, &remove, CommitOptions::default()).await.expect_err("it goes nowhere");
        tx.abort();
        let MlsCommitBundle { commit, .. } = capture.take();
        // His home knows nothing of it, and is where it was.
        let mut work = Work::begin(bruno).await.expect("free");
        let record = work.conversation(direct).expect("there");
        work.post_frame::<DirectV1>(&record, &DirectFrame::Handshake(commit), None).expect("seals");
        work.finish().await.expect("writes");
        bruno.sync().await.expect("posts it");
        let report = ana.sync().await.expect("syncs");
        assert_eq!(report.undecryptable, 1, "{what}");
        let noticed = ana.suspicions().await.expect("readable");
        assert_eq!(noticed.len(), number + 1, "{what}: {noticed:?}");
        let last = noticed.last().expect("one at least");
        assert!(matches!(last.suspicion, Suspicion::ForbiddenCommit { .. }), "{what}: {last:?}");
        assert_eq!(last.conversation, *id, "{what}: it is told of the conversation that the person knows");
        assert_eq!(ana.epoch(*id).await.expect("in it"), epoch, "{what}");
        setting.assert_talk(what).await;
    }
    // By the same way a further device of one's own comes in.
    let mut tx = bruno.inner().session.new_transaction().await.expect("free");
    let mut guard = tx.conversation(&group).await.expect("in it");
    let refused = guard.change_members(vec![shown_by(&carla).await], &[], CommitOptions::default()).await;
    assert!(
        matches!(refused, Err(tertulia_mls::EngineError::AgainstTheRules(_))),
        "an honest home makes none"
    );
    guard.change_members(vec![own], &[], CommitOptions::default()).await.expect("the relay takes it");
    tx.finish().await.expect("finishes");
    ana.sync().await.expect("takes it");
    assert_eq!(ana.epoch(*id).await.expect("in it"), epoch + 1);
    setting.assert_talk("with a further device").await;
}

/// Whom and what an invitation is about that Bruno's home has not made.
struct Forged<'a> {
    what: &'static str,
    number: TypeId,
    policy: Box<dyn Fn(ConversationId) -> Policy + 'a>,
    /// Who is in it beside Ana and Bruno.
    more: Vec<KeyPackage>,
}

#[tokio::test]
async fn a_group_that_is_not_of_the_two_or_does_not_continue_their_conversation_is_not_entered() {
    let setting = Setting::new().await;
    let Setting { dir, network, ana, bruno, id } = &setting;
    let carla = init(dir, network, "carla").await;
    let [of_ana, of_bruno, of_carla] = [ana, bruno, &carla].map(|client| client.me().user);
    let relay = || bruno.carriers().ids();
    let of_two = |direct, continues, users| {
        Policy::of_two(direct, Pair { continues, times: 1 }, users).expect("two").with_carriers(relay())
    };
    let random = || ConversationId::from_bytes(rand::random());
    let direct = DirectV1::DESCRIPTOR.id;
    let mut many = Vec::new();
    for number in 0..8 {
        many.push(further_device(dir, &format!("of-bruno-{number}"), bruno).await);
    }
    let cases = [
        Forged {
            what: "it continues another conversation",
            number: direct,
            policy: Box::new(|direct| of_two(direct, random(), [of_bruno, of_ana])),
            more: vec![],
        },
        Forged {
            what: "it is of others",
            number: direct,
            policy: Box::new(|direct| of_two(direct, *id, [of_bruno, of_carla])),
            more: vec![],
        },
        Forged {
            what: "somebody else is in it",
            number: direct,
            policy: Box::new(|direct| of_two(direct, *id, [of_bruno, of_ana])),
            more: vec![shown_by(&carla).await],
        },
        Forged {
            what: "one of the two has more devices than a person has",
            number: direct,
            policy: Box::new(|direct| of_two(direct, *id, [of_bruno, of_ana])),
            more: many,
        },
        Forged {
            what: "it says to be another group",
            number: direct,
            policy: Box::new(|_| of_two(random(), *id, [of_bruno, of_ana])),
            more: vec![],
        },
        Forged {
            what: "it is a group of many",
            number: direct,
            policy: Box::new(|direct| {
                let policy = Policy::new(direct, ConversationType::Group, of_bruno).expect("a group");
                policy.with_members([of_ana], &Role::MEMBER).with_carriers(relay())
            }),
            more: vec![],
        },
        Forged {
            what: "it is sent as a group",
            number: GroupV1::DESCRIPTOR.id,
            policy: Box::new(|direct| of_two(direct, *id, [of_bruno, of_ana])),
            more: vec![],
        },
        Forged {
            what: "as it should be",
            number: direct,
            policy: Box::new(|direct| of_two(direct, *id, [of_bruno, of_ana])),
            more: vec![],
        },
    ];
    for Forged { what, number, policy, more } in cases {
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let begun = conversation_id(number, &secret);
        let (session, capture) = lawless(bruno);
        let mut tx = session.new_transaction().await.expect("free");
        let (group, credential) =
            (bruno.group_of(begun).expect("an id"), bruno.own_credential(&tx).expect("his"));
        let configuration = MlsConversationConfiguration {
            group_data: Some(encode(&policy(begun))),
            handshake: MlsWirePolicy::Ciphertext,
            custom: bruno.inner().session.config().joined.clone(),
            ..MlsConversationConfiguration::default()
        };
        tx.new_conversation(&group, &credential, configuration).expect("begins");
        let mut add = vec![shown_by(ana).await];
        add.extend(more);
        let mut guard = tx.conversation(&group).await.expect("begun");
        guard.change_members(add, &[], CommitOptions::default()).await.expect_err("it goes nowhere");
        tx.abort();
        let welcome = capture.take().welcome.expect("somebody was added");
        let shown = Bundle::decode(ana.intro().await.expect("an intro").as_bytes()).expect("hers");
        let mut work = Work::begin(bruno).await.expect("free");
        let own = own_bundle(&mut work, &bruno.identity().expect("no account"), 0).expect("a bundle");
        let invites_to = InvitesTo::Group { conversation_type: number, creation_secret: secret, welcome };
        invitations::send(&mut work, *id, (&shown, 0), &own, invites_to).expect("seals");
        work.finish().await.expect("writes");
        bruno.sync().await.expect("posts it");
        ana.sync().await.expect("syncs");
        let is_entered = ana.inner().store.read(|r| r.enveloped(begun)).expect("readable").is_some();
        assert_eq!(is_entered, what == "as it should be", "{what}");
        let group = bruno.group_of(begun).expect("an id");
        assert_eq!(ana.inner().session.conversation_exists(&group).expect("readable"), is_entered, "{what}");
        if !is_entered {
            setting.assert_talk(what).await;
        }
    }
}
