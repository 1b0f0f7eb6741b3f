//! What is written into the store of certificates and revocation lists. A change here is a change of format.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use crate::{
    Result,
    record::{decode, encode, known_version},
};

const VERSION: u16 = 1;

/// What a registered certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
#[repr(u8)]
pub(crate) enum Role {
    /// It is believed.
    Anchor = 1,
    /// It helps to find a way to an anchor.
    Intermediate = 2,
}

/// A registered certificate.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct CertificateRecord {
    version: u16,
    pub(crate) role: Role,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) der: Vec<u8>,
}

impl CertificateRecord {
    pub(crate) fn new(role: Role, der: Vec<u8>) -> Self {
        Self { version: VERSION, role, der }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "certificate")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, "certificate")?;
        known_version(record.version, VERSION, "certificate")?;
        Ok(record)
    }
}

/// A registered revocation list.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct CrlRecord {
    version: u16,
    /// The key that has signed it, a `SubjectPublicKeyInfo` in DER.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) signer: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) der: Vec<u8>,
}

impl CrlRecord {
    pub(crate) fn new(signer: Vec<u8>, der: Vec<u8>) -> Self {
        Self { version: VERSION, signer, der }
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "revocation list")
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let record: Self = decode(bytes, "revocation list")?;
        known_version(record.version, VERSION, "revocation list")?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::EngineError;

    #[test]
    fn the_formats_are_the_released_ones() {
        let certificate = CertificateRecord::new(Role::Intermediate, vec![7; 3]);
        let bytes = certificate.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "00010203070707");
        assert_eq!(CertificateRecord::from_bytes(&bytes).unwrap(), certificate);
        let list = CrlRecord::new(vec![1, 2], vec![3]);
        let bytes = list.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "00010201020103");
        assert_eq!(CrlRecord::from_bytes(&bytes).unwrap(), list);
        for record in ["00020203070707", "0001020307070700", "00010303070707"] {
            let refused = CertificateRecord::from_bytes(&hex::decode(record).unwrap());
            assert!(matches!(refused, Err(EngineError::DamagedState { .. })), "{record}");
        }
    }
}
