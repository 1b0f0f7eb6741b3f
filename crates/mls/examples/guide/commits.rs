use crate::support::two;
use tertulia_mls::{CommitOutcome, EngineError, Outcome, RejectReason, Result, Settlement};

/// A commit is pending from before it is sent until its outcome is known.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, _bob, id) = two().await?;

    // Rejected: it is dropped, and the epoch stays. Catch up, and decide anew.
    hub.answer_next(CommitOutcome::Rejected(RejectReason::StaleEpoch { current: None }));
    let rejected = alice.update(&id).await;
    assert!(matches!(rejected, Err(EngineError::CommitRejected(RejectReason::StaleEpoch { .. }))));
    assert_eq!(alice.session.conversation(&id)?.epoch(), 1);

    // The hub takes it, but its answer is lost: it stays pending, also over a crash.
    hub.answer_next(CommitOutcome::Unknown { detail: "timeout".to_owned() });
    let unknown = alice.update(&id).await;
    assert!(matches!(unknown, Err(EngineError::CommitOutcomeUnknown { .. })));

    // What to do after a start, and whenever the hub can be reached again.
    for (id, _) in alice.session.pending_commits()? {
        let mut tx = alice.session.new_transaction().await?;
        let mut conversation = tx.conversation(&id).await?;
        match conversation.settle_pending(hub.epoch(&id)).await? {
            // The hub had not got it, and has now.
            Settlement::Merged(summary) => assert_eq!(summary.epoch, 2),
            // Somebody's commit was taken. The log tells whose: its own echo merges it, another's drops it.
            Settlement::AwaitLog { .. } => {
                let received = conversation.decrypt_message(hub.newest(&id))?;
                assert_eq!(received.outcome, Outcome::OwnCommitMerged);
            }
            // Another process was faster.
            _ => {}
        }
        tx.finish().await?;
    }
    assert_eq!(alice.session.conversation(&id)?.epoch(), 2);
    Ok(())
}
