//! The application's rules: what the group's signed context says holds for every member, whoever delivers the commits.
#![allow(clippy::unwrap_used)]

mod common;

use std::{collections::BTreeSet, sync::Arc};

use common::{Device, Hub, assert_same_state, client_id, conversation, forger::Forger};
use tertulia_mls::{
    ClientId, CommitOptions, Committer, ConversationId, EngineError, ErrorKind, GroupChange, GroupRules,
    JoinedGroup, MlsConversationConfiguration, MlsWirePolicy, Outcome, Proposer, RuleViolation,
    SessionConfig, Wish,
};

/// Only those whom the group data names may add, and nobody else changes the group data. Who is removed is not named any more.
struct NamedOnesAdd;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Broken {
    #[error("{0} may not do that")]
    NotNamed(ClientId),
    #[error("an outsider lets this device in")]
    Outsider,
}

type Names = BTreeSet<ClientId>;

fn names(data: Option<&[u8]>) -> Names {
    let text = String::from_utf8(data.unwrap_or_default().to_vec()).unwrap();
    text.lines().map(|line| ClientId::from(line.to_owned())).collect()
}

fn data(names: &Names) -> Vec<u8> {
    names.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join("\n").into_bytes()
}

impl GroupRules for NamedOnesAdd {
    fn data_after(&self, change: &GroupChange) -> Result<Option<Vec<u8>>, RuleViolation> {
        let mut after = names(change.data_after.as_deref());
        after.retain(|name| !change.removed.iter().any(|(removed, _)| removed == name));
        Ok(Some(data(&after)))
    }

    fn is_void(&self, change: &GroupChange, added: &ClientId, _: &Proposer) -> bool {
        change.removed.iter().any(|(removed, _)| removed == added)
    }

    fn carries_out(&self, wish: Wish) -> bool {
        wish == Wish::Renewal
    }

    fn check(&self, change: &GroupChange) -> Result<(), RuleViolation> {
        let before = names(change.data_before.as_deref());
        let refused = |who: &ClientId| Err(RuleViolation::new(Broken::NotNamed(who.clone())));
        for (_, proposer) in &change.added {
            if let Proposer::Client(client) = proposer
                && !before.contains(client)
            {
                return refused(client);
            }
        }
        let mut expected = before.clone();
        expected.retain(|name| !change.removed.iter().any(|(removed, _)| removed == name));
        match &change.committer {
            Committer::Member(client) if !before.contains(client) => {
                if names(change.data_after.as_deref()) == expected { Ok(()) } else { refused(client) }
            }
            Committer::Joiner(client) if !change.members.contains(client) => refused(client),
            _ => Ok(()),
        }
    }

    fn check_joined(&self, group: &JoinedGroup) -> Result<(), RuleViolation> {
        assert!(group.members.contains(&group.own));
        if names(group.data.as_deref()).contains(&group.welcomed_by) {
            Ok(())
        } else {
            Err(RuleViolation::new(Broken::Outsider))
        }
    }
}

fn with_rules() -> SessionConfig {
    SessionConfig { group_rules: Some(Arc::new(NamedOnesAdd)), ..SessionConfig::default() }
}

async fn device(hub: &Hub, name: &str) -> Device {
    Device::with_config(hub, name, with_rules()).await
}

/// A group that names its creator only.
async fn create(creator: &mut Device, id: &ConversationId) {
    create_as(creator, id, MlsWirePolicy::Plaintext).await;
}

async fn create_as(creator: &mut Device, id: &ConversationId, handshake: MlsWirePolicy) {
    let mut config = MlsConversationConfiguration {
        handshake,
        group_data: Some(data(&Names::from([creator.client_id()]))),
        ..MlsConversationConfiguration::default()
    };
    config.set_raw_external_senders(vec![creator.hub.public_key().as_bytes().to_vec()]).unwrap();
    let mut tx = creator.session.new_transaction().await.unwrap();
    tx.new_conversation(id, &creator.credential, config).unwrap();
    tx.finish().await.unwrap();
    creator.cursors.insert(id.clone(), 0);
}

fn named(device: &Device, id: &ConversationId) -> Names {
    names(device.session.conversation(id).unwrap().group_data().as_deref())
}

fn broken_by(error: &EngineError, who: &str) -> bool {
    let (EngineError::AgainstTheRules(violation) | EngineError::RulesBroken(violation)) = error else {
        return false;
    };
    violation.reason() == Some(&Broken::NotNamed(client_id(who)))
}

#[tokio::test]
async fn a_commit_against_the_rules_is_refused_before_it_is_sent() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    let carol = device(&hub, "carol").await;
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;

    let refused = bob.change(&id, vec![carol.key_package().await], &[]).await.unwrap_err();
    assert!(broken_by(&refused, "bob"), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Misuse);
    let names = data(&Names::from([bob.client_id()]));
    let refused = bob.update_with(&id, CommitOptions::default().with_group_data(names)).await.unwrap_err();
    assert!(broken_by(&refused, "bob"), "{refused}");

    assert_eq!((hub.epoch(&id), bob.epoch(&id)), (1, 1));
    bob.send(&id, "still here").await;
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn a_commit_against_the_rules_that_the_hub_let_pass_is_refused_and_changes_nothing() {
    let (hub, id) = (Hub::new(), conversation());
    let mut alice = device(&hub, "alice").await;
    // Bob's program does not know the rules.
    let mut bob = Device::new(&hub, "bob").await;
    let mallory = Device::new(&hub, "mallory").await;
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;

    bob.change(&id, vec![mallory.key_package().await], &[]).await.unwrap();
    let refused = alice.decrypt(&id, &alice.newest(&id)).await.unwrap_err();
    assert!(broken_by(&refused, "bob"), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Peer);
    assert_eq!(alice.epoch(&id), 1);
    assert_eq!(alice.session.conversation(&id).unwrap().client_ids().unwrap().len(), 2);
    // Restarted, it refuses it all the same.
    let mut alice = alice.restarted();
    let refused = alice.decrypt(&id, &alice.newest(&id)).await.unwrap_err();
    assert!(broken_by(&refused, "bob"), "{refused}");
}

#[tokio::test]
async fn group_data_that_somebody_gives_themselves_is_refused_by_the_others() {
    let (hub, id) = (Hub::new(), conversation());
    let mut alice = device(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;

    let crown = data(&Names::from([bob.client_id()]));
    bob.update_with(&id, CommitOptions::default().with_group_data(crown)).await.unwrap();
    let refused = alice.decrypt(&id, &alice.newest(&id)).await.unwrap_err();
    assert!(broken_by(&refused, "bob"), "{refused}");
    assert_eq!(named(&alice, &id), Names::from([alice.client_id()]));
}

#[tokio::test]
async fn group_data_changes_with_commits_is_the_same_to_all_and_goes_to_newcomers() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    let (mut carol, mut dave) = (device(&hub, "carol").await, device(&hub, "dave").await);
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;

    let both = Names::from([alice.client_id(), bob.client_id()]);
    alice.update_with(&id, CommitOptions::default().with_group_data(data(&both))).await.unwrap();
    bob.sync(&id).await;
    assert_eq!((named(&alice, &id), named(&bob, &id)), (both.clone(), both.clone()));
    bob.add(&id, &mut [&mut carol]).await;
    assert_eq!(named(&carol, &id), both);

    // What follows from a removal that the hub proposes, whoever commits it.
    alice.sync(&id).await;
    hub.propose_removal(&id, &alice.client_id());
    carol.sync(&id).await;
    carol.commit_proposals(&id).await.unwrap();
    bob.sync(&id).await;
    let rest = Names::from([bob.client_id()]);
    assert_eq!((named(&bob, &id), named(&carol, &id)), (rest.clone(), rest.clone()));
    bob.add(&id, &mut [&mut dave]).await;
    assert_eq!(named(&dave, &id), rest);
    carol.sync(&id).await;
    assert_same_state(&id, &[&bob, &carol, &dave]);
}

#[tokio::test]
async fn a_wish_that_is_void_by_what_else_a_commit_does_is_left_out() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;
    // Bob wants to be added anew, and then leaves.
    hub.propose_add(&id, &bob.key_package().await);
    hub.propose_removal(&id, &bob.client_id());
    alice.sync(&id).await;
    alice.commit_proposals(&id).await.unwrap();
    let view = alice.session.conversation(&id).unwrap();
    assert_eq!((view.client_ids().unwrap(), view.pending_proposals()), (vec![alice.client_id()], 0));
    assert_eq!(hub.epoch(&id), 2);
}

#[tokio::test]
async fn what_a_member_proposes_unseen_against_the_rules_stops_nobody() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    let (mut carol, mut dave) = (device(&hub, "carol").await, device(&hub, "dave").await);
    create_as(&mut alice, &id, MlsWirePolicy::Ciphertext).await;
    alice.add(&id, &mut [&mut bob, &mut carol]).await;
    alice.sync(&id).await;

    // Bob, who may do neither, wants Alice out and Dave in.
    let mut tx = bob.session.new_transaction().await.unwrap();
    let removal = tx.new_remove_proposal(&id, alice.client_id()).await.unwrap();
    let addition = tx.new_add_proposal(&id, dave.key_package().await).await.unwrap();
    tx.finish().await.unwrap();
    hub.post(&id, removal.proposal);
    hub.post(&id, addition.proposal);
    for device in [&mut alice, &mut carol] {
        let seen = device.sync(&id).await;
        assert!(seen.iter().all(|seen| seen.outcome == Outcome::Proposal && seen.delay.is_some()));
        assert_eq!(device.session.conversation(&id).unwrap().pending_proposals(), 2);
    }
    // Whoever is to be removed commits like anybody, and adds by itself whom nobody else may add.
    alice.add(&id, &mut [&mut dave]).await;
    carol.sync(&id).await;
    assert_same_state(&id, &[&alice, &carol, &dave]);

    // Nothing else is to be committed: the commit of nothing clears them.
    let mut tx = bob.session.new_transaction().await.unwrap();
    bob.cursors.insert(id.clone(), hub.log_len(&id) - 1);
    tx.conversation(&id).await.unwrap().decrypt_message(bob.newest(&id)).unwrap();
    tx.conversation(&id).await.unwrap().clear_pending_proposals().unwrap();
    let removal = tx.new_remove_proposal(&id, alice.client_id()).await.unwrap();
    tx.finish().await.unwrap();
    hub.post(&id, removal.proposal);
    alice.sync(&id).await;
    let committed = alice.commit_proposals(&id).await.unwrap().unwrap();
    assert!(committed.added.is_empty() && committed.removed.is_empty());
    alice.send(&id, "still here").await;
    assert_eq!(carol.read(&id).await, ["still here"]);
    assert_same_state(&id, &[&alice, &carol]);

    // What the hub proposes counts.
    hub.propose_removal(&id, &carol.client_id());
    alice.sync(&id).await;
    carol.sync(&id).await;
    assert!(matches!(carol.commit_proposals(&id).await, Err(EngineError::OwnRemovalPending)));
    let committed = alice.commit_proposals(&id).await.unwrap().unwrap();
    assert_eq!(committed.removed, [carol.client_id()]);
}

#[tokio::test]
async fn who_joins_from_outside_is_held_to_the_rules_by_itself_and_by_the_members() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    create(&mut alice, &id).await;
    alice.add(&id, &mut [&mut bob]).await;
    alice.sync(&id).await;

    // A member's device comes back.
    bob.join_externally(&id).await.unwrap();
    alice.sync(&id).await;
    assert_same_state(&id, &[&alice, &bob]);

    let info = hub.verifiable_group_info(&id);
    assert_eq!(names(info.group_data().as_deref()), Names::from([alice.client_id()]));
    assert!(info.client_ids().unwrap().contains(&bob.client_id()));
    let mut carol = device(&hub, "carol").await;
    let refused = carol.join_externally(&id).await.unwrap_err();
    assert!(broken_by(&refused, "carol"), "{refused}");

    let mut mallory = Device::new(&hub, "mallory").await;
    mallory.join_externally(&id).await.unwrap();
    let refused = alice.decrypt(&id, &alice.newest(&id)).await.unwrap_err();
    assert!(broken_by(&refused, "mallory"), "{refused}");
    assert_eq!(alice.session.conversation(&id).unwrap().client_ids().unwrap().len(), 2);
}

#[tokio::test]
async fn a_welcome_into_a_group_against_the_rules_is_refused_and_the_key_package_stays() {
    let (hub, id) = (Hub::new(), conversation());
    let mut mallory = Device::new(&hub, "mallory").await;
    let bob = device(&hub, "bob").await;
    mallory.create(&id).await;
    mallory.change(&id, vec![bob.key_package().await], &[]).await.unwrap();

    let (welcome, _) = hub.welcome(&id);
    for _ in 0..2 {
        let mut tx = bob.session.new_transaction().await.unwrap();
        let refused = tx.process_welcome(&welcome).unwrap_err();
        let EngineError::RulesBroken(violation) = &refused else { panic!("{refused}") };
        assert_eq!(violation.reason(), Some(&Broken::Outsider));
        tx.finish().await.unwrap();
    }
    assert!(!bob.session.conversation_exists(&id).unwrap());
}

#[tokio::test]
async fn a_commit_that_changes_who_may_propose_from_outside_is_refused() {
    let (hub, id) = (Hub::new(), conversation());
    let mut alice = device(&hub, "alice").await;
    create(&mut alice, &id).await;
    let mut mallory = Forger::join(&mut alice, &id).await;
    let commit = mallory.drop_external_senders();
    let refused = alice.decrypt(&id, &commit).await.unwrap_err();
    assert!(matches!(refused, EngineError::ContextChanged), "{refused}");
    assert_eq!(refused.kind(), ErrorKind::Peer);
    assert_eq!(alice.epoch(&id), 1);
}

#[tokio::test]
async fn a_proposal_to_change_who_may_propose_from_outside_stops_nobody_where_it_could_come_unseen() {
    let (hub, id) = (Hub::new(), conversation());
    let (mut alice, mut bob) = (device(&hub, "alice").await, device(&hub, "bob").await);
    create_as(&mut alice, &id, MlsWirePolicy::Ciphertext).await;
    let mut mallory = Forger::join(&mut alice, &id).await;
    let proposal = mallory.propose_no_external_senders();
    assert_eq!(alice.decrypt(&id, &proposal).await.unwrap().outcome, Outcome::Proposal);
    let raised = Names::from([alice.client_id(), client_id("mallory")]);
    alice.update_with(&id, CommitOptions::default().with_group_data(data(&raised))).await.unwrap();
    assert_eq!(named(&alice, &id), raised);
    alice.add(&id, &mut [&mut bob]).await;
    assert_same_state(&id, &[&alice, &bob]);
}

#[tokio::test]
async fn group_data_has_a_bound() {
    let (hub, id) = (Hub::new(), conversation());
    let mut alice = Device::new(&hub, "alice").await;
    alice.create(&id).await;
    let max = MlsConversationConfiguration::MAX_GROUP_DATA;
    let too_long = CommitOptions::default().with_group_data(vec![0; max + 1]);
    let refused = alice.update_with(&id, too_long).await.unwrap_err();
    assert!(matches!(refused, EngineError::GroupDataTooLong { len, .. } if len == max + 1), "{refused}");
    alice.update_with(&id, CommitOptions::default().with_group_data(vec![7; max])).await.unwrap();
    assert_eq!(alice.session.conversation(&id).unwrap().group_data(), Some(vec![7; max]));
    let mut alice = alice.restarted();
    assert_eq!(alice.sync(&id).await[0].outcome, Outcome::OwnCommitKnown);
    assert_eq!(alice.session.conversation(&id).unwrap().group_data(), Some(vec![7; max]));
}
