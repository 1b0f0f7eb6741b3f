//! Proposals of members, of who wants to be one, and of external senders.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Fault, Hub, assert_same_state, client_id, conversation, outcomes, two};
use tertulia_mls::{
    Ciphersuite, ConversationId, Credential, EngineError, ErrorKind, ExternalSender, KeyPackage,
    MlsConversationConfiguration, MlsCustomConfiguration, MlsProposalBundle, MlsWirePolicy, Outcome,
    SessionConfig,
};

/// Both wire policies.
fn configs() -> [SessionConfig; 2] {
    [MlsWirePolicy::Plaintext, MlsWirePolicy::Ciphertext].map(|wire_policy| {
        let joined = MlsCustomConfiguration { wire_policy, ..MlsCustomConfiguration::default() };
        SessionConfig { joined, ..SessionConfig::default() }
    })
}

/// Alice, Bob and Carol in a conversation.
async fn three(config: SessionConfig) -> (Hub, [Device; 3], ConversationId) {
    let hub = Hub::new();
    let id = conversation();
    let mut alice = Device::with_config(&hub, "alice", config.clone()).await;
    let mut bob = Device::with_config(&hub, "bob", config.clone()).await;
    let mut carol = Device::with_config(&hub, "carol", config).await;
    alice.create(&id).await;
    alice.add(&id, &mut [&mut bob, &mut carol]).await;
    alice.sync(&id).await;
    (hub, [alice, bob, carol], id)
}

async fn propose_removal(who: &mut Device, id: &ConversationId, of: &str) -> MlsProposalBundle {
    let mut tx = who.session.new_transaction().await.unwrap();
    let bundle = tx.new_remove_proposal(id, client_id(of)).await.unwrap();
    tx.finish().await.unwrap();
    bundle
}

fn pending(who: &Device, id: &ConversationId) -> usize {
    who.session.conversation(id).unwrap().pending_proposals()
}

#[tokio::test]
async fn what_one_member_proposes_another_commits() {
    for config in configs() {
        let (hub, [mut alice, mut bob, mut carol], id) = three(config.clone()).await;
        let dave = Device::with_config(&hub, "dave", config).await;
        let package = dave.key_package().await;
        let mut tx = alice.session.new_transaction().await.unwrap();
        let add = tx.new_add_proposal(&id, package).await.unwrap();
        let remove = tx.new_remove_proposal(&id, client_id("carol")).await.unwrap();
        let update = tx.new_update_proposal(&id).await.unwrap();
        tx.finish().await.unwrap();
        assert_ne!(add.proposal_ref, remove.proposal_ref);
        let before = alice.session.conversation(&id).unwrap().epoch_authenticator().unwrap();
        for bundle in [add, remove, update] {
            hub.post(&id, bundle.proposal);
        }
        // The echo changes nothing.
        assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnProposal; 3]);
        assert_eq!(pending(&alice, &id), 3);
        assert!(matches!(alice.encrypt(&id, "x").await, Err(EngineError::PendingProposals { count: 3 })));
        let seen = bob.sync(&id).await;
        assert_eq!(outcomes(&seen), [Outcome::Proposal; 3]);
        assert_eq!(seen[0].identity.as_ref().unwrap().client_id, client_id("alice"));
        let summary = bob.commit_proposals(&id).await.unwrap().unwrap();
        assert_eq!((summary.added, summary.removed), (vec![client_id("dave")], vec![client_id("carol")]));
        let seen = alice.sync(&id).await.pop().unwrap();
        assert_eq!((seen.outcome, seen.proposals.len(), seen.delay), (Outcome::Commit, 0, None));
        assert!(!carol.sync(&id).await.pop().unwrap().is_active);
        bob.sync(&id).await;
        assert_same_state(&id, &[&alice, &bob]);
        assert_ne!(alice.session.conversation(&id).unwrap().epoch_authenticator().unwrap(), before);
        alice.send(&id, "with a new key").await;
        assert_eq!(bob.read(&id).await, ["with a new key"]);
    }
}

#[tokio::test]
async fn a_proposal_that_comes_twice_is_there_once() {
    for config in configs() {
        let (_hub, [mut alice, mut bob, _carol], id) = three(config).await;
        let bundle = propose_removal(&mut alice, &id, "carol").await;
        assert_eq!(bob.decrypt(&id, &bundle.proposal).await.unwrap().outcome, Outcome::Proposal);
        let again = bob.decrypt(&id, &bundle.proposal).await.unwrap();
        assert_eq!(again.outcome, Outcome::Duplicate);
        assert!(again.delay.is_some(), "it still waits");
        assert_eq!(pending(&bob, &id), 1);
        alice.commit_proposals(&id).await.unwrap().unwrap();
        bob.sync(&id).await;
        assert_eq!(bob.decrypt(&id, &bundle.proposal).await.unwrap().outcome, Outcome::StaleEpoch);
        assert_eq!(alice.decrypt(&id, &bundle.proposal).await.unwrap().outcome, Outcome::StaleEpoch);
    }
}

#[tokio::test]
async fn proposals_that_a_commit_leaves_out_are_renewed() {
    for config in configs() {
        let (hub, [mut alice, mut bob, mut carol], id) = three(config.clone()).await;
        let dave = Device::with_config(&hub, "dave", config.clone()).await;
        let mut erin = Device::with_config(&hub, "erin", config).await;
        let (for_dave, for_erin) = (dave.key_package().await, erin.key_package().await);
        let mut tx = alice.session.new_transaction().await.unwrap();
        tx.new_add_proposal(&id, for_dave).await.unwrap();
        tx.new_add_proposal(&id, for_erin).await.unwrap();
        tx.new_remove_proposal(&id, client_id("carol")).await.unwrap();
        tx.new_update_proposal(&id).await.unwrap();
        tx.finish().await.unwrap();
        // Bob has not got them, and adds Erin himself.
        bob.add(&id, &mut [&mut erin]).await;
        let seen = alice.sync(&id).await.pop().unwrap();
        assert_eq!(seen.outcome, Outcome::Commit);
        assert_eq!(seen.proposals.len(), 3, "Erin is in");
        assert_eq!(pending(&alice, &id), 3);
        assert!(seen.delay.is_some());
        for bundle in seen.proposals {
            hub.post(&id, bundle.proposal);
        }
        let mut alice = alice.restarted();
        assert_eq!(outcomes(&alice.sync(&id).await), [Outcome::OwnProposal; 3]);
        bob.sync(&id).await;
        bob.commit_proposals(&id).await.unwrap().unwrap();
        for device in [&mut alice, &mut bob, &mut erin] {
            device.sync(&id).await;
        }
        assert!(!carol.sync(&id).await.pop().unwrap().is_active);
        assert_eq!(alice.members(&id).len(), 4);
        assert_same_state(&id, &[&alice, &bob, &erin]);
    }
}

#[tokio::test]
async fn what_came_about_otherwise_is_not_renewed_nor_are_proposals_from_outside() {
    let (hub, [mut alice, mut bob, mut carol], id) = three(SessionConfig::default()).await;
    propose_removal(&mut alice, &id, "carol").await;
    hub.propose_removal(&id, &client_id("bob"));
    alice.sync(&id).await;
    assert_eq!(pending(&alice, &id), 2);
    // Bob commits without having read that he is to go.
    bob.change(&id, vec![], &[client_id("carol")]).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.proposals.len(), seen.delay), (Outcome::Commit, 0, None));
    assert_eq!(pending(&alice, &id), 0);
    carol.sync(&id).await;
    assert!(!carol.session.conversation_exists(&id).unwrap());
}

#[tokio::test]
async fn who_comes_back_at_another_place_is_not_removed_by_an_old_proposal() {
    let (_hub, [mut alice, mut bob, carol], id) = three(SessionConfig::default()).await;
    propose_removal(&mut alice, &id, "carol").await;
    let package = carol.key_package().await;
    bob.change(&id, vec![package], &[client_id("carol")]).await.unwrap();
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.proposals.len(), alice.members(&id).len()), (0, 3));
}

#[tokio::test]
async fn proposals_are_renewed_once_when_several_commits_come_together() {
    let (hub, [mut alice, mut bob, _carol], id) = three(SessionConfig::default()).await;
    propose_removal(&mut alice, &id, "carol").await;
    let begin = hub.log_len(&id);
    bob.update(&id).await.unwrap();
    bob.update(&id).await.unwrap();
    let second = hub.log_entry(&id, begin + 1).unwrap();
    assert_eq!(alice.decrypt(&id, &second).await.unwrap().outcome, Outcome::Buffered);
    let seen = alice.decrypt(&id, &hub.log_entry(&id, begin).unwrap()).await.unwrap();
    assert_eq!((seen.proposals.len(), pending(&alice, &id)), (1, 1));
    bob.sync(&id).await;
    assert_eq!(bob.decrypt(&id, &seen.proposals[0].proposal).await.unwrap().outcome, Outcome::Proposal);
}

#[tokio::test]
async fn a_member_leaves_by_a_proposal_that_another_commits() {
    let (hub, [mut alice, mut bob, _carol], id) = three(SessionConfig::default()).await;
    let bundle = propose_removal(&mut bob, &id, "bob").await;
    assert!(matches!(bob.commit_proposals(&id).await, Err(EngineError::OwnRemovalPending)));
    hub.post(&id, bundle.proposal);
    let seen = bob.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.delay), (Outcome::OwnProposal, None));
    alice.sync(&id).await;
    alice.commit_proposals(&id).await.unwrap().unwrap();
    assert!(!bob.sync(&id).await.pop().unwrap().is_active);
}

#[tokio::test]
async fn a_joiner_proposes_itself() {
    let (hub, mut alice, mut bob, id) = two().await;
    let mut carol = Device::new(&hub, "carol").await;
    let mut tx = carol.session.new_transaction().await.unwrap();
    let bundle = tx.new_external_add_proposal(hub.verifiable_group_info(&id), &carol.credential).unwrap();
    tx.finish().await.unwrap();
    assert!(!bundle.proposal_ref.is_empty());
    hub.post(&id, bundle.proposal);
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.identity.unwrap().client_id), (Outcome::Proposal, client_id("carol")));
    let summary = alice.commit_proposals(&id).await.unwrap().unwrap();
    assert_eq!(summary.added, [client_id("carol")]);
    carol.welcome(&id).await;
    bob.sync(&id).await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob, &carol]);

    let mut tx = carol.session.new_transaction().await.unwrap();
    let again = tx.new_external_add_proposal(hub.verifiable_group_info(&id), &carol.credential);
    assert!(matches!(again, Err(EngineError::AlreadyMember(who)) if who == client_id("carol")));
}

#[tokio::test]
async fn an_external_sender_proposes_a_removal() {
    let hub = Hub::new();
    let id = conversation();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    // A device that is no member, whose key the conversation knows.
    let warden = Device::new(&hub, "warden").await;
    let config = MlsConversationConfiguration {
        external_senders: vec![ExternalSender::from_raw(warden.credential.public_key()).unwrap()],
        ..MlsConversationConfiguration::default()
    };
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.new_conversation(&id, &alice.credential, config).unwrap();
    tx.finish().await.unwrap();
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;

    let info = || hub.verifiable_group_info(&id);
    let mut tx = warden.session.new_transaction().await.unwrap();
    let bundle = tx.new_external_remove_proposal(info(), &client_id("bob"), &warden.credential).unwrap();
    let nobody = tx.new_external_remove_proposal(info(), &client_id("carol"), &warden.credential);
    assert!(matches!(nobody, Err(EngineError::NoSuchMember(_))));
    drop(tx);
    hub.post(&id, bundle.proposal);
    let seen = alice.sync(&id).await.pop().unwrap();
    assert_eq!((seen.outcome, seen.identity), (Outcome::Proposal, None));
    assert_eq!(alice.commit_proposals(&id).await.unwrap().unwrap().removed, [client_id("bob")]);
    assert!(!bob.sync(&id).await.pop().unwrap().is_active);

    let mut tx = bob.session.new_transaction().await.unwrap();
    let stranger = tx.new_external_remove_proposal(info(), &client_id("alice"), &bob.credential);
    assert!(matches!(stranger, Err(EngineError::NoExternalSender)));
}

#[tokio::test]
async fn wrong_proposals_are_refused_and_change_nothing() {
    let (hub, mut alice, bob, id) = two().await;
    let other = Device::new(&hub, "dave").await;
    let package = bob.key_package().await;
    let mut forged = other.key_package().await.into_bytes();
    *forged.last_mut().unwrap() ^= 1;
    let mut tx = alice.session.new_transaction().await.unwrap();
    let member = tx.new_add_proposal(&id, package).await.unwrap_err();
    assert!(matches!(&member, EngineError::AlreadyMember(who) if *who == client_id("bob")));
    assert_eq!(member.kind(), ErrorKind::Misuse);
    let nobody = tx.new_remove_proposal(&id, client_id("carol")).await;
    assert!(matches!(nobody, Err(EngineError::NoSuchMember(_))));
    let nowhere = tx.new_update_proposal(&ConversationId::from("nowhere")).await;
    assert!(matches!(nowhere, Err(EngineError::ConversationNotFound(_))));
    let forged = tx.new_add_proposal(&id, KeyPackage::from_bytes(&forged).unwrap()).await;
    assert!(matches!(forged, Err(EngineError::InvalidKeyPackage(_))));
    tx.finish().await.unwrap();
    assert_eq!(pending(&alice, &id), 0);
    alice.send(&id, "as before").await;
}

#[tokio::test]
async fn cleared_proposals_do_not_stand_in_the_way_and_can_come_again() {
    let (_hub, [mut alice, mut bob, _carol], id) = three(SessionConfig::default()).await;
    let bundle = propose_removal(&mut alice, &id, "carol").await;
    bob.decrypt(&id, &bundle.proposal).await.unwrap();
    for device in [&mut alice, &mut bob] {
        let mut tx = device.session.new_transaction().await.unwrap();
        tx.conversation(&id).await.unwrap().clear_pending_proposals().unwrap();
        tx.finish().await.unwrap();
        assert_eq!(pending(device, &id), 0);
    }
    alice.send(&id, "never mind").await;
    assert_eq!(bob.read(&id).await, ["never mind"]);
    assert_eq!(bob.decrypt(&id, &bundle.proposal).await.unwrap().outcome, Outcome::Proposal);
    assert_eq!(pending(&bob, &id), 1);
}

#[tokio::test]
async fn what_the_hub_withdraws_is_forgotten_also_while_a_commit_is_pending() {
    let (hub, [mut alice, mut bob, _carol], id) = three(SessionConfig::default()).await;
    let bundle = propose_removal(&mut alice, &id, "carol").await;
    bob.decrypt(&id, &bundle.proposal).await.unwrap();
    hub.fail_next(Fault::LoseCommit);
    assert!(bob.update(&id).await.is_err());
    let mut tx = bob.session.new_transaction().await.unwrap();
    let mut guard = tx.conversation(&id).await.unwrap();
    assert!(matches!(guard.clear_pending_proposals(), Err(EngineError::PendingCommit { .. })));
    guard.withdraw_pending_proposals().unwrap();
    tx.finish().await.unwrap();
    assert_eq!(pending(&bob, &id), 0);
    assert!(bob.session.pending_commit(&id).unwrap().is_some(), "what became of it is not known yet");
}

#[tokio::test]
async fn who_keeps_history_may_not_speak() {
    for config in configs() {
        let (hub, [mut alice, mut bob, _carol], id) = three(config.clone()).await;
        let mut history = Device::with_config(&hub, "history", config).await;
        let name = "history-client:f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";
        let mut tx = history.session.new_transaction().await.unwrap();
        history.credential =
            tx.add_credential(Credential::basic(name.into(), Ciphersuite::default()).unwrap()).unwrap();
        tx.finish().await.unwrap();
        alice.add(&id, &mut [&mut history]).await;
        alice.sync(&id).await;
        bob.sync(&id).await;
        alice.send(&id, "it listens").await;
        assert_eq!(history.read(&id).await, ["it listens"]);

        let text = history.encrypt(&id, "I am Alice").await.unwrap();
        let mut tx = history.session.new_transaction().await.unwrap();
        let proposal = tx.new_remove_proposal(&id, client_id("alice")).await.unwrap().proposal;
        tx.abort();
        let epoch = bob.epoch(&id);
        hub.fail_next(Fault::LoseCommit);
        assert!(history.update(&id).await.is_err());
        let commit = hub.lost_commit().unwrap();
        for forged in [&text, &proposal, &commit] {
            let refused = bob.decrypt(&id, forged).await.unwrap_err();
            assert!(matches!(&refused, EngineError::SenderOnlyListens(who) if *who == name.into()));
            assert_eq!(refused.kind(), ErrorKind::Peer);
        }
        assert_eq!((bob.epoch(&id), pending(&bob, &id)), (epoch, 0));

        // From the buffer neither.
        let mut late = alice.second_session();
        bob.update(&id).await.unwrap();
        let genuine = bob.newest(&id);
        history.sync(&id).await;
        let early = history.encrypt(&id, "I am Alice").await.unwrap();
        assert_eq!(late.decrypt(&id, &early).await.unwrap().outcome, Outcome::Buffered);
        let seen = late.decrypt(&id, &genuine).await.unwrap();
        assert_eq!(seen.outcome, Outcome::Commit);
        let freed = seen.buffered_messages.unwrap();
        assert_eq!((freed.len(), freed[0].outcome), (1, Outcome::Dropped));
        assert_eq!(freed[0].app_msg, None);
    }
}

#[tokio::test]
async fn of_several_changes_of_one_leaf_one_is_committed_and_all_can_follow() {
    // Two updates of one member; an update of a member that is removed; both with others' proposals beside them.
    for removes in [false, true] {
        let (hub, [mut alice, mut bob, mut carol], id) = three(SessionConfig::default()).await;
        for _ in 0..2 {
            let mut tx = bob.session.new_transaction().await.unwrap();
            let proposal = tx.new_update_proposal(&id).await.unwrap().proposal;
            tx.finish().await.unwrap();
            hub.post(&id, proposal);
        }
        if removes {
            hub.propose_removal(&id, &client_id("bob"));
        }
        for device in [&mut alice, &mut carol] {
            device.sync(&id).await;
        }
        let summary = alice.commit_proposals(&id).await.unwrap().unwrap();
        assert_eq!(summary.removed, if removes { vec![client_id("bob")] } else { vec![] });
        for device in [&mut alice, &mut carol] {
            device.sync(&id).await;
        }
        let seen = bob.sync(&id).await.pop().unwrap();
        assert_eq!((seen.outcome, seen.is_active), (Outcome::Commit, !removes));
        assert_same_state(&id, &[&alice, &carol]);
        if !removes {
            assert_same_state(&id, &[&alice, &bob]);
            bob.send(&id, "with new keys").await;
            assert_eq!(alice.read(&id).await, ["with new keys"]);
        }
    }
}
