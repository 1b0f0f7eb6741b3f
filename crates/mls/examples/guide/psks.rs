use crate::support::{Device, two};
use tertulia_mls::{CommitOptions, EngineError, Result};

/// A secret that members have from elsewhere is mixed into an epoch; a key package moves to another device.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let mut tx = alice.session.new_transaction().await?;
    tx.add_psk(b"contract", b"what both have read from a screen")?;
    let options = CommitOptions::default().with_psk("contract");
    tx.conversation(&id).await?.update_key_material_with(options).await?;
    tx.finish().await?;

    // Who does not have it cannot follow, until it has it.
    let commit = hub.newest(&id);
    assert!(matches!(bob.receive(&id, &commit).await, Err(EngineError::PskMissing)));
    let mut tx = bob.session.new_transaction().await?;
    tx.add_psk(b"contract", b"what both have read from a screen")?;
    tx.conversation(&id).await?.decrypt_message(&commit)?;
    tx.finish().await?;

    // Taken out with its private keys, it is not here any more: nobody can join with it twice.
    let carol = Device::new(&hub, "carol").await?;
    let package = carol.key_packages().await?.remove(0);
    let mut tx = carol.session.new_transaction().await?;
    let (package, secrets) = tx.take_key_package(package.reference())?.expect("it was made here");
    assert_eq!(tx.key_package_count()?, 0);
    // On the other device, which has the same credential (`Credential::from_parts`).
    tx.import_key_package(package.as_bytes(), &secrets)?;
    assert_eq!(tx.key_package_count()?, 1);
    tx.finish().await
}
