use crate::support::{Device, Hub, client_id};
use std::time::Duration;
use tertulia_mls::{Ciphersuite, CredentialFilter, EngineError, Result};

const P256: Ciphersuite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;

/// What a device is: a credential for each ciphersuite, and the key packages by which others add it.
pub(crate) async fn run() -> Result<()> {
    let alice = Device::new(&Hub::default().into(), "alice").await?;
    let mut tx = alice.session.new_transaction().await?;

    // Those that are missing are made. What is there already is left as it is.
    let suites = [Ciphersuite::default(), P256];
    let credentials = tx.mls_init(&client_id("alice"), &suites)?;
    assert_eq!(credentials[0], alice.credential);
    let filter = CredentialFilter { ciphersuite: Some(P256), ..CredentialFilter::default() };
    assert_eq!(tx.find_credentials_by(&filter)?, credentials[1..]);

    // A hundred for one use each, and one for when they are used up. Upload them after `finish`.
    let month = Duration::from_hours(30 * 24);
    let packages = tx.generate_key_packages(&alice.credential, 100, Some(month))?;
    let last_resort = tx.generate_last_resort_key_package(&alice.credential)?;
    assert_eq!(packages[0].client_id(), last_resort.client_id());
    assert_eq!(tx.key_package_count()?, 100);
    assert_eq!(tx.prune_key_packages()?, 0, "none has expired yet");

    // What is in use stays.
    assert!(matches!(tx.remove_credential(&alice.credential), Err(EngineError::CredentialInUse)));
    tx.remove_key_packages_for(&alice.credential)?;
    tx.remove_credential(&alice.credential)?;
    assert_eq!(tx.find_credentials()?, credentials[1..]);
    tx.finish().await
}
