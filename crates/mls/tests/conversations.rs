//! People talk: creating, joining, changing and leaving conversations.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Device, Hub, assert_same_state, client_id, conversation, has_epoch_changed, outcomes, two};
use tertulia_mls::{
    CommitOptions, EngineError, ErrorKind, KeyPackage, MlsConversationConfiguration, MlsCustomConfiguration,
    MlsWirePolicy, Outcome, SessionConfig, Settlement, VerifiableGroupInfo,
};

#[tokio::test]
async fn two_people_talk() {
    let (_hub, mut alice, mut bob, id) = two().await;
    assert_same_state(&id, &[&alice, &bob]);
    alice.send(&id, "Hello, Bob").await;
    bob.send(&id, "Hello, Alice").await;
    assert_eq!(bob.read(&id).await, ["Hello, Bob"]);
    assert_eq!(alice.read(&id).await, ["Hello, Alice"]);

    let view = alice.session.conversation(&id).unwrap();
    assert_eq!(view.client_ids().unwrap(), [client_id("alice"), client_id("bob")]);
    assert_eq!(view.own_client_id().unwrap(), client_id("alice"));
    let other = bob.session.conversation(&id).unwrap();
    assert_eq!(view.export_secret_key(32).unwrap(), other.export_secret_key(32).unwrap());
    assert_eq!(view.external_sender().unwrap(), other.external_sender().unwrap());
    assert_eq!(view.get_client_ids().unwrap(), view.client_ids().unwrap());
    assert_eq!(Some(view.get_external_sender().unwrap()), view.external_sender().unwrap());
}

#[tokio::test]
async fn key_packages_and_group_infos_are_read_and_written_in_both_forms() {
    let (hub, mut alice, _bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    assert_eq!(package.as_bytes()[..4], [0, 1, 0, 5], "an MLSMessage with a KeyPackage");
    assert_eq!(package.as_bare_bytes()[..4], [0, 1, 0, 1], "a KeyPackage of ciphersuite 1");
    let bare = KeyPackage::from_bytes(package.as_bare_bytes()).unwrap();
    assert_eq!((&bare, bare.as_bytes()), (&package, package.as_bytes()));

    let info = hub.verifiable_group_info(&id);
    let (message, alone) = (info.to_bytes().unwrap(), info.to_bare_bytes().unwrap());
    assert_eq!(message, hub.group_info(&id));
    assert_eq!([&[0, 1, 0, 4], &alone[..]].concat(), message);
    for form in [message, alone] {
        let read = VerifiableGroupInfo::from_bytes(&form).unwrap();
        assert_eq!(read.to_bytes().unwrap(), hub.group_info(&id));
        assert_eq!(read.conversation_id(), &id);
    }

    alice.change(&id, vec![bare], &[]).await.unwrap();
    carol.welcome(&id).await;
    let info = hub.verifiable_group_info(&id).to_bare_bytes().unwrap();
    let info = VerifiableGroupInfo::from_bytes(&info).unwrap();
    let mut tx = carol.session.new_transaction().await.unwrap();
    tx.join_by_external_commit(info, &carol.credential).await.unwrap();
    drop(tx);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &carol]);
}

#[tokio::test]
async fn a_message_names_its_sender() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.send(&id, "x").await;
    let result = bob.sync(&id).await.pop().unwrap();
    assert_eq!(result.sender_client_id, Some(client_id("alice")));
    let identity = result.identity.clone().unwrap();
    assert_eq!(identity.client_id, client_id("alice"));
    assert_eq!(identity.address.unwrap().domain.to_string(), "hub.example");
    assert!(result.is_active && !has_epoch_changed(&result));
    assert_eq!(result.epoch, 1);
}

#[tokio::test]
async fn members_see_who_comes_and_who_goes() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!(seen.outcome, Outcome::Commit);
    assert!(has_epoch_changed(&seen) && !seen.external_join);
    assert_eq!((seen.added, seen.removed), (vec![client_id("carol")], vec![]));
    assert_eq!(seen.identity.unwrap().client_id, client_id("alice"));

    bob.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.added, seen.removed), (vec![], vec![client_id("carol")]));
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn who_is_removed_loses_the_conversation_and_reads_nothing_more() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    alice.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    let behind_removal = hub.log_len(&id);
    alice.send(&id, "she is gone").await;

    let last = carol.sync(&id).await.pop().unwrap();
    assert!(!last.is_active);
    assert_eq!(last.removed, [client_id("carol")]);
    assert!(!carol.session.conversation_exists(&id).unwrap());
    let later = hub.log_entry(&id, behind_removal).unwrap();
    assert!(matches!(carol.decrypt(&id, &later).await, Err(EngineError::ConversationNotFound(_))));
    assert_eq!(bob.read(&id).await, ["she is gone"]);
}

#[tokio::test]
async fn who_was_removed_can_be_added_again() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.change(&id, vec![], &[client_id("bob")]).await.unwrap();
    bob.sync(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.send(&id, "welcome back").await;
    assert_eq!(bob.read(&id).await, ["welcome back"]);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn one_commit_adds_and_removes() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    alice.change(&id, vec![package], &[client_id("bob")]).await.unwrap();
    carol.welcome(&id).await;
    assert!(!bob.sync(&id).await.pop().unwrap().is_active);
    assert_eq!(carol.members(&id).len(), 2);
    assert_eq!(alice.epoch(&id), 2);
}

#[tokio::test]
async fn an_update_begins_a_new_epoch_for_all() {
    let (_hub, mut alice, mut bob, id) = two().await;
    let before = alice.session.conversation(&id).unwrap().epoch_authenticator().unwrap();
    bob.update(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
    assert_ne!(alice.session.conversation(&id).unwrap().epoch_authenticator().unwrap(), before);
}

#[tokio::test]
async fn a_further_device_joins_by_itself() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    carol.join_externally(&id).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert!(seen.external_join);
    assert_eq!((seen.added, seen.removed), (vec![client_id("carol")], vec![]));
    assert_eq!(seen.identity.unwrap().client_id, client_id("carol"));
    bob.sync(&id).await;
    assert_eq!(outcomes(&carol.sync(&id).await), [Outcome::OwnCommitKnown]);
    carol.send(&id, "here I am").await;
    assert_eq!(alice.read(&id).await, ["here I am"]);
    assert_eq!(bob.read(&id).await, ["here I am"]);
    carol.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob, &carol]);
}

#[tokio::test]
async fn a_device_that_comes_back_takes_its_own_place() {
    let (_hub, mut alice, mut bob, id) = two().await;
    alice.send(&id, "before").await;
    // Bob's state is fine, and goes all the same: a device cannot always tell.
    bob.join_externally(&id).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert!(seen.external_join);
    assert_eq!((seen.added, seen.removed), (vec![], vec![]));
    bob.sync(&id).await;
    assert_eq!(alice.members(&id).len(), 2);
    assert_same_state(&id, &[&alice, &bob]);
    alice.send(&id, "after").await;
    assert_eq!(bob.read(&id).await, ["after"]);
    bob.update(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_member_that_lost_everything_comes_back_with_a_new_key() {
    let (hub, mut alice, _lost, id) = two().await;
    let mut bob = Device::new(&hub, "bob").await;
    bob.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_eq!(alice.members(&id).len(), 2);
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn the_hub_proposes_and_a_member_commits() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    alice.add(&id, &mut [&mut carol]).await;
    alice.sync(&id).await;
    bob.sync(&id).await;
    hub.propose_removal(&id, &client_id("carol"));

    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!(seen.outcome, Outcome::Proposal);
    assert!(seen.delay.is_some() && seen.identity.is_none());
    assert_eq!(alice.session.conversation(&id).unwrap().pending_proposals(), 1);
    assert!(matches!(alice.encrypt(&id, "x").await, Err(EngineError::PendingProposals { count: 1 })));

    let seen = carol.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.delay), (Outcome::Proposal, None));
    let mut tx = carol.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let refused = guard.commit_pending_proposals().await;
    assert!(matches!(refused, Err(EngineError::OwnRemovalPending)));
    drop(tx);

    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    let summary = guard.commit_pending_proposals_with(CommitOptions::default()).await.unwrap().unwrap();
    assert_eq!(summary.removed, [client_id("carol")]);
    guard.commit_pending_proposals().await.unwrap();
    drop(tx);
    assert_eq!(bob.sync(&id).await.pop().unwrap().removed, [client_id("carol")]);
    assert!(!carol.sync(&id).await.pop().unwrap().is_active);
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_message_goes_with_a_commit_and_all_can_read_it() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let package = carol.key_package().await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.change_members(vec![package], &[], CommitOptions::with_message("Carol is here")).await.unwrap();
    drop(tx);
    carol.welcome(&id).await;
    // Had the key of the message been used again, the next ones would pass for duplicates.
    alice.send(&id, "first").await;
    alice.send(&id, "second").await;
    assert_eq!(bob.read(&id).await, ["Carol is here", "first", "second"]);
    assert_eq!(carol.read(&id).await, ["Carol is here", "first", "second"]);
    assert!(alice.sync(&id).await.iter().all(|result| result.app_msg.is_none()));
}

#[tokio::test]
async fn handshakes_can_be_encrypted() {
    let hub = Hub::new();
    let config = || SessionConfig {
        joined: MlsCustomConfiguration { wire_policy: MlsWirePolicy::Ciphertext, ..Default::default() },
        ..Default::default()
    };
    let mut alice = Device::with_config(&hub, "alice", config()).await;
    let mut bob = Device::with_config(&hub, "bob", config()).await;
    let id = conversation();
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    for _ in 0..2 {
        bob.update(&id).await.unwrap();
        alice.sync(&id).await;
        alice.update_with(&id, CommitOptions::with_message("new keys")).await.unwrap();
        assert_eq!(bob.read(&id).await, ["new keys"]);
    }
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
    let commit = hub.log_entry(&id, 1).unwrap();
    assert_eq!(commit[..4], [0, 1, 0, 2], "mls10, mls_private_message");
}

#[tokio::test]
async fn a_wiped_conversation_is_gone() {
    let (_hub, mut alice, bob, id) = two().await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    guard.wipe().unwrap();
    assert!(!guard.is_joined().unwrap());
    assert!(matches!(guard.epoch(), Err(EngineError::ConversationNotFound(_))));
    assert!(bob.session.conversation_exists(&id).unwrap(), "not before the transaction is finished");
    tx.finish().await.unwrap();
    assert!(!bob.session.conversation_exists(&id).unwrap());
    assert!(bob.session.conversations().unwrap().is_empty());
    let mut bob = bob.restarted();
    // There is nothing left that could disturb a new beginning.
    alice.change(&id, vec![], &[client_id("bob")]).await.unwrap();
    alice.add(&id, &mut [&mut bob]).await;
    alice.send(&id, "again").await;
    assert_eq!(bob.read(&id).await, ["again"]);
}

#[tokio::test]
async fn a_key_package_is_good_for_one_welcome_and_a_last_resort_for_many() {
    let hub = Hub::new();
    let (mut alice, bob) = (Device::new(&hub, "alice").await, Device::new(&hub, "bob").await);
    let once = bob.key_package().await;
    let mut tx = bob.session.new_transaction().await.unwrap();
    let last_resort = tx.generate_last_resort_key_package(&bob.credential).unwrap();
    assert_eq!(tx.key_package_count().unwrap(), 1);
    tx.finish().await.unwrap();

    for (name, package, opens) in
        [("1", &once, true), ("2", &once, false), ("3", &last_resort, true), ("4", &last_resort, true)]
    {
        let id = name.into();
        alice.create(&id).await;
        alice.change(&id, vec![package.clone()], &[]).await.unwrap();
        let mut tx = bob.session.new_transaction().await.unwrap();
        match tx.process_welcome(&hub.welcome(&id).0) {
            Ok(_) => assert!(opens),
            Err(error) => assert!(!opens && matches!(error, EngineError::KeyPackageNotFound), "{error}"),
        }
        tx.finish().await.unwrap();
    }
    assert_eq!(bob.session.new_transaction().await.unwrap().key_package_count().unwrap(), 0);
}

#[tokio::test]
async fn expired_key_packages_are_pruned() {
    let alice = Device::new(&Hub::new(), "alice").await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.generate_key_packages(&alice.credential, 3, None).unwrap();
    assert_eq!(tx.prune_key_packages().unwrap(), 0);
    assert_eq!(tx.key_package_count().unwrap(), 3);
}

#[tokio::test]
async fn key_packages_and_group_infos_are_accepted_bare() {
    let (hub, mut alice, _bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let wrapped = carol.key_package().await;
    assert_eq!(wrapped.as_bytes()[..4], [0, 1, 0, 5], "mls10, mls_key_package");
    let bare = KeyPackage::from_bytes(&wrapped.as_bytes()[4..]).unwrap();
    assert_eq!(bare, wrapped);
    assert_eq!(bare.client_id(), &client_id("carol"));
    alice.change(&id, vec![bare], &[]).await.unwrap();
    carol.welcome(&id).await;

    let dave = Device::new(&hub, "dave").await;
    let mut tx = dave.session.new_transaction().await.unwrap();
    let bare = VerifiableGroupInfo::from_bytes(&hub.group_info(&id)[4..]).unwrap();
    assert_eq!((bare.conversation_id(), bare.epoch(), bare.ciphersuite_number()), (&id, 2, 1));
    assert_eq!(tx.join_by_external_commit(bare, &dave.credential).await.unwrap().epoch, 3);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_and_changes_nothing() {
    let (hub, alice, bob, id) = two().await;
    let before = hub.log_len(&id);
    let mut tx = alice.session.new_transaction().await.unwrap();
    let misuse = |error: EngineError, kind: ErrorKind| assert_eq!(error.kind(), kind, "{error}");

    let again = tx.new_conversation(&id, &alice.credential, MlsConversationConfiguration::default());
    misuse(again.unwrap_err(), ErrorKind::Misuse);
    misuse(tx.conversation(&"nowhere".into()).await.unwrap_err(), ErrorKind::Misuse);
    misuse(tx.generate_key_packages(&bob.credential, 1, None).unwrap_err(), ErrorKind::Misuse);
    misuse(tx.generate_key_packages(&alice.credential, 1001, None).unwrap_err(), ErrorKind::Misuse);
    let too_long = Some(tertulia_mls::MAX_LIFETIME + std::time::Duration::from_secs(1));
    misuse(tx.generate_key_packages(&alice.credential, 1, too_long).unwrap_err(), ErrorKind::Misuse);
    misuse(tx.remove_credential(&alice.credential).unwrap_err(), ErrorKind::Misuse);
    misuse(tx.process_welcome(&hub.welcome(&id).0).unwrap_err(), ErrorKind::LocalState);
    misuse(tx.process_welcome(b"no message").unwrap_err(), ErrorKind::Peer);
    misuse(VerifiableGroupInfo::from_bytes(b"no message").unwrap_err(), ErrorKind::Peer);
    misuse(KeyPackage::from_bytes(b"no key package").unwrap_err(), ErrorKind::Peer);

    let mut guard = tx.conversation(&id).await.unwrap();
    let options = CommitOptions::default;
    misuse(guard.change_members(vec![], &[], options()).await.unwrap_err(), ErrorKind::Misuse);
    let stranger = guard.remove_members(&[client_id("mallory")]).await;
    assert!(matches!(stranger, Err(EngineError::NoSuchMember(id)) if id == client_id("mallory")));
    let own = guard.remove_members(&[client_id("alice")]).await;
    assert!(matches!(own, Err(EngineError::CannotRemoveSelf)));
    let member = guard.add_members(vec![bob.key_package().await]).await;
    assert!(matches!(member, Err(EngineError::AlreadyMember(who)) if who == client_id("bob")));
    for length in [0, 255 * 32 + 1, usize::MAX] {
        assert!(matches!(
            guard.export_secret_key(length),
            Err(EngineError::InvalidKeyLength { max: 8160, .. })
        ));
    }
    assert_eq!(guard.export_secret_key(8160).unwrap().len(), 8160);
    assert_eq!(guard.settle_pending(1).await.unwrap(), Settlement::NothingPending);
    tx.finish().await.unwrap();
    assert_eq!(hub.log_len(&id), before);
    assert_eq!(alice.epoch(&id), 1);
}

#[tokio::test]
async fn an_identity_of_another_form_is_refused() {
    use tertulia_mls::{Ciphersuite, ClientId, Credential};
    let alice = Device::new(&Hub::new(), "alice").await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    for identity in ["alice", "", "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47@hub.example"] {
        let credential = Credential::basic(ClientId::from(identity), Ciphersuite::default()).unwrap();
        let refused = tx.add_credential(credential);
        assert!(matches!(refused, Err(EngineError::InvalidClientId(_))), "{identity}");
    }
    let twice = Credential::basic(alice.client_id(), Ciphersuite::default()).unwrap();
    assert!(matches!(tx.add_credential(twice), Err(EngineError::CredentialExists(_))));
    assert_eq!(tx.find_credentials().unwrap(), std::slice::from_ref(&alice.credential));
    tx.remove_credential(&alice.credential).unwrap();
    assert!(tx.find_credentials().unwrap().is_empty());
}

#[tokio::test]
async fn a_device_with_a_shorter_spelling_is_the_same_client() {
    use tertulia_mls::{Ciphersuite, ClientId, Credential};
    let (hub, mut alice, _bob, id) = two().await;
    let text = client_id("bob").as_str().unwrap().replace(":0000000000000001", ":1");
    let twin = Device::new(&hub, "twin").await;
    let mut tx = twin.session.new_transaction().await.unwrap();
    let credential = Credential::basic(ClientId::from(text.clone()), Ciphersuite::default()).unwrap();
    let credential = tx.add_credential(credential).unwrap();
    let package = tx.generate_key_packages(&credential, 1, None).unwrap().pop().unwrap();
    tx.finish().await.unwrap();
    let added = alice.change(&id, vec![package], &[]).await;
    assert!(matches!(added, Err(EngineError::AlreadyMember(_))), "{added:?}");
    alice.change(&id, vec![], &[ClientId::from(text)]).await.unwrap();
    assert_eq!(alice.members(&id).len(), 1);
}

#[tokio::test]
async fn who_comes_back_from_outside_keeps_the_settings_of_the_conversation() {
    let hub = Hub::new();
    let id = conversation();
    let span = Duration::from_hours(48);
    let joined = MlsCustomConfiguration {
        key_rotation_span: Some(span),
        wire_policy: MlsWirePolicy::Ciphertext,
        out_of_order_tolerance: 4,
        maximum_forward_distance: 5,
        prior_epochs: 2,
    };
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob =
        Device::with_config(&hub, "bob", SessionConfig { joined, ..SessionConfig::default() }).await;
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob]).await;
    // From now on he would join new conversations with other settings.
    bob.config.joined =
        MlsCustomConfiguration { key_rotation_span: None, ..MlsCustomConfiguration::default() };
    let mut bob = bob.restarted();
    bob.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    let mut bob = bob.restarted();

    let mut messages = Vec::new();
    for n in 0..12 {
        messages.push(alice.encrypt(&id, &n.to_string()).await.unwrap());
    }
    assert!(matches!(
        bob.decrypt(&id, &messages[6]).await,
        Err(EngineError::TooFarAhead { generation: 6, max: 5 })
    ));
    bob.decrypt(&id, &messages[5]).await.unwrap();
    assert_eq!(bob.decrypt(&id, &messages[1]).await.unwrap().outcome, Outcome::Application);
    let too_late = bob.decrypt(&id, &messages[0]).await.unwrap();
    assert_eq!(too_late.outcome, Outcome::Duplicate, "its key is deleted");
    let now = SystemTime::now();
    assert_eq!(bob.session.key_rotations_due(now + span / 2).unwrap(), []);
    assert_eq!(bob.session.key_rotations_due(now + span * 2).unwrap(), std::slice::from_ref(&id));
    bob.update(&id).await.unwrap();
    // The version mls10, and the wire format of a `PrivateMessage`.
    assert_eq!(bob.newest(&id)[..4], [0, 1, 0, 2]);
    alice.sync(&id).await;
    bob.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}
