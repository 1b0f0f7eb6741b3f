//! How large a group can be of which every message has to fit into one envelope.

use std::sync::{Arc, Mutex};
use tertulia_conversation::{
    inbox::MAX_BUNDLE,
    types::{ConversationType as _, GroupV1},
    wire::{EncryptedFrame, GroupFrame},
};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, DeviceId, Role, UserId, policy::Policy,
};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, CommitOutcome, Credential, MlsCommitBundle,
    MlsConversationConfiguration, MlsTransport, MlsWirePolicy, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};

/// Takes every commit, and keeps how long what goes with it is: commit and Welcome.
#[derive(Default)]
struct Lengths(Mutex<Vec<(usize, usize)>>);

#[async_trait::async_trait]
impl MlsTransport for Lengths {
    async fn send_commit_bundle(
        &self,
        _: &tertulia_mls::ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        let frame = |frame: GroupFrame| {
            let frame = GroupV1::encode(&frame);
            EncryptedFrame { conversation_type: GroupV1::DESCRIPTOR.id, frame }.encode().len()
        };
        let commit = frame(GroupFrame::Handshake(bundle.commit));
        let welcome = bundle.welcome.map_or(0, |welcome| frame(GroupFrame::Welcome(welcome)));
        self.0.lock().expect("not poisoned").push((commit, welcome));
        CommitOutcome::Accepted
    }
}

fn address() -> DeviceAddress {
    let domain = "key.invalid".parse().expect("a domain");
    DeviceAddress::new(UserId::random(), DeviceId::random(), domain)
}

/// What relays take unless their operators say otherwise, in bytes, less what an invitation has beside the Welcome.
const ROOM: usize = (1 << 20) - MAX_BUNDLE - 1024;
/// How many are added by one commit at most.
const ADDS: usize = 250;

/// A group of the most members, each added as homes without an account add: what the longest commit and the longest Welcome take.
#[tokio::test]
#[allow(clippy::print_stdout)] // the figures are for people
async fn a_group_of_the_most_members_fits_into_envelopes_with_room_to_spare() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = Store::create(dir.path(), &KeySource::File).expect("a store");
    let lengths = Arc::new(Lengths::default());
    let config = SessionConfig { adds_per_commit: ADDS, ..SessionConfig::default() };
    let session = Session::open(store, Arc::clone(&lengths) as _, config).expect("opens");
    let mut tx = session.new_transaction().await.expect("a transaction");
    let suite = Ciphersuite::default();
    let mut credential = |address: &DeviceAddress| {
        let credential =
            Credential::basic(ClientId::from(address.to_identity()), suite).expect("a credential");
        tx.add_credential(credential).expect("is added")
    };
    let creator = address();
    let own = credential(&creator);
    let most = usize::try_from(GroupV1::DESCRIPTOR.members.max_users).expect("fits");
    let others: Vec<DeviceAddress> = (1..most).map(|_| address()).collect();
    let credentials: Vec<_> = others.iter().map(&mut credential).collect();
    let packages: Vec<_> = credentials
        .iter()
        .map(|credential| tx.generate_last_resort_key_package(credential).expect("a key package"))
        .collect();
    let conversation = ConversationId::random();
    let policy = Policy::new(conversation, ConversationType::Group, creator.user).expect("a group");
    let policy = policy.with_carriers(vec!["https://relay.example/".to_owned()]);
    let id = tertulia_mls::ConversationId::from(&conversation.as_bytes()[..]);
    let configuration = MlsConversationConfiguration {
        group_data: Some(tertulia_api::policy::encode(&policy)),
        handshake: MlsWirePolicy::Ciphertext,
        ..MlsConversationConfiguration::default()
    };
    tx.new_conversation(&id, &own, configuration).expect("a group");
    let full = policy.with_members(others.iter().map(|address| address.user), &Role::MEMBER);
    let options = || {
        // All of them from the start, which is the most that it can be.
        CommitOptions::default().with_group_data(tertulia_api::policy::encode(&full))
    };
    let mut group = tx.conversation(&id).await.expect("is there");
    for packages in packages.chunks(ADDS) {
        group.change_members(packages.to_vec(), &[], options()).await.expect("adds them");
    }
    group.update_key_material().await.expect("replaces keys");
    tx.finish().await.expect("is written");
    let lengths = lengths.0.lock().expect("not poisoned").clone();
    println!("{most} members: (commit, welcome) in bytes: {lengths:?}");
    for (commit, welcome) in lengths {
        assert!(commit.max(welcome) <= ROOM, "{commit} and {welcome} of {ROOM} bytes");
    }
}
