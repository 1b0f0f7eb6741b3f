use crate::support::two;
use tertulia_mls::{ConversationId, Result};

/// A child, such as a call within a conversation, goes when its parent goes.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let call = ConversationId::from("tertulia/call");
    alice.create(&call).await?;
    alice.add(&hub, &call, &bob).await?;
    // Each device notes it for itself.
    for device in [&alice, &bob] {
        let mut tx = device.session.new_transaction().await?;
        tx.conversation(&call).await?.mark_as_child_of(&id).await?;
        tx.finish().await?;
    }
    assert_eq!(bob.session.conversation(&id)?.children(), std::slice::from_ref(&call));
    assert_eq!(bob.session.conversation(&call)?.parent(), Some(&id));

    // Who is removed from the parent has lost the child as well.
    let mut tx = alice.session.new_transaction().await?;
    tx.conversation(&id).await?.remove_members(&[bob.credential.client_id()]).await?;
    tx.finish().await?;
    bob.receive(&id, &hub.newest(&id)).await?;
    assert!(bob.session.conversations()?.is_empty());

    let mut tx = alice.session.new_transaction().await?;
    tx.wipe_conversation(&id)?;
    tx.finish().await?;
    assert!(alice.session.conversations()?.is_empty());
    Ok(())
}
