//! Misuse: each has a typed error of its own, and leaves everything as it was, in memory, on disk and at the hub.
#![allow(clippy::unwrap_used)]

mod common;

use std::{fmt::Debug, fs, time::Duration};

use common::{AnyIdentity, Device, Fault, Hub, assert_same_state, client_id, conversation, outcomes, two};
use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, ExtensionList, MlsMessage,
    client_builder::MlsConfig,
    identity::{SigningIdentity, basic::BasicCredential},
    time::MlsTime,
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use tertulia_mls::{
    BACKDATE, Ciphersuite, ClientId, CommitOptions, ConversationId, Credential, CredentialFilter,
    EngineError, ErrorKind, JoinOptions, KeyPackage, KeyPackageSecrets, MAX_LIFETIME,
    MlsConversationConfiguration, Outcome, SessionConfig, VerifiableGroupInfo,
};

/// What must not change: what the conversation is, how often the store was written, and what the hub has.
type State = (u64, Vec<u8>, Vec<u8>, Vec<ClientId>, usize, bool, Vec<u8>, usize, u64);

fn state(device: &Device, id: &ConversationId) -> State {
    let view = device.session.conversation(id).unwrap();
    (
        view.epoch(),
        view.epoch_authenticator().unwrap(),
        view.export_secret_key(32).unwrap().to_vec(),
        view.client_ids().unwrap(),
        view.pending_proposals(),
        view.pending_commit().is_some(),
        // The store counts its writes there.
        fs::read(device.home().join("written")).unwrap(),
        device.hub.log_len(id),
        device.hub.epoch(id),
    )
}

/// A client of another implementation, which allows what the engine does not.
fn mls_rs_client(name: &str, suite: u16, lifetime: Duration) -> Client<impl MlsConfig> {
    let suite = CipherSuite::from(suite);
    let (secret, public) =
        AwsLcCryptoProvider::new().cipher_suite_provider(suite).unwrap().signature_key_generate().unwrap();
    let credential = BasicCredential::new(client_id(name).into_bytes()).into_credential();
    Client::builder()
        .crypto_provider(AwsLcCryptoProvider::new())
        .identity_provider(AnyIdentity)
        .signing_identity(SigningIdentity::new(credential, public), secret, suite)
        .key_package_lifetime(lifetime)
        .build()
}

/// A key package that is valid from `begin` seconds after now on.
fn package_of(name: &str, suite: u16, begin: i64, lifetime: Duration) -> KeyPackage {
    let client = mls_rs_client(name, suite, lifetime);
    let begin = MlsTime::now().seconds_since_epoch().checked_add_signed(begin).unwrap();
    let none = ExtensionList::new;
    let package = client.generate_key_package_message(none(), none(), Some(MlsTime::from(begin))).unwrap();
    KeyPackage::from_bytes(&package.to_bytes().unwrap()).unwrap()
}

const HOUR: i64 = 3600;
const DAY: Duration = Duration::from_hours(24);

/// What is refused, and how the error is told from others.
struct Case<'a> {
    name: &'a str,
    packages: Vec<KeyPackage>,
    kind: ErrorKind,
    is_expected: &'a dyn Fn(&EngineError) -> bool,
}

impl Case<'_> {
    fn assert_refused<T: Debug>(&self, way: &str, result: Result<T, EngineError>) {
        let error = result.expect_err(self.name);
        assert!((self.is_expected)(&error), "{}, {way}: {error:?}", self.name);
        assert_eq!(error.kind(), self.kind, "{}, {way}", self.name);
    }
}

#[tokio::test]
async fn a_key_package_that_cannot_be_added_is_refused_by_every_way_to_add() {
    let config = SessionConfig { adds_per_commit: 2, ..SessionConfig::default() };
    let hub = Hub::new();
    let mut alice = Device::with_config(&hub, "alice", config).await;
    let mut bob = Device::new(&hub, "bob").await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;

    let carol = || package_of("carol", 1, -HOUR, DAY);
    let mut forged = carol().into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    let longest = MAX_LIFETIME + BACKDATE;
    let too_long = longest + Duration::from_secs(1);
    let other = Ciphersuite::from_number(3).unwrap();
    let cases = [
        Case {
            name: "another suite",
            packages: vec![package_of("carol", 3, -HOUR, DAY)],
            kind: ErrorKind::Misuse,
            is_expected: &|error| {
                matches!(error, EngineError::CiphersuiteMismatch { got, expected }
                    if *got == other && *expected == Ciphersuite::default())
            },
        },
        Case {
            name: "expired",
            packages: vec![package_of("carol", 1, -2 * HOUR, Duration::from_hours(1))],
            kind: ErrorKind::Peer,
            is_expected: &|error| matches!(error, EngineError::KeyPackageExpired { client, .. } if *client == client_id("carol")),
        },
        Case {
            name: "lives too long",
            packages: vec![package_of("carol", 1, -HOUR, too_long)],
            kind: ErrorKind::Peer,
            is_expected: &|error| {
                matches!(error, EngineError::KeyPackageLivesTooLong { client, lifetime, max }
                    if *client == client_id("carol") && *lifetime == too_long && *max == longest)
            },
        },
        Case {
            name: "not valid yet",
            packages: vec![package_of("carol", 1, HOUR, DAY)],
            kind: ErrorKind::Peer,
            is_expected: &|error| matches!(error, EngineError::InvalidKeyPackage(_)),
        },
        Case {
            name: "a member",
            packages: vec![bob.key_package().await],
            kind: ErrorKind::Misuse,
            is_expected: &|error| matches!(error, EngineError::AlreadyMember(client) if *client == client_id("bob")),
        },
        Case {
            name: "this device",
            packages: vec![alice.key_package().await],
            kind: ErrorKind::Misuse,
            is_expected: &|error| matches!(error, EngineError::AlreadyMember(client) if *client == client_id("alice")),
        },
        Case {
            name: "twice",
            packages: vec![carol(), carol()],
            kind: ErrorKind::Misuse,
            is_expected: &|error| matches!(error, EngineError::AddedTwice(client) if *client == client_id("carol")),
        },
        // Only the commit that adds it finds that out.
        Case {
            name: "forged",
            packages: vec![KeyPackage::from_bytes(&forged).unwrap()],
            kind: ErrorKind::Peer,
            is_expected: &|error| matches!(error, EngineError::InvalidKeyPackage(_)),
        },
    ];
    let dave_and_erin = || [package_of("dave", 1, -HOUR, DAY), package_of("erin", 1, -HOUR, DAY)];
    for case in &cases {
        let before = state(&alice, &id);
        let mut tx = alice.session.new_transaction().await.unwrap();
        let mut guard = tx.conversation(&id).await.unwrap();
        case.assert_refused("add_members", guard.add_members(case.packages.clone()).await);
        let options = || CommitOptions::with_message("hello");
        let changed = guard.change_members(case.packages.clone(), &[], options()).await;
        case.assert_refused("change_members", changed);
        if case.name != "forged" {
            let many = dave_and_erin().into_iter().chain(case.packages.clone()).collect();
            case.assert_refused("several commits", guard.change_members(many, &[], options()).await);
        }
        if let [package] = &case.packages[..] {
            case.assert_refused("a proposal", tx.new_add_proposal(&id, package.clone()).await);
        }
        tx.finish().await.unwrap();
        assert_eq!(state(&alice, &id), before, "{}", case.name);
    }
    alice.send(&id, "as before").await;
    alice.change(&id, vec![package_of("carol", 1, -HOUR, longest)], &[]).await.unwrap();
}

#[tokio::test]
async fn who_is_proposed_is_not_added_beside_the_proposal() {
    let (hub, mut alice, mut bob, id) = two().await;
    let carol = Device::new(&hub, "carol").await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    let proposal = tx.new_add_proposal(&id, carol.key_package().await).await.unwrap().proposal;
    tx.finish().await.unwrap();
    hub.post(&id, proposal);
    alice.sync(&id).await;
    for device in [&mut alice, &mut bob] {
        let package = carol.key_package().await;
        let before = state(device, &id);
        let refused = device.change(&id, vec![package], &[]).await.unwrap_err();
        assert!(
            matches!(&refused, EngineError::AddedTwice(who) if *who == client_id("carol")),
            "{refused:?}"
        );
        assert_eq!(state(device, &id), before);
    }
    assert_eq!(alice.commit_proposals(&id).await.unwrap().unwrap().added, [client_id("carol")]);
}

#[tokio::test]
async fn who_is_removed_by_a_commit_can_be_added_by_it() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let package = bob.key_package().await;
    alice.change(&id, vec![package], &[client_id("bob")]).await.unwrap();
    assert!(bob.sync(&id).await.iter().all(|seen| !seen.is_active));
    bob.welcome(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

/// The RFC has a bound for lifetimes (section 7.2), and no agreement on it.
#[tokio::test]
async fn a_key_package_that_lives_too_long_is_not_committed_for_others_and_does_not_part_us_from_them() {
    let (hub, mut alice, mut bob, id) = two().await;
    let package = package_of("carol", 1, -HOUR, MAX_LIFETIME + DAY);
    hub.propose_add(&id, &package);
    hub.propose_removal(&id, &client_id("alice"));
    assert_eq!(outcomes(&bob.sync(&id).await), [Outcome::Proposal, Outcome::Proposal]);
    // What can be committed is.
    let summary = bob.commit_proposals(&id).await.unwrap().unwrap();
    assert_eq!((summary.added, summary.removed), (vec![], vec![client_id("alice")]));
    assert!(alice.sync(&id).await.iter().any(|seen| !seen.is_active));

    // Another implementation commits it, and is followed.
    let stranger = mls_rs_client("mallory", 1, DAY);
    let info = MlsMessage::from_bytes(&hub.group_info(&id)).unwrap();
    let (mut group, commit) = stranger.external_commit_builder().unwrap().build(info).unwrap();
    let mut commits = vec![commit];
    let package = MlsMessage::from_bytes(package.as_bytes()).unwrap();
    commits.push(group.commit_builder().add_member(package).unwrap().build().unwrap().commit_message);
    for commit in commits {
        hub.post(&id, commit.to_bytes().unwrap());
    }
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.added), (Outcome::Commit, vec![client_id("carol")]));
}

#[tokio::test]
async fn what_is_not_there_or_is_there_already_is_told_and_nothing_changes() {
    let (hub, alice, bob, id) = two().await;
    let welcome = hub.welcome(&id).0;
    let nowhere = ConversationId::from("nowhere");
    let before = state(&alice, &id);

    let mut tx = bob.session.new_transaction().await.unwrap();
    // The key package of the Welcome is used up.
    assert!(matches!(tx.process_welcome(&welcome), Err(EngineError::KeyPackageNotFound)));
    drop(tx);

    let is_nowhere =
        |error: &EngineError| matches!(error, EngineError::ConversationNotFound(id) if *id == nowhere);
    let nowhere_case = Case {
        name: "an unknown conversation",
        packages: vec![bob.key_package().await],
        kind: ErrorKind::Misuse,
        is_expected: &is_nowhere,
    };
    let bob_before = state(&bob, &id);
    let mut tx = alice.session.new_transaction().await.unwrap();
    nowhere_case.assert_refused("conversation", tx.conversation(&nowhere).await);
    let package = nowhere_case.packages[0].clone();
    nowhere_case.assert_refused("new_add_proposal", tx.new_add_proposal(&nowhere, package).await);
    let remove = tx.new_remove_proposal(&nowhere, client_id("bob")).await;
    nowhere_case.assert_refused("new_remove_proposal", remove);
    nowhere_case.assert_refused("new_update_proposal", tx.new_update_proposal(&nowhere).await);
    let mark = tx.conversation(&id).await.unwrap().mark_as_child_of(&nowhere).await;
    nowhere_case.assert_refused("mark_as_child_of", mark);
    nowhere_case.assert_refused("Session::conversation", alice.session.conversation(&nowhere));

    let new = tx.new_conversation(&id, &alice.credential, MlsConversationConfiguration::default());
    assert!(matches!(&new, Err(EngineError::ConversationExists(exists)) if *exists == id));
    assert_eq!(new.unwrap_err().kind(), ErrorKind::Misuse);
    for lifetime in [Duration::ZERO, Duration::from_hours(24 * 365)] {
        let key_packages = tx.generate_key_packages(&alice.credential, 1, Some(lifetime));
        assert!(
            matches!(&key_packages, Err(EngineError::InvalidLifetime { requested, .. }) if *requested == lifetime)
        );
    }
    assert!(matches!(VerifiableGroupInfo::from_bytes(b"no group"), Err(EngineError::InvalidGroupInfo(_))));
    let config = MlsConversationConfiguration {
        ciphersuite: Ciphersuite::from_number(3).unwrap(),
        ..MlsConversationConfiguration::default()
    };
    let other_suite = tx.new_conversation(&nowhere, &alice.credential, config);
    assert!(matches!(other_suite, Err(EngineError::CiphersuiteMismatch { .. })));
    let unknown = tx.new_conversation(&nowhere, &bob.credential, MlsConversationConfiguration::default());
    assert!(matches!(unknown, Err(EngineError::CredentialNotFound)));
    let join = tx.join_by_external_commit(hub.verifiable_group_info(&id), &bob.credential).await;
    assert!(matches!(join, Err(EngineError::CredentialNotFound)));
    let remove = tx.new_remove_proposal(&id, client_id("carol")).await;
    assert!(matches!(&remove, Err(EngineError::NoSuchMember(who)) if *who == client_id("carol")));
    let mut guard = tx.conversation(&id).await.unwrap();
    let remove = guard.remove_members(&[client_id("carol")]).await;
    assert!(matches!(&remove, Err(EngineError::NoSuchMember(who)) if *who == client_id("carol")));
    assert!(matches!(guard.remove_members(&[client_id("alice")]).await, Err(EngineError::CannotRemoveSelf)));
    assert!(matches!(guard.add_members(vec![]).await, Err(EngineError::NothingToCommit)));
    tx.finish().await.unwrap();
    assert_eq!(state(&alice, &id), before);
    assert_eq!(state(&bob, &id), bob_before);
    assert!(!alice.session.conversation_exists(&nowhere).unwrap());
}

#[tokio::test]
async fn a_conversation_of_another_suite_is_neither_joined_nor_proposed_to() {
    let (hub, alice, _bob, id) = two().await;
    let suite = Ciphersuite::from_number(3).unwrap();
    let credential = Credential::basic(client_id("carol"), suite).unwrap();
    let carol = Device::with_credential(&hub, credential, SessionConfig::default()).await;
    let before = state(&alice, &id);
    let written = fs::read(carol.home().join("written")).unwrap();
    let mut tx = carol.session.new_transaction().await.unwrap();
    let info = || hub.verifiable_group_info(&id);
    let join = tx.join_by_external_commit(info(), &carol.credential).await.map(drop);
    let add = tx.new_external_add_proposal(info(), &carol.credential).map(drop);
    let remove = tx.new_external_remove_proposal(info(), &client_id("bob"), &carol.credential).map(drop);
    for refused in [join, add, remove] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, EngineError::CiphersuiteMismatch { got, expected }
                if got == suite && expected == Ciphersuite::default()),
            "{error:?}"
        );
        assert_eq!(error.kind(), ErrorKind::Misuse);
    }
    tx.finish().await.unwrap();
    assert_eq!(state(&alice, &id), before);
    assert_eq!(fs::read(carol.home().join("written")).unwrap(), written);
    assert!(!carol.session.conversation_exists(&id).unwrap());
    assert!(carol.session.pending_commit(&id).unwrap().is_none());
}

#[tokio::test]
async fn a_key_of_no_bytes_or_of_too_many_is_not_exported() {
    let (_hub, alice, _bob, id) = two().await;
    let before = state(&alice, &id);
    let view = alice.session.conversation(&id).unwrap();
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    for length in [0, 255 * 32 + 1, 65_536, usize::MAX] {
        for refused in [guard.export_secret_key(length), view.export_secret_key(length)] {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, EngineError::InvalidKeyLength { requested, max: 8160 } if requested == length)
            );
            assert_eq!(error.kind(), ErrorKind::Misuse);
        }
    }
    for length in [1, 8160] {
        assert_eq!(guard.export_secret_key(length).unwrap().len(), length);
    }
    tx.finish().await.unwrap();
    assert_eq!(state(&alice, &id), before);
}

#[tokio::test]
async fn a_finished_transaction_does_nothing_more() {
    let (hub, alice, bob, id) = two().await;
    let package = bob.key_package().await;
    let before = state(&alice, &id);
    for aborts in [false, true] {
        let mut tx = alice.session.new_transaction().await.unwrap();
        if aborts {
            tx.abort();
        } else {
            tx.finish().await.unwrap();
        }
        let own = &alice.credential;
        let dave = Credential::basic(client_id("dave"), Ciphersuite::default()).unwrap();
        let info = || hub.verifiable_group_info(&id);
        let custom = MlsConversationConfiguration::default();
        let secrets = KeyPackageSecrets { init_key: vec![1].into(), encryption_key: vec![2].into() };
        let results = [
            tx.conversation(&id).await.map(drop),
            tx.conversation_exists(&id).map(drop),
            tx.new_conversation(&"another".into(), own, custom),
            tx.process_welcome(&hub.welcome(&id).0).map(drop),
            tx.join_by_external_commit(info(), own).await.map(drop),
            tx.new_add_proposal(&id, package.clone()).await.map(drop),
            tx.new_remove_proposal(&id, client_id("bob")).await.map(drop),
            tx.new_update_proposal(&id).await.map(drop),
            tx.new_external_add_proposal(info(), own).map(drop),
            tx.new_external_remove_proposal(info(), &client_id("bob"), own).map(drop),
            tx.add_credential(dave).map(drop),
            tx.mls_init(&client_id("dave"), &[Ciphersuite::default()]).map(drop),
            tx.find_credentials().map(drop),
            tx.remove_credential(own),
            tx.generate_key_packages(own, 1, None).map(drop),
            tx.generate_last_resort_key_package(own).map(drop),
            tx.key_package_count().map(drop),
            tx.prune_key_packages().map(drop),
            tx.find_credentials_by(&CredentialFilter::default()).map(drop),
            tx.key_package_count_for(own).map(drop),
            tx.remove_key_packages_for(own).map(drop),
            tx.take_key_package(b"reference").map(drop),
            tx.import_key_package(package.as_bytes(), &secrets).map(drop),
            tx.process_welcome_with(&hub.welcome(&id).0, &JoinOptions::default()).map(drop),
            tx.add_trust_anchor(b"certificate").map(drop),
            tx.add_intermediate(b"certificate").map(drop),
            tx.registered_certificates().map(drop),
            tx.remove_certificate(&[0; 32]).map(drop),
            tx.e2ei_register_crl("http://ca.example/crl", b"list").map(drop),
            tx.add_psk(b"id", &[7; 32]),
            tx.remove_psk(b"id").map(drop),
            tx.psk_ids().map(drop),
            tx.wipe_conversation(&id),
            tx.store_write(|_| Ok(())),
            tx.set_data(vec![1]),
            tx.get_data().map(drop),
            tx.finish().await,
        ];
        for (place, result) in results.into_iter().enumerate() {
            let error = result.unwrap_err();
            assert!(matches!(error, EngineError::TransactionFinished), "{place}: {error:?}");
            assert_eq!(error.kind(), ErrorKind::Misuse);
        }
        tx.abort();
    }
    assert_eq!(state(&alice, &id), before);
    assert!(alice.session.new_transaction().await.unwrap().get_data().unwrap().is_none());
}

/// A conversation is there already, whole or as a join that waits for its outcome.
#[tokio::test]
async fn nothing_takes_the_place_of_a_conversation_that_is_there() {
    let (hub, mut alice, bob, id) = two().await;
    let another = bob.key_package().await;
    alice.change(&id, vec![another], &[client_id("bob")]).await.unwrap();
    let (welcome, _) = hub.welcome(&id);
    let before = state(&bob, &id);
    let mut tx = bob.session.new_transaction().await.unwrap();
    let joined = tx.process_welcome(&welcome);
    assert!(matches!(&joined, Err(EngineError::ConversationExists(exists)) if *exists == id), "{joined:?}");
    tx.finish().await.unwrap();
    assert_eq!(state(&bob, &id), before);

    let mut carol = Device::new(&hub, "carol").await;
    hub.fail_next(Fault::LoseCommit);
    let lost = carol.join_externally(&id).await;
    assert!(matches!(lost, Err(EngineError::CommitOutcomeUnknown { .. })), "{lost:?}");
    let mut tx = carol.session.new_transaction().await.unwrap();
    let new = tx.new_conversation(&id, &carol.credential, MlsConversationConfiguration::default());
    assert!(
        matches!(new, Err(EngineError::ConversationExists(_) | EngineError::PendingCommit { .. })),
        "{new:?}"
    );
    tx.finish().await.unwrap();
    let pending = carol.session.pending_commit(&id).unwrap();
    assert!(pending.is_some_and(|pending| pending.is_join), "the join still waits");
}

/// What the store has is not what was written: the device is told so, and nothing worse happens.
#[tokio::test]
async fn a_conversation_that_is_damaged_on_disk_is_said_to_be() {
    let (_hub, alice, _bob, id) = two().await;
    let store = alice.session.store();
    let writer = store.lock().await.unwrap();
    store.write(&writer, |w| w.put_group_tree_part(id.as_bytes(), 0, b"no nodes")).unwrap();
    drop(writer);
    let alice = alice.restarted();
    let is_damaged = |error: EngineError| {
        matches!(error, EngineError::DamagedState { .. }) && error.kind() == ErrorKind::LocalState
    };
    assert!(is_damaged(alice.session.conversation(&id).unwrap_err()));
    let mut tx = alice.session.new_transaction().await.unwrap();
    assert!(is_damaged(tx.conversation(&id).await.unwrap_err()));
    // The way out: join anew.
    tx.wipe_conversation(&id).unwrap();
    tx.join_by_external_commit(alice.hub.verifiable_group_info(&id), &alice.credential).await.unwrap();
    tx.finish().await.unwrap();
    assert_eq!(alice.members(&id).len(), 2);
}
