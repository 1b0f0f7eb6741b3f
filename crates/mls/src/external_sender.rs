//! Keys that may propose from outside.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::{Ciphersuite, EngineError, Result, SignatureScheme, ciphersuite::UNCOMPRESSED, provider};

/// Longest JWK that is read, in bytes. One with a certificate chain in it is longer, and not meant here.
const MAX_JWK_BYTES: usize = 4096;

/// A signature key that may propose from outside (RFC 9420, section 12.1.8.1).
///
/// Clients of other implementations know one external sender at most, with Ed25519.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalSender {
    scheme: SignatureScheme,
    key: Vec<u8>,
}

impl ExternalSender {
    /// The identity in the basic credential of every external sender. What counts is the key.
    pub const IDENTITY: &'static [u8] = b"external-sender";

    /// A raw public key: 32 bytes of Ed25519, or an uncompressed point of P-256, P-384 or P-521. The length tells which.
    pub fn from_raw(key: &[u8]) -> Result<Self> {
        let scheme =
            SignatureScheme::of_raw_key(key).ok_or(ExternalSenderError::Length { got: key.len() })?;
        if scheme != SignatureScheme::Ed25519 {
            provider::cipher_suite_provider(scheme.some_ciphersuite())?
                .import_ec_der_public_key(key)
                .map_err(|_| ExternalSenderError::NotOnCurve(scheme))?;
        }
        Ok(Self { scheme, key: key.to_vec() })
    }

    /// A JWK (RFC 7517): of type `OKP` with curve Ed25519 (RFC 8037), or `EC` with P-256, P-384 or P-521 (RFC 7518).
    ///
    /// Members that are not about the key, such as `kid`, are ignored. One with a private key is refused.
    pub fn from_jwk(json: &[u8]) -> Result<Self> {
        if json.len() > MAX_JWK_BYTES {
            return Err(ExternalSenderError::Length { got: json.len() }.into());
        }
        let jwk: Jwk = serde_json::from_slice(json).map_err(|_| ExternalSenderError::Jwk)?;
        if jwk.d.is_some() {
            return Err(ExternalSenderError::PrivateKey.into());
        }
        let scheme = match (&*jwk.kty, &*jwk.crv) {
            ("OKP", "Ed25519") => SignatureScheme::Ed25519,
            ("EC", "P-256") => SignatureScheme::EcdsaP256Sha256,
            ("EC", "P-384") => SignatureScheme::EcdsaP384Sha384,
            ("EC", "P-521") => SignatureScheme::EcdsaP521Sha512,
            _ => return Err(ExternalSenderError::UnknownKeyType.into()),
        };
        let coordinate = |text: &str| {
            let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ExternalSenderError::Jwk)?;
            // Leading zeros belong to a coordinate (RFC 7518, section 6.2.1.2).
            if bytes.len() == scheme.coordinate_length() { Ok(bytes) } else { Err(ExternalSenderError::Jwk) }
        };
        let x = coordinate(&jwk.x)?;
        match (scheme, &jwk.y) {
            (SignatureScheme::Ed25519, None) => Self::from_raw(&x),
            (SignatureScheme::Ed25519, Some(_)) | (_, None) => Err(ExternalSenderError::Jwk.into()),
            (_, Some(y)) => Self::from_raw(&[&[UNCOMPRESSED][..], &x, &coordinate(y)?].concat()),
        }
    }

    /// A raw public key or a JWK, whichever it is.
    pub fn from_raw_or_jwk(bytes: &[u8]) -> Result<Self> {
        // No JWK is as short as a key of Ed25519, and none begins as a point does.
        if bytes.len() == SignatureScheme::Ed25519.public_key_length() || bytes.first() == Some(&UNCOMPRESSED)
        {
            return Self::from_raw(bytes);
        }
        Self::from_jwk(bytes)
    }

    /// The raw public key.
    pub fn as_bytes(&self) -> &[u8] {
        &self.key
    }

    /// How it signs.
    pub fn signature_scheme(&self) -> SignatureScheme {
        self.scheme
    }

    /// Refused if the members of a conversation with this ciphersuite could not verify what it signs.
    pub(crate) fn check_fits(&self, ciphersuite: Ciphersuite) -> Result<()> {
        let expected = ciphersuite.signature_scheme();
        if self.scheme == expected {
            return Ok(());
        }
        Err(ExternalSenderError::WrongScheme { got: self.scheme, expected }.into())
    }
}

impl fmt::Debug for ExternalSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of an uncompressed point the first byte is the same for all.
        let from = self.key.len() % 2;
        write!(f, "ExternalSender({}, {})", self.scheme, hex::encode(&self.key[from..from + 4]))
    }
}

/// The members of a JWK that make the key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    y: Option<String>,
    /// There, it is a private key. Which one is not read.
    d: Option<serde::de::IgnoredAny>,
}

/// Why something is no external sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExternalSenderError {
    /// The length is that of no raw public key and of no reasonable JWK. Ask the hub for its key again.
    #[error("{got} bytes are no public key")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// The point is not on the curve. Ask the hub for its key again.
    #[error("no point on the curve of {0}")]
    NotOnCurve(SignatureScheme),
    /// It is no JWK, or one whose members do not make a key. Ask the hub for its key again.
    #[error("no JWK of a public key")]
    Jwk,
    /// The JWK has a type or curve that no ciphersuite signs with. Ask the hub for a key of the conversation's ciphersuite.
    #[error("a JWK of another type or curve")]
    UnknownKeyType,
    /// The JWK has a private key in it. Take that key out of use: it has been where it must not be.
    #[error("a JWK with a private key")]
    PrivateKey,
    /// The key is not one of the conversation's ciphersuite. Ask the hub for one that is, or choose another ciphersuite.
    #[error("a key of {got} where the ciphersuite has {expected}")]
    WrongScheme {
        /// The key's scheme.
        got: SignatureScheme,
        /// The ciphersuite's.
        expected: SignatureScheme,
    },
}

impl From<ExternalSenderError> for EngineError {
    fn from(error: ExternalSenderError) -> Self {
        Self::InvalidExternalSender(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn why(result: Result<ExternalSender>) -> ExternalSenderError {
        match result.unwrap_err() {
            EngineError::InvalidExternalSender(why) => why,
            other => panic!("{other}"),
        }
    }

    /// RFC 8037, appendix A.2.
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 7517, appendix A.1.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}"#;

    #[test]
    fn the_examples_of_the_rfcs_are_read() {
        let sender = ExternalSender::from_raw_or_jwk(ED25519.as_bytes()).unwrap();
        assert_eq!(sender.signature_scheme(), SignatureScheme::Ed25519);
        assert_eq!(
            hex::encode(sender.as_bytes()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        let sender = ExternalSender::from_raw_or_jwk(P256.as_bytes()).unwrap();
        assert_eq!(sender.signature_scheme(), SignatureScheme::EcdsaP256Sha256);
        assert_eq!(sender, ExternalSender::from_raw_or_jwk(sender.as_bytes()).unwrap());
    }

    #[test]
    fn a_raw_key_that_begins_like_json_is_a_raw_key() {
        let key = [b'{'; 32];
        assert_eq!(ExternalSender::from_raw_or_jwk(&key).unwrap().as_bytes(), key);
    }

    #[test]
    fn what_is_no_public_key_is_refused_with_the_reason() {
        let jwk = |json: &str| why(ExternalSender::from_jwk(json.as_bytes()));
        assert_eq!(why(ExternalSender::from_raw(&[])), ExternalSenderError::Length { got: 0 });
        assert_eq!(why(ExternalSender::from_raw(&[2; 65])), ExternalSenderError::Length { got: 65 });
        let not_on_curve = ExternalSenderError::NotOnCurve(SignatureScheme::EcdsaP256Sha256);
        assert_eq!(why(ExternalSender::from_raw(&[4; 65])), not_on_curve);
        assert_eq!(jwk(""), ExternalSenderError::Jwk);
        assert_eq!(jwk("[]"), ExternalSenderError::Jwk);
        assert_eq!(jwk(&ED25519.replace("11q", "1")), ExternalSenderError::Jwk);
        assert_eq!(jwk(&ED25519.replace("11q", "=1q")), ExternalSenderError::Jwk);
        assert_eq!(jwk(&ED25519.replace("Ed25519", "X25519")), ExternalSenderError::UnknownKeyType);
        assert_eq!(jwk(&ED25519.replace("OKP", "EC")), ExternalSenderError::UnknownKeyType);
        assert_eq!(jwk(&ED25519.replace("\"x\"", "\"d\":\"AA\",\"x\"")), ExternalSenderError::PrivateKey);
        assert_eq!(jwk(&P256.replace("4Etl", "4Etm")), not_on_curve);
        assert_eq!(jwk(&P256.replace("\"y\"", "\"z\"")), ExternalSenderError::Jwk);
        assert_eq!(jwk(&P256.replace("P-256", "P-384")), ExternalSenderError::Jwk);
        let long = ED25519.replace("\"kty\"", &format!("\"n\":\"{}\",\"kty\"", "x".repeat(4096)));
        assert!(matches!(jwk(&long), ExternalSenderError::Length { .. }));
    }
}
