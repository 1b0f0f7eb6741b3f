//! The engine's entry points: any bytes are accepted or are an error, and after an error everything is as before.

use tertulia_mls::{
    EngineError, KeyPackage, MlsConversationDecryptMessage, Outcome, RejectReason, VerifiableGroupInfo,
};

use crate::{
    device::{Device, Inside, conversation},
    hub::Mood,
    script,
    world::{People, World, with_world},
};

/// The first byte chooses whether handshakes are encrypted, the rest is the message.
fn in_world(input: &[u8], f: impl AsyncFnOnce(&People, &[u8])) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_world(choice % 2 == 1, |World { runtime, people }| runtime.block_on(f(people, rest)));
}

/// A message for a conversation that is under way.
pub fn decrypt(input: &[u8]) {
    in_world(input, async |people, rest| {
        let message = script::message(rest, &people.messages);
        let mut tx = people.bob.session.new_transaction().await.expect("nobody else writes");
        let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
        let before = Inside::of(&mut guard);
        let result = guard.decrypt_message(&message);
        if changes_nothing(&result) {
            assert_eq!(Inside::of(&mut guard), before, "after {result:?}");
        }
        if message != people.genuine && Inside::of(&mut guard) == before {
            let result = guard.decrypt_message(&people.genuine).expect("the conversation goes on");
            assert_eq!(result.app_msg.as_deref(), Some(&b"genuine"[..]));
        }
        tx.abort();
    });
}

/// What is said to leave the epoch, the members and the proposals as they are.
fn changes_nothing(result: &Result<MlsConversationDecryptMessage, EngineError>) -> bool {
    match result {
        Ok(result) => {
            !matches!(result.outcome, Outcome::Commit | Outcome::Proposal | Outcome::OwnCommitMerged)
        }
        Err(_) => true,
    }
}

/// A Welcome for a device that is outside.
pub fn welcome(input: &[u8]) {
    in_world(input, async |people, rest| {
        let message = script::message(rest, &people.welcomes);
        let mut tx = people.dave.session.new_transaction().await.expect("nobody else writes");
        let packages = tx.key_package_count().expect("the store can be read");
        if let Err(error) = tx.process_welcome(&message) {
            assert!(!tx.conversation_exists(&conversation()).expect("the store can be read"), "{error:?}");
            assert_eq!(tx.key_package_count().expect("the store can be read"), packages, "{error:?}");
            let joined = tx.process_welcome(&people.welcomes[0]).expect("the genuine one still opens");
            assert_eq!(joined.id, conversation());
        }
        tx.abort();
    });
}

/// A group info that a device joins by. The hub refuses each commit, so that nothing is changed in the end.
pub fn group_info(input: &[u8]) {
    in_world(input, async |people, rest| {
        let message = script::message(rest, &people.group_infos);
        let Ok(info) = VerifiableGroupInfo::from_bytes(&message) else { return };
        let Device { hub, session, credential, .. } = &people.dave;
        hub.set_mood(Mood::Strict);
        let mut tx = session.new_transaction().await.expect("nobody else writes");
        let joined = tx.join_by_external_commit(info, credential).await;
        let error = joined.expect_err("the hub refuses it");
        assert!(!tx.conversation_exists(&conversation()).expect("the store can be read"), "{error:?}");
        assert!(session.pending_commits().expect("the store can be read").is_empty(), "{error:?}");
        if !is_refusal(&error) {
            let info = VerifiableGroupInfo::from_bytes(&people.group_infos[0]).expect("it is genuine");
            let joined = tx.join_by_external_commit(info, credential).await;
            assert!(joined.is_err_and(|error| is_refusal(&error)), "the genuine one does still");
        }
        tx.abort();
    });
}

/// A key package of somebody who is to be added.
pub fn key_package(input: &[u8]) {
    in_world(input, async |people, rest| {
        let bytes = script::message(rest, &people.key_packages);
        let Ok(package) = KeyPackage::from_bytes(&bytes) else { return };
        let again = KeyPackage::from_bytes(package.as_bytes()).expect("what was read can be read again");
        assert_eq!(again, package);
        let Device { hub, session, .. } = &people.alice;
        hub.set_mood(Mood::Strict);
        let mut tx = session.new_transaction().await.expect("nobody else writes");
        let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
        let before = Inside::of(&mut guard);
        let added = guard.add_members(vec![package]).await;
        let error = added.expect_err("the hub refuses it");
        assert_eq!(Inside::of(&mut guard), before, "after {error:?}");
        assert_eq!(guard.pending_commit().expect("the store can be read"), None, "after {error:?}");
        tx.abort();
    });
}

pub(crate) fn is_refusal(error: &EngineError) -> bool {
    matches!(error, EngineError::CommitRejected(RejectReason::Refused { .. }))
}
