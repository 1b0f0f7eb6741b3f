//! Revocation lists, as they come in.

use rustls_pki_types::CertificateDer;
use webpki::{ALL_VERIFICATION_ALGS, CertRevocationList, EndEntityCert, OwnedCertRevocationList};
use x509_parser::{
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
    prelude::FromDer,
    revocation_list::CertificateRevocationList,
};

use super::{CrlError, MAX_CRL_BYTES, certificate};

/// A revocation list that was read, and whose signature was not verified yet.
pub(crate) struct RevocationList<'a> {
    parsed: CertificateRevocationList<'a>,
}

impl<'a> RevocationList<'a> {
    /// Reads a list in DER that is of a supported kind.
    pub(crate) fn parse(der: &'a [u8]) -> Result<Self, CrlError> {
        if der.len() > MAX_CRL_BYTES {
            return Err(CrlError::TooLong { got: der.len(), max: MAX_CRL_BYTES });
        }
        // What the verification cannot use would never revoke anything.
        usable(der)?;
        match CertificateRevocationList::from_der(der) {
            Ok(([], parsed)) => Ok(Self { parsed }),
            _ => Err(CrlError::Malformed),
        }
    }

    /// When the issuer made it, in seconds since 1970.
    pub(crate) fn this_update(&self) -> i64 {
        self.parsed.last_update().timestamp()
    }

    /// When the issuer makes the next one at the latest, in seconds since 1970.
    pub(crate) fn next_update(&self) -> Option<u64> {
        u64::try_from(self.parsed.next_update()?.timestamp()).ok()
    }

    /// The name of its issuer, in DER.
    pub(crate) fn issuer(&self) -> &[u8] {
        self.parsed.issuer().as_raw()
    }

    /// Refuses a list that says of itself that it is another distribution point's (RFC 5280, section 5.2.5). One that names
    /// none has all that its issuer has revoked.
    pub(crate) fn check_point(&self, point: &str) -> Result<(), CrlError> {
        for extension in self.parsed.extensions() {
            let names = match extension.parsed_extension() {
                ParsedExtension::IssuingDistributionPoint(issuing) => &issuing.distribution_point,
                ParsedExtension::ParseError { .. } => return Err(CrlError::Malformed),
                _ => continue,
            };
            let is_named = |names: &[GeneralName<'_>]| {
                names.iter().any(|name| matches!(name, GeneralName::URI(url) if *url == point))
            };
            match names {
                None => {}
                Some(DistributionPointName::FullName(names)) if is_named(names) => {}
                Some(_) => return Err(CrlError::WrongPoint),
            }
        }
        Ok(())
    }

    /// The key among those of `authorities`, certificates in DER, that has signed it, as a `SubjectPublicKeyInfo`.
    pub(crate) fn signer<'b>(
        &self,
        authorities: impl Iterator<Item = &'b [u8]>,
    ) -> Result<Vec<u8>, CrlError> {
        let mut refusal = CrlError::UnknownIssuer;
        for der in authorities {
            let Ok(authority) = certificate::parse(der) else { continue };
            let may_sign =
                authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()));
            if authority.subject().as_raw() != self.parsed.issuer().as_raw() || !may_sign {
                continue;
            }
            refusal = CrlError::InvalidSignature;
            if self.is_signed_by(der) {
                return Ok(authority.public_key().raw.to_vec());
            }
        }
        Err(refusal)
    }

    /// Whether the key of a certificate has signed it, with whatever algorithm the key is good for.
    fn is_signed_by(&self, authority: &[u8]) -> bool {
        let der = CertificateDer::from(authority);
        let Ok(authority) = EndEntityCert::try_from(&der) else { return false };
        let (message, signature) = (self.parsed.tbs_cert_list.as_ref(), &self.parsed.signature_value.data);
        ALL_VERIFICATION_ALGS
            .iter()
            .any(|algorithm| authority.verify_signature(*algorithm, message, signature).is_ok())
    }
}

/// The list for looking serial numbers up.
pub(super) fn usable(der: &[u8]) -> Result<CertRevocationList<'static>, CrlError> {
    OwnedCertRevocationList::from_der(der).map(CertRevocationList::from).map_err(|_| CrlError::Malformed)
}
