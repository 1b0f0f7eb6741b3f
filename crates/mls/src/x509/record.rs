//! What is written into the store of certificates and revocation lists. A change here is a change of format.

use mls_rs::mls_rs_codec::{self, MlsDecode, MlsEncode, MlsSize};
use zeroize::Zeroizing;

use tertulia_store::RecordKey;

use super::RevocationList;
use crate::{
    EngineError, Result,
    overlay::RecordKind,
    record::{decode, encode, known_version, sha256, version_of},
};

const VERSION: u16 = 1;
/// In version 1 a distribution point had one list, whoever had signed it, and was the key of the record.
const CRL_VERSION: u16 = 2;

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

/// A registered revocation list: the newest that this key has signed for this issuer and this distribution point.
#[derive(Debug, Clone, PartialEq, Eq, MlsSize, MlsEncode, MlsDecode)]
pub(crate) struct CrlRecord {
    version: u16,
    /// A URL.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) point: Vec<u8>,
    /// The name of the issuer, in DER.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) issuer: Vec<u8>,
    /// The key that has signed it, a `SubjectPublicKeyInfo` in DER.
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) signer: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    pub(crate) der: Vec<u8>,
}

/// A list as version 1 had it.
#[derive(MlsSize, MlsEncode, MlsDecode)]
struct CrlRecordV1 {
    version: u16,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    signer: Vec<u8>,
    #[mls_codec(with = "mls_rs_codec::byte_vec")]
    der: Vec<u8>,
}

impl CrlRecord {
    pub(crate) fn new(point: &str, list: &RevocationList<'_>, signer: Vec<u8>, der: &[u8]) -> Self {
        Self {
            version: CRL_VERSION,
            point: point.as_bytes().to_vec(),
            issuer: list.issuer().to_vec(),
            signer,
            der: der.to_vec(),
        }
    }

    /// Where it is. Lists of other authorities for the same point are elsewhere, so that none takes another's place.
    pub(crate) fn key(&self) -> RecordKey {
        let parts = [&self.point, &self.issuer, &self.signer].map(|part| sha256(part)).concat();
        RecordKind::Crl.of(&[], &sha256(&parts))
    }

    /// Where version 1 had the list of this point.
    pub(crate) fn old_key(&self) -> RecordKey {
        RecordKind::Crl.of(&[], &self.point)
    }

    /// Whether this one and another are of the same authority for the same point.
    pub(crate) fn is_in_the_place_of(&self, other: &Self) -> bool {
        (&self.point, &self.issuer, &self.signer) == (&other.point, &other.issuer, &other.signer)
    }

    pub(crate) fn to_bytes(&self) -> Result<Zeroizing<Vec<u8>>> {
        encode(self, "revocation list")
    }

    /// What is stored under this key.
    pub(crate) fn from_bytes(key: &[u8], bytes: &[u8]) -> Result<Self> {
        if version_of(bytes) == Some(1) {
            let old: CrlRecordV1 = decode(bytes, "revocation list")?;
            let list = RevocationList::parse(&old.der).map_err(|error| EngineError::DamagedState {
                what: "revocation list",
                source: Some(Box::new(error)),
            })?;
            let (point, issuer) = (key.to_vec(), list.issuer().to_vec());
            return Ok(Self { version: CRL_VERSION, point, issuer, signer: old.signer, der: old.der });
        }
        let record: Self = decode(bytes, "revocation list")?;
        known_version(record.version, CRL_VERSION, "revocation list")?;
        Ok(record)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
        KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
    };

    use super::*;
    use crate::overlay::Overlay;

    #[test]
    fn the_formats_are_the_released_ones() {
        let certificate = CertificateRecord::new(Role::Intermediate, vec![7; 3]);
        let bytes = certificate.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "00010203070707");
        assert_eq!(CertificateRecord::from_bytes(&bytes).unwrap(), certificate);
        let (point, issuer) = (b"url".to_vec(), vec![0x30]);
        let list = CrlRecord { version: CRL_VERSION, point, issuer, signer: vec![1, 2], der: vec![3] };
        let bytes = list.to_bytes().unwrap();
        assert_eq!(hex::encode(&bytes[..]), "00020375726c01300201020103");
        assert_eq!(CrlRecord::from_bytes(&list.key().key, &bytes).unwrap(), list);
        for record in ["00020203070707", "0001020307070700", "00010303070707"] {
            let refused = CertificateRecord::from_bytes(&hex::decode(record).unwrap());
            assert!(matches!(refused, Err(EngineError::DamagedState { .. })), "{record}");
        }
    }

    fn list() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 1),
            next_update: date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer).unwrap().der().to_vec()
    }

    #[test]
    fn a_list_of_version_1_is_read_and_found_by_the_one_that_takes_its_place() {
        let (overlay, der) = (Overlay::scratch(), list());
        let old = CrlRecordV1 { version: 1, signer: vec![7], der: der.clone() };
        let new = CrlRecord::new("http://point/", &RevocationList::parse(&der).unwrap(), vec![7], &der);
        overlay.put_record(new.old_key(), encode(&old, "revocation list").unwrap());
        assert_eq!(overlay.revocation_lists().unwrap(), std::slice::from_ref(&new));
        assert_eq!(overlay.list_before(&new).unwrap(), Some((new.old_key(), new.clone())));
        let others = CrlRecord { signer: vec![8], ..new };
        assert_eq!(overlay.list_before(&others).unwrap(), None);
    }
}
