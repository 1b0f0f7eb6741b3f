//! Has a certificate issued by ACME (RFC 8555), and answers over TLS what is asked of the names (RFC 8737): that needs no other
//! port than the hub's own, which the authority has to reach as 443.

use super::resolver::Resolver;
use crate::{config::Acme, files};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::{pki_types::PrivateKeyDer, sign::CertifiedKey};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// How long an authority may take for a step.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_mins(2));

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssuingError {
    /// The authority cannot be reached, or refuses. Its own words say why.
    #[error("the certificate authority: {0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority did not find the hub under the name. The name has to lead to it, at port 443.
    #[error("the certificate authority could not verify that {name} is this hub: {reason}")]
    Unverified { name: String, reason: String },
    /// The authority does not ask over TLS. Another one is needed, or certificates from elsewhere.
    #[error("the certificate authority has no challenge of type tls-alpn-01 for {0}")]
    NoChallenge(String),
    /// The order came to nothing. It is made anew.
    #[error("the certificate authority left the order {0:?}")]
    Unfinished(OrderStatus),
    /// The certificate for an answer cannot be made. It is tried again.
    #[error("the answer for the certificate authority cannot be made: {0}")]
    Answer(#[from] rcgen::Error),
    /// The key of an answer cannot be used. It is tried again.
    #[error("the answer for the certificate authority cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// The certificate cannot be read, or does not go with its key. It is ordered anew.
    #[error("the certificate that was issued cannot be used")]
    Unusable,
    /// The account is not kept. The directory has to be writable for the hub.
    #[error("cannot use {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// The account cannot be written. It is tried again.
    #[error("the account at the certificate authority cannot be written: {0}")]
    Format(#[from] serde_json::Error),
}

/// The account at an authority, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The authority's address.
    directory: String,
    credentials: AccountCredentials,
}

/// Has a certificate issued for all names: its key and the chain, in PEM.
pub(super) async fn issue(
    acme: &Acme,
    directory: &Path,
    resolver: &Resolver,
) -> Result<Zeroizing<String>, IssuingError> {
    let account = account(acme, directory).await?;
    let issued = order(acme, &account, resolver).await;
    resolver.forget_answers();
    issued
}

/// Whether what is kept comes from this authority.
pub(super) fn is_of(acme: &Acme, directory: &Path) -> bool {
    kept(directory).is_some_and(|kept| kept.directory == acme.directory)
}

async fn order(
    acme: &Acme,
    account: &Account,
    resolver: &Resolver,
) -> Result<Zeroizing<String>, IssuingError> {
    let names: Vec<_> = acme.names.iter().map(|name| Identifier::Dns(name.to_string())).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue; // from an order that came to nothing later
        }
        let name = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(ChallengeType::TlsAlpn01) else {
            return Err(IssuingError::NoChallenge(name));
        };
        let answer = answer(&name, challenge.key_authorization().digest().as_ref())?;
        resolver.answer(name, answer);
        challenge.set_ready().await?;
    }
    match order.poll_ready(&PATIENCE).await? {
        OrderStatus::Ready => {}
        status => return Err(reason(&mut order).await?.unwrap_or(IssuingError::Unfinished(status))),
    }
    let mut pem = Zeroizing::new(order.finalize().await?);
    pem.push_str(&order.poll_certificate(&PATIENCE).await?);
    Ok(pem)
}

/// The certificate that shows an authority that this is the hub of the name: signed by itself, with what the authority asks for
/// in it (RFC 8737, section 3).
fn answer(name: &str, digest: &[u8]) -> Result<CertifiedKey, IssuingError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let key = rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(key)?;
    // Not read again, for rustls does not know the critical extension that is in it.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Which name the authority could not verify, and what it says of it.
async fn reason(order: &mut Order) -> Result<Option<IssuingError>, IssuingError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let name = authorization.identifier().to_string();
        let challenges = &authorization.refresh().await?.challenges;
        if let Some(problem) = challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Ok(Some(IssuingError::Unverified { name, reason: problem.to_string() }));
        }
    }
    Ok(None)
}

/// The account at the authority, made if there is none.
async fn account(acme: &Acme, directory: &Path) -> Result<Account, IssuingError> {
    let builder = || match &acme.root {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    };
    if let Some(kept) = kept(directory).filter(|kept| kept.directory == acme.directory) {
        return Ok(builder()?.from_credentials(kept.credentials).await?);
    }
    let contact = acme.contact.as_ref().map(|address| format!("mailto:{address}"));
    let new = NewAccount {
        contact: &contact.iter().map(String::as_str).collect::<Vec<_>>(),
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder()?.create(&new, acme.directory.clone(), None).await?;
    let path = account_file(directory);
    let kept = serde_json::to_vec(&Kept { directory: acme.directory.clone(), credentials })?;
    files::write_private(&path, &Zeroizing::new(kept))
        .map_err(|source| IssuingError::File { path, source })?;
    Ok(account)
}

/// The account that is kept, if it can be read: otherwise another one does as well.
fn kept(directory: &Path) -> Option<Kept> {
    let bytes = Zeroizing::new(std::fs::read(account_file(directory)).ok()?);
    serde_json::from_slice(&bytes).ok()
}

fn account_file(directory: &Path) -> PathBuf {
    directory.join("account.json")
}
