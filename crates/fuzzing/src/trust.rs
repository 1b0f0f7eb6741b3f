//! Certificates and revocation lists: nothing that an authority has not signed is believed.

use std::cell::OnceCell;

use tertulia_mls::{Credential, DeviceStatus, KeyPackage, TransactionContext, WireIdentity};
use tokio::runtime::Runtime;

use crate::{
    device::{Device, Inside, client_id, conversation},
    entry::is_refusal,
    hub::Mood,
    pki::Certification,
    script,
    world::runtime,
};

/// Where the revocation lists are.
const POINT: &str = "http://crl.example/devices";

fn with_certification<R>(f: impl FnOnce(&Runtime, &Certification) -> R) -> R {
    thread_local! {
        static CERTIFICATION: OnceCell<(Runtime, Certification)> = const { OnceCell::new() };
    }
    CERTIFICATION.with(|certification| {
        let (runtime, certification) = certification.get_or_init(|| {
            let runtime = runtime();
            let certification = runtime.block_on(Certification::begin());
            (runtime, certification)
        });
        f(runtime, certification)
    })
}

/// The real certificates, private keys and key packages: which of them a script damages, its first byte says.
pub(crate) fn certificates() -> Vec<Vec<u8>> {
    with_certification(|_, pki| {
        let mut samples = Vec::new();
        for authority in [&pki.root, &pki.intermediate, &pki.foreign] {
            samples.extend([authority.der(), authority.pem().into_bytes()]);
        }
        for certified in &pki.certified {
            samples.extend([certified.chain[0].clone(), certified.key.clone()]);
        }
        samples.push(chain_in_pem(pki));
        samples.extend_from_slice(&pki.key_packages);
        samples
    })
}

/// The real revocation lists.
pub(crate) fn lists() -> Vec<Vec<u8>> {
    with_certification(|_, pki| pki.lists.clone())
}

/// Dave's certificate with that above it.
fn chain_in_pem(pki: &Certification) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let block = |der: &Vec<u8>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    };
    pki.certified[0].chain.iter().map(block).collect::<String>().into_bytes()
}

/// A certificate of an authority or a device, its private key, or a key package with a certificate.
///
/// The first byte chooses what it is taken for, and for which ciphersuite, the rest is the bytes.
pub fn certificate(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    let bytes = script::message(rest, &certificates());
    with_certification(|runtime, pki| {
        runtime.block_on(async {
            let certified = &pki.certified[usize::from(choice / 8) % pki.certified.len()];
            let above = certified.chain[1].clone();
            let credential = match choice % 8 {
                0 | 1 => return register(pki, choice % 8 == 0, &bytes).await,
                2 | 3 => Credential::x509([bytes, above], &certified.key, certified.suite),
                4 => Credential::x509([certified.chain[0].clone(), bytes], &certified.key, certified.suite),
                5 => Credential::x509_pem(&bytes, &certified.key, certified.suite),
                6 => Credential::x509(certified.chain.clone(), &bytes, certified.suite),
                _ => {
                    let Ok(package) = KeyPackage::from_bytes(&bytes) else { return };
                    return add(pki, package).await;
                }
            };
            let Ok(credential) = credential else { return };
            assert_eq!(credential.public_key().len(), certified.suite.signature_scheme().public_key_length());
            let mut tx = pki.dave.session.new_transaction().await.expect("nobody else writes");
            let Ok(credential) = tx.add_credential(credential) else { return };
            let packages = tx.generate_key_packages(&credential, 1, None);
            tx.abort();
            if let Some(package) = packages.ok().and_then(|mut packages| packages.pop()) {
                add(pki, package).await;
            }
        });
    });
}

/// Registers what may be the certificate of an authority. Whatever comes of it, who was vouched for still is.
async fn register(pki: &Certification, anchor: bool, bytes: &[u8]) {
    let registered =
        |tx: &TransactionContext| tx.registered_certificates().expect("the store can be read").len();
    let mut tx = pki.alice.session.new_transaction().await.expect("nobody else writes");
    let before = registered(&tx);
    let result =
        if anchor { tx.add_trust_anchor(bytes).map(drop) } else { tx.add_intermediate(bytes).map(drop) };
    let after = registered(&tx);
    assert!(after == before || (result.is_ok() && after == before + 1), "{result:?}");
    let status = bobs_status(&mut tx).await;
    assert_eq!(status, Some(DeviceStatus::Valid), "after {result:?}");
    tx.abort();
}

/// Alice adds somebody. It comes as far as to the hub, which refuses it, only with a certificate that is genuine.
async fn add(pki: &Certification, package: KeyPackage) {
    let Device { hub, session, .. } = &pki.alice;
    hub.set_mood(Mood::Strict);
    let key = package.signature_key().to_vec();
    let mut tx = session.new_transaction().await.expect("nobody else writes");
    let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
    let before = Inside::of(&mut guard);
    let error = guard.add_members(vec![package]).await.expect_err("the hub refuses it");
    if is_refusal(&error) {
        assert_eq!(key, pki.dave.credential.public_key(), "nobody has certified this key");
    }
    assert_eq!(Inside::of(&mut guard), before, "after {error:?}");
    assert_eq!(guard.pending_commit().expect("the store can be read"), None, "after {error:?}");
    if !is_refusal(&error) {
        let genuine = KeyPackage::from_bytes(&pki.key_packages[0]).expect("it is genuine");
        let added = guard.add_members(vec![genuine]).await;
        assert!(added.is_err_and(|error| is_refusal(&error)), "the genuine one comes as far as to the hub");
    }
    tx.abort();
}

/// A revocation list. It counts only as it was signed by somebody trusted, and none takes a newer one's place.
///
/// Of the first byte one bit says whether Bob was revoked before, the others where the list comes from.
pub fn crl(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_certification(|runtime, pki| {
        runtime.block_on(async {
            let list = script::message(rest, &pki.lists);
            let mut tx = pki.alice.session.new_transaction().await.expect("nobody else writes");
            tx.add_intermediate(&pki.intermediate.der()).expect("it is genuine");
            let revoked_before = choice % 2 == 1;
            if revoked_before {
                tx.e2ei_register_crl(POINT, &pki.lists[0]).expect("it is genuine");
            }
            let before = bobs_status(&mut tx).await;
            let expected = if revoked_before { DeviceStatus::Revoked } else { DeviceStatus::Valid };
            assert_eq!(before, Some(expected));

            let text = String::from_utf8_lossy(&list).into_owned();
            let point = [POINT, "http://crl.example/others", "", &text][usize::from(choice / 2) % 4];
            let result = tx.e2ei_register_crl(point, &list);
            let after = bobs_status(&mut tx).await;
            match result {
                Ok(registered) => {
                    let (_, genuine) = pki.lists.split_last().expect("there are some");
                    let place = genuine.iter().position(|other| *other == list);
                    let place = place.expect("only what was signed is a list");
                    assert!(registered.expiration.is_some(), "each list says when the next one comes");
                    if place == 1 {
                        assert_eq!(after, before, "an old list changes nothing");
                    }
                }
                Err(error) => assert_eq!(after, before, "after {error:?}"),
            }
            tx.abort();
        });
    });
}

async fn bobs_status(tx: &mut TransactionContext) -> Option<DeviceStatus> {
    let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
    let identities = guard.get_device_identities(&[client_id(2)]).expect("he is a member");
    identities.first().and_then(|WireIdentity { status, .. }| *status)
}
