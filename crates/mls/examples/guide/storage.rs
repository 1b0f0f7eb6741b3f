use crate::support::two;
use tertulia_mls::{EngineError, Result, Session, SessionConfig};
use tertulia_store::{KeySource, Store};

/// The store can get another key, and be copied. A copy does not use a key that the original may have used.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;

    // Another key, in place. Other openings of this home end with that.
    let store = alice.session.store();
    let writer = store.lock().await?;
    store.rekey(&writer, &KeySource::File)?;

    // One that the application keeps, and that is not written beside the database. It is random outside of examples.
    let keychain = KeySource::Given([7; 32].into());
    store.rekey(&writer, &keychain)?;
    drop(writer);

    // A consistent copy under a passphrase, while the device goes on.
    let passphrase = KeySource::Passphrase("correct horse battery staple".to_owned().into());
    let copy = alice.home.path().join("copy");
    let mut copied = 0;
    store.export(&copy, &passphrase, |progress| copied = progress.copied)?;
    assert!(copied > 0);

    // The home is lost, and the copy takes its place. This session leaves no used key on disk, and keeps no group in
    // memory between transactions.
    let config = SessionConfig { strict: true, cache_bytes: 0, ..SessionConfig::default() };
    let restored = Session::open(Store::open(&copy, &passphrase)?, hub.clone(), config)?;
    assert!(restored.conversation(&id)?.is_restored());
    let mut tx = restored.new_transaction().await?;
    let mut conversation = tx.conversation(&id).await?;
    assert!(matches!(conversation.encrypt_message("Hello"), Err(EngineError::StateRestored)));
    conversation.update_key_material().await?;
    let message = conversation.encrypt_message("Hello")?;
    tx.finish().await?;

    bob.receive(&id, &hub.newest(&id)).await?;
    assert_eq!(bob.receive(&id, &message).await?.app_msg.as_deref(), Some(&b"Hello"[..]));
    Ok(())
}
