use crate::support::{client_id, two};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519, SanType};
use tertulia_mls::{Ciphersuite, Credential, DeviceStatus, E2eiConversationState, Outcome, Result};

/// A device with a certificate says who its user is, and every member can tell what vouches for that.
pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let [authority, certificate, key] = issue().expect("certificates can be made");

    // Everybody trusts the same authorities, and so decides alike.
    for device in [&alice, &bob] {
        let mut tx = device.session.new_transaction().await?;
        tx.add_trust_anchor(&authority)?;
        tx.finish().await?;
    }
    // Alice takes the certificate into use in the place of her bare name.
    let mut tx = alice.session.new_transaction().await?;
    let credential = Credential::x509([certificate], &key, Ciphersuite::default())?;
    let credential = tx.add_credential(credential)?;
    tx.conversation(&id).await?.set_credential_by_ref(&credential).await?;
    tx.finish().await?;

    let received = bob.receive(&id, &hub.newest(&id)).await?;
    assert_eq!(received.outcome, Outcome::Commit);
    // Lists of what is revoked are fetched by the application: `tx.e2ei_register_crl(url, &list)`.
    assert_eq!(received.crl_new_distribution_points, None);
    let view = bob.session.conversation(&id)?;
    let identity = view.get_device_identities(&[client_id("alice")])?.remove(0);
    assert_eq!(identity.status, Some(DeviceStatus::Valid));
    let claims = identity.x509_identity.expect("it has a certificate");
    assert_eq!(claims.handle.as_deref(), Some("alice"));
    assert_eq!(view.e2ei_conversation_state()?, E2eiConversationState::NotVerified, "Bob has none");
    Ok(())
}

/// An authority, and a certificate of it for Alice's device with its private key.
fn issue() -> std::result::Result<[Vec<u8>; 3], rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ED25519)?)?;
    let device = client_id("alice").as_str().unwrap_or_default().replace(':', "!");
    let names = [format!("wireapp://{device}"), "wireapp://%40alice@hub.example".to_owned()];
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in names {
        params.subject_alt_names.push(SanType::URI(name.try_into()?));
    }
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let certificate = params.signed_by(&key, &authority)?;
    Ok([authority.der().to_vec(), certificate.der().to_vec(), key.serialize_der()])
}
