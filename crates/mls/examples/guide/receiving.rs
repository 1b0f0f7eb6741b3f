use crate::support::two;
use tertulia_mls::{Outcome, Result};

/// Every message has an outcome; those that come too early wait for their commit.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let first = alice.encrypt(&id, "before").await?;
    alice.update(&id).await?;
    let commit = hub.newest(&id);
    let second = alice.encrypt(&id, "after").await?;

    // The message of the next epoch comes before the commit that begins it.
    let early = bob.receive(&id, &second).await?;
    assert_eq!(early.outcome, Outcome::Buffered);
    let committed = bob.receive(&id, &commit).await?;
    assert_eq!((committed.outcome, committed.epoch), (Outcome::Commit, 2));
    let waited = committed.buffered_messages.expect("one was waiting");
    assert_eq!(waited[0].app_msg.as_deref(), Some(&b"after"[..]));

    // The one of the past epoch comes late, and is read; twice, and is not.
    let late = bob.receive(&id, &first).await?;
    assert_eq!(late.app_msg.as_deref(), Some(&b"before"[..]));
    assert_eq!(late.sender_client_id.as_ref(), Some(alice.credential.client_id()));
    assert_eq!(bob.receive(&id, &first).await?.outcome, Outcome::Duplicate);

    // The sender receives the log too.
    assert_eq!(alice.receive(&id, &second).await?.outcome, Outcome::OwnMessage);
    assert_eq!(alice.receive(&id, &commit).await?.outcome, Outcome::OwnCommitKnown);

    // What is forged is an error, and changes nothing.
    let mut forged = bob.encrypt(&id, "from Bob").await?;
    *forged.last_mut().expect("a message is not empty") ^= 1;
    let error = alice.receive(&id, &forged).await.expect_err("it is not authentic");
    assert_eq!(error.kind(), tertulia_mls::ErrorKind::Peer);
    Ok(())
}
