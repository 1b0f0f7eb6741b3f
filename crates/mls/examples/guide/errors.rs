use crate::support::two;
use tertulia_mls::{EngineError, ErrorKind, Result};

/// What a reader of the log does about an error.
#[derive(Debug, PartialEq)]
enum Then {
    /// Show a gap, and go on with the next message.
    Skip,
    /// Wait, catch up, and pass the message again.
    Retry,
    /// Join the conversation again by external commit.
    Rejoin,
    /// The program is wrong.
    Report,
}

fn then(error: &EngineError) -> Then {
    match error.kind() {
        ErrorKind::Peer => Then::Skip,
        ErrorKind::Transient => Then::Retry,
        ErrorKind::LocalState => Then::Rejoin,
        _ => Then::Report,
    }
}

pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let error = bob.receive(&id, b"not a message").await.expect_err("it is none");
    assert_eq!(then(&error), Then::Skip);

    // The kind says whose fault it is, the variant with its documentation what to do, the text is for the log.
    let mut tx = alice.session.new_transaction().await?;
    let myself = alice.credential.client_id();
    let error = tx.conversation(&id).await?.remove_members(&[myself]).await.expect_err("others do that");
    assert!(matches!(error, EngineError::CannotRemoveSelf));
    assert_eq!((then(&error), error.to_string()), (Then::Report, "a member cannot remove itself".to_owned()));

    // After an error the transaction is as before, and can be used further.
    tx.conversation(&id).await?.update_key_material().await?;
    tx.finish().await?;
    assert_eq!(hub.epoch(&id), 2);
    Ok(())
}
