//! The hub's MLS key, with which it signs proposals as external sender 0 (RFC 9420 section 12.1.8.1).

use crate::{ServerError, mls::CIPHER_SUITE, storage::StorageError};
use mls_rs::{
    CipherSuiteProvider, CryptoProvider as _,
    crypto::{SignaturePublicKey, SignatureSecretKey},
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

/// Reads the key from the file at `path`, which has its 64 bytes (seed, then public key) in hexadecimal. Makes one if
/// there is no file, unless the hub `has_users`: their groups name the key that it had, and would refuse what another one signs.
pub(crate) fn load_or_create(
    path: &Path,
    has_users: bool,
) -> Result<(SignatureSecretKey, SignaturePublicKey), ServerError> {
    let damaged = || ServerError::HubKey { path: path.to_owned() };
    let secret = match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => Zeroizing::new(hex::decode(text.trim()).map_err(|_| damaged())?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if has_users {
                return Err(ServerError::NoHubKey { path: path.to_owned() });
            }
            let secret = generate().ok_or_else(damaged)?;
            let text = Zeroizing::new(hex::encode(secret.as_slice()));
            crate::files::write_private(path, text.as_bytes())
                .map_err(|source| ServerError::File { path: path.to_owned(), source })?;
            secret
        }
        Err(source) => return Err(ServerError::File { path: path.to_owned(), source }),
    };
    pair(&secret).ok_or_else(damaged)
}

/// Reads the 64 bytes of the key in the file at `path`.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, ServerError> {
    let text = fs::read_to_string(path).map(Zeroizing::new);
    let text = text.map_err(|source| ServerError::File { path: path.to_owned(), source })?;
    let damaged = || ServerError::HubKey { path: path.to_owned() };
    let secret = Zeroizing::new(hex::decode(text.trim()).map_err(|_| damaged())?);
    pair(&secret).ok_or_else(damaged)?;
    Ok(secret)
}

/// The key that all nodes of a hub have, from their database.
pub(crate) fn shared(secret: &[u8]) -> Result<(SignatureSecretKey, SignaturePublicKey), ServerError> {
    pair(secret).ok_or(ServerError::Storage(StorageError::Damaged("the hub's key cannot be used")))
}

/// A new key, its 64 bytes; none without randomness.
pub(crate) fn generate() -> Option<Zeroizing<Vec<u8>>> {
    let (secret, _) = suite().signature_key_generate().ok()?;
    Some(Zeroizing::new(secret.as_ref().to_vec()))
}

fn pair(secret: &[u8]) -> Option<(SignatureSecretKey, SignaturePublicKey)> {
    let secret = SignatureSecretKey::from(secret.to_vec());
    let public = suite().signature_key_derive_public(&secret).ok()?;
    Some((secret, public))
}

fn suite() -> impl CipherSuiteProvider {
    AwsLcCryptoProvider::new()
        .cipher_suite_provider(CIPHER_SUITE)
        .expect("the provider was built with this suite")
}
