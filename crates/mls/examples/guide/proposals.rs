use crate::support::{Device, client_id, two};
use tertulia_mls::{EngineError, Outcome, Result, VerifiableGroupInfo};

/// A proposal waits until somebody commits it, and is made again if somebody's commit leaves it out.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let carol = Device::new(&hub, "carol").await?;

    // Alice proposes to add Carol, but Bob commits before he has seen it.
    let key_package = carol.key_packages().await?.remove(0);
    let mut tx = alice.session.new_transaction().await?;
    tx.new_add_proposal(&id, key_package).await?;
    tx.finish().await?;
    bob.update(&id).await?;
    let committed = alice.receive(&id, &hub.newest(&id)).await?;
    let renewed = &committed.proposals[0];
    assert!(matches!(alice.encrypt(&id, "?").await, Err(EngineError::PendingProposals { count: 1 })));

    // Now he gets it. The members wait for different times, so that one commits and not all.
    let received = bob.receive(&id, &renewed.proposal).await?;
    assert_eq!(received.outcome, Outcome::Proposal);
    assert_eq!(received.delay, Some(15), "seconds, by his place among the members and the epoch");
    let mut tx = bob.session.new_transaction().await?;
    tx.conversation(&id).await?.commit_pending_proposals().await?;
    tx.finish().await?;
    alice.receive(&id, &hub.newest(&id)).await?;
    assert!(alice.session.conversation(&id)?.client_ids()?.contains(&client_id("carol")));

    // Dora proposes herself, from outside.
    let dora = Device::new(&hub, "dora").await?;
    let mut tx = dora.session.new_transaction().await?;
    let proposed = tx.new_external_add_proposal(
        VerifiableGroupInfo::from_bytes(&hub.group_info(&id))?,
        &dora.credential,
    )?;
    tx.finish().await?;
    alice.receive(&id, &proposed.proposal).await?;
    let mut tx = alice.session.new_transaction().await?;
    tx.conversation(&id).await?.commit_pending_proposals().await?;
    tx.finish().await?;
    let mut tx = dora.session.new_transaction().await?;
    assert_eq!(tx.process_welcome(&hub.welcome(&id))?.id, id);
    tx.finish().await
}
