use crate::support::{Device, client_id, two};
use tertulia_mls::{CommitOutcome, EngineError, Outcome, RejectReason, Result};

/// With a group info one joins from outside, and comes back when one's state is lost.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let carol = Device::new(&hub, "carol").await?;

    // Somebody else's commit came first. Nothing is left behind: try again with a fresh group info.
    hub.answer_next(CommitOutcome::Rejected(RejectReason::StaleEpoch { current: Some(1) }));
    let mut tx = carol.session.new_transaction().await?;
    let refused = tx.join_by_external_commit(hub.verifiable_group_info(&id)?, &carol.credential).await;
    assert!(matches!(refused, Err(EngineError::CommitRejected(RejectReason::StaleEpoch { .. }))));
    let joined = tx.join_by_external_commit(hub.verifiable_group_info(&id)?, &carol.credential).await?;
    assert_eq!((joined.id, joined.epoch), (id.clone(), 2));
    tx.finish().await?;
    let seen = alice.receive(&id, &hub.newest(&id)).await?;
    assert!(seen.external_join && seen.added == [client_id("carol")]);
    bob.receive(&id, &hub.newest(&id)).await?;

    // Bob has lost his state. His old leaf goes with the commit by which he comes back.
    let mut tx = bob.session.new_transaction().await?;
    tx.conversation(&id).await?.wipe()?;
    tx.join_by_external_commit(hub.verifiable_group_info(&id)?, &bob.credential).await?;
    tx.finish().await?;
    let seen = alice.receive(&id, &hub.newest(&id)).await?;
    assert!(seen.added.is_empty() && seen.removed.is_empty(), "he is in his own place");
    let message = bob.encrypt(&id, "Here I am again").await?;
    assert_eq!(alice.receive(&id, &message).await?.outcome, Outcome::Application);
    Ok(())
}
