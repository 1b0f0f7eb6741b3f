//! Ciphersuites, and the signature schemes in them.

use std::fmt;

use crate::{EngineError, Result};

/// A ciphersuite (RFC 9420, section 17.1), by its number in the IANA registry.
///
/// A conversation has one, and so have credentials and key packages: they fit together when it is the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ciphersuite(u16);

#[allow(non_upper_case_globals)] // the names of the IANA registry, letter for letter
impl Ciphersuite {
    /// 0x0001, which every implementation has.
    pub const MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519: Self = Self(1);
    /// 0x0002.
    pub const MLS_128_DHKEMP256_AES128GCM_SHA256_P256: Self = Self(2);
    /// 0x0003.
    pub const MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519: Self = Self(3);
    /// 0x0005.
    pub const MLS_256_DHKEMP521_AES256GCM_SHA512_P521: Self = Self(5);
    /// 0x0007.
    pub const MLS_256_DHKEMP384_AES256GCM_SHA384_P384: Self = Self(7);
}

impl Ciphersuite {
    /// All ciphersuites that the engine implements: those of RFC 9420 but for the two on Curve448, 0x0004 and 0x0006.
    ///
    /// The leaves of this device name them as its capabilities.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(5), Self(7)];

    /// The ciphersuite with this number, if the engine implements it.
    pub fn from_number(number: u16) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|suite| suite.0 == number);
        known.ok_or(EngineError::UnsupportedCiphersuite(number))
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// How its members sign.
    pub const fn signature_scheme(self) -> SignatureScheme {
        match self.0 {
            2 => SignatureScheme::EcdsaP256Sha256,
            5 => SignatureScheme::EcdsaP521Sha512,
            7 => SignatureScheme::EcdsaP384Sha384,
            _ => SignatureScheme::Ed25519,
        }
    }

    /// Refused if something of this ciphersuite is needed where `expected` is.
    pub(crate) fn check_is(self, expected: Self) -> Result<()> {
        if self == expected { Ok(()) } else { Err(EngineError::CiphersuiteMismatch { got: self, expected }) }
    }

    /// Length of the hash of the key derivation function, `KDF.Nh`, in bytes.
    pub(crate) const fn hash_length(self) -> usize {
        match self.0 {
            5 => 64,
            7 => 48,
            _ => 32,
        }
    }
}

impl Default for Ciphersuite {
    fn default() -> Self {
        Self::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519
    }
}

impl fmt::Debug for Ciphersuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ciphersuite({:#06x})", self.0)
    }
}

impl fmt::Display for Ciphersuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

/// A signature scheme of a ciphersuite, by the names of the TLS registry that RFC 9420 takes them from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// `ed25519`.
    Ed25519,
    /// `ecdsa_secp256r1_sha256`.
    EcdsaP256Sha256,
    /// `ecdsa_secp384r1_sha384`.
    EcdsaP384Sha384,
    /// `ecdsa_secp521r1_sha512`.
    EcdsaP521Sha512,
}

impl SignatureScheme {
    const ALL: [Self; 4] =
        [Self::Ed25519, Self::EcdsaP256Sha256, Self::EcdsaP384Sha384, Self::EcdsaP521Sha512];

    /// Length of a raw public key in bytes: a point of Ed25519, or an uncompressed one (SEC 1, section 2.3.3).
    pub const fn public_key_length(self) -> usize {
        match self {
            Self::Ed25519 => 32,
            _ => 1 + 2 * self.coordinate_length(),
        }
    }

    /// Length of a coordinate of a point in bytes.
    pub(crate) const fn coordinate_length(self) -> usize {
        match self {
            Self::Ed25519 | Self::EcdsaP256Sha256 => 32,
            Self::EcdsaP384Sha384 => 48,
            Self::EcdsaP521Sha512 => 66,
        }
    }

    /// The scheme whose raw public keys look like this one. The lengths of all schemes differ.
    pub(crate) fn of_raw_key(key: &[u8]) -> Option<Self> {
        let scheme = Self::ALL.into_iter().find(|scheme| scheme.public_key_length() == key.len())?;
        // Of the forms of SEC 1 only the uncompressed one is used (RFC 9420, section 5.1.1).
        (scheme == Self::Ed25519 || key[0] == UNCOMPRESSED).then_some(scheme)
    }

    /// A ciphersuite that signs with this scheme.
    pub(crate) const fn some_ciphersuite(self) -> Ciphersuite {
        match self {
            Self::Ed25519 => Ciphersuite(1),
            Self::EcdsaP256Sha256 => Ciphersuite(2),
            Self::EcdsaP384Sha384 => Ciphersuite(7),
            Self::EcdsaP521Sha512 => Ciphersuite(5),
        }
    }
}

/// What an uncompressed point begins with.
pub(crate) const UNCOMPRESSED: u8 = 4;

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256Sha256 => "ECDSA P-256",
            Self::EcdsaP384Sha384 => "ECDSA P-384",
            Self::EcdsaP521Sha512 => "ECDSA P-521",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mls_rs::CipherSuiteProvider;

    use super::*;
    use crate::provider;

    #[test]
    fn the_numbers_lengths_and_schemes_are_the_library_s() {
        for suite in Ciphersuite::ALL {
            assert_eq!(Ciphersuite::from_number(suite.number()).unwrap(), suite);
            let library = provider::cipher_suite_provider(suite).unwrap();
            assert_eq!(library.kdf_extract_size(), suite.hash_length(), "{suite}");
            let (_, public) = library.signature_key_generate().unwrap();
            let scheme = suite.signature_scheme();
            assert_eq!(public.as_bytes().len(), scheme.public_key_length(), "{suite}");
            assert_eq!(SignatureScheme::of_raw_key(public.as_bytes()), Some(scheme), "{suite}");
            assert_eq!(scheme.some_ciphersuite().signature_scheme(), scheme);
        }
        for unknown in [0, 4, 6, 8, 0xffff] {
            assert!(matches!(
                Ciphersuite::from_number(unknown),
                Err(EngineError::UnsupportedCiphersuite(number)) if number == unknown
            ));
        }
    }
}
