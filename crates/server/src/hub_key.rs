//! The hub's MLS key, with which it signs proposals as external sender 0 (RFC 9420 section 12.1.8.1).

use crate::{ServerError, mls::CIPHER_SUITE};
use mls_rs::{
    CipherSuiteProvider as _, CryptoProvider as _,
    crypto::{SignaturePublicKey, SignatureSecretKey},
};
use mls_rs_crypto_awslc::AwsLcCryptoProvider;
use std::{fs, io, path::Path};
use zeroize::Zeroizing;

/// Reads the key from the file at `path`, which has its 64 bytes (seed, then public key) in hexadecimal. Makes one if
/// there is no file.
pub(crate) fn load_or_create(path: &Path) -> Result<(SignatureSecretKey, SignaturePublicKey), ServerError> {
    let suite = AwsLcCryptoProvider::new()
        .cipher_suite_provider(CIPHER_SUITE)
        .expect("the provider was built with this suite");
    let secret = match fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => {
            let bytes =
                hex::decode(text.trim()).map_err(|_| ServerError::HubKey { path: path.to_owned() })?;
            SignatureSecretKey::from(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (secret, _) =
                suite.signature_key_generate().map_err(|_| ServerError::HubKey { path: path.to_owned() })?;
            let text = Zeroizing::new(hex::encode(secret.as_ref()));
            crate::files::write_private(path, text.as_bytes())
                .map_err(|source| ServerError::File { path: path.to_owned(), source })?;
            secret
        }
        Err(source) => return Err(ServerError::File { path: path.to_owned(), source }),
    };
    let public = suite
        .signature_key_derive_public(&secret)
        .map_err(|_| ServerError::HubKey { path: path.to_owned() })?;
    Ok((secret, public))
}
