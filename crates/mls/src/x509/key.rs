//! Reading a private key.

use aws_lc_rs::{
    encoding::AsBigEndian,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    },
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::SignatureScheme;

/// The private key in the form of the MLS library, and its raw public key, from a PKCS #8 in DER or PEM. None if it is no
/// key of this scheme.
pub(crate) fn signature_key_from_pkcs8(
    key: &[u8],
    scheme: SignatureScheme,
) -> Option<(Zeroizing<Vec<u8>>, Vec<u8>)> {
    let der = if key.starts_with(b"-----") {
        let key = PrivatePkcs8KeyDer::from_pem_slice(key).ok()?;
        Zeroizing::new(key.secret_pkcs8_der().to_vec())
    } else {
        Zeroizing::new(key.to_vec())
    };
    let algorithm = match scheme {
        SignatureScheme::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8(&der).ok()?;
            let public = pair.public_key().as_ref().to_vec();
            let seed = pair.seed().ok()?.as_be_bytes().ok()?;
            // The library wants the seed with the public key behind it.
            let secret = Zeroizing::new([seed.as_ref(), &public[..]].concat());
            return Some((secret, public));
        }
        SignatureScheme::EcdsaP256Sha256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        SignatureScheme::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        SignatureScheme::EcdsaP521Sha512 => &ECDSA_P521_SHA512_ASN1_SIGNING,
    };
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, &der).ok()?;
    let secret = pair.private_key().as_be_bytes().ok()?;
    Some((Zeroizing::new(secret.as_ref().to_vec()), pair.public_key().as_ref().to_vec()))
}
