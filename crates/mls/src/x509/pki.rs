//! Whom this device believes, and what that makes of a certificate.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, Cert, CertRevocationList, EndEntityCert, Error, KeyUsage, VerifiedPath,
    anchor_from_trusted_cert,
};

use super::{CertificateError, CrlRecord, certificate};
use crate::record::sha256;

/// What a chain of certificates is worth at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Valid,
    /// A trust anchor vouches for it, and its time, or that of a certificate above it, is over.
    Expired,
    Revoked,
    NotYetValid {
        not_before: u64,
    },
    Untrusted,
}

/// The trust anchors, intermediates and revocation lists that are registered, read once.
#[derive(Default)]
pub(crate) struct Pki {
    anchors: Vec<Anchor>,
    intermediates: Vec<CertificateDer<'static>>,
    lists: Vec<List>,
    /// Distribution points for which a list is registered, with the name of its issuer in DER.
    known_points: BTreeSet<(Vec<u8>, Vec<u8>)>,
    /// What was found out, by the digest of the chain and the second that it is judged at.
    verdicts: Mutex<HashMap<([u8; 32], u64), Verdict>>,
}

struct Anchor {
    trusted: TrustAnchor<'static>,
    not_before: u64,
    not_after: u64,
}

/// A revocation list whose signature was verified when it was registered.
struct List {
    list: CertRevocationList<'static>,
    /// The key that has signed it, as a `SubjectPublicKeyInfo`. A list counts for what the same key has signed.
    signer: Vec<u8>,
}

/// Most verdicts that are remembered.
const MAX_VERDICTS: usize = 4096;
/// Most moments at which an expired chain is tried.
const MAX_MOMENTS: usize = 4;

impl Pki {
    pub(super) fn add_anchor(&mut self, der: &[u8]) -> Result<(), CertificateError> {
        let (not_before, not_after) = certificate::validity(&certificate::parse(der)?);
        let der = CertificateDer::from(der);
        let trusted = anchor_from_trusted_cert(&der).map_err(|_| CertificateError::NotAuthority)?.to_owned();
        self.anchors.push(Anchor { trusted, not_before, not_after });
        Ok(())
    }

    pub(super) fn add_intermediate(&mut self, der: Vec<u8>) -> Result<(), CertificateError> {
        certificate::parse(&der)?;
        self.intermediates.push(CertificateDer::from(der));
        Ok(())
    }

    /// `list` is what is in the record.
    pub(super) fn add_list(&mut self, list: CertRevocationList<'static>, record: CrlRecord) {
        self.known_points.insert((record.point, record.issuer));
        self.lists.push(List { list, signer: record.signer });
    }

    /// What the chain is worth at a moment, in seconds since 1970.
    pub(crate) fn verdict(&self, chain: &[impl AsRef<[u8]>], at: u64) -> Verdict {
        let mut bytes = Vec::new();
        for certificate in chain {
            bytes.extend_from_slice(&sha256(certificate.as_ref()));
        }
        let key = (sha256(&bytes), at);
        let verdicts = || self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = verdicts().get(&key) {
            return *verdict;
        }
        let verdict = self.judge(chain, at);
        let mut verdicts = verdicts();
        if verdicts.len() >= MAX_VERDICTS {
            verdicts.clear();
        }
        verdicts.insert(key, verdict);
        verdict
    }

    fn judge(&self, chain: &[impl AsRef<[u8]>], at: u64) -> Verdict {
        let Some((leaf, rest)) = chain.split_first() else { return Verdict::Untrusted };
        let leaf = CertificateDer::from(leaf.as_ref());
        let mut intermediates: Vec<CertificateDer<'_>> =
            rest.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        intermediates.extend(self.intermediates.iter().cloned());
        match self.verify(&leaf, &intermediates, at) {
            Ok(()) => Verdict::Valid,
            Err(Error::CertRevoked) => Verdict::Revoked,
            Err(Error::CertNotValidYet { not_before, .. }) => {
                Verdict::NotYetValid { not_before: not_before.as_secs() }
            }
            Err(Error::CertExpired { .. }) => self.judge_expired(&leaf, &intermediates, at),
            Err(_) => Verdict::Untrusted,
        }
    }

    /// Whether an expired certificate was one that an anchor vouches for, when it was valid last.
    fn judge_expired(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], at: u64) -> Verdict {
        let Ok(parsed) = certificate::parse(leaf) else { return Verdict::Untrusted };
        let (not_before, not_after) = certificate::validity(&parsed);
        let ends =
            above.iter().filter_map(|der| Some(certificate::validity(&certificate::parse(der).ok()?).1));
        let mut moments: Vec<u64> = ends
            .chain(self.anchors.iter().map(|anchor| anchor.not_after))
            .chain([not_after])
            .filter(|end| (not_before..=not_after).contains(end) && *end < at)
            .collect();
        moments.sort_unstable_by(|a, b| b.cmp(a));
        moments.dedup();
        for moment in moments.into_iter().take(MAX_MOMENTS) {
            match self.verify(leaf, above, moment) {
                Ok(()) => return Verdict::Expired,
                Err(Error::CertRevoked) => return Verdict::Revoked,
                Err(_) => {}
            }
        }
        Verdict::Untrusted
    }

    fn verify(&self, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>], at: u64) -> Result<(), Error> {
        // The library does not look at the time of an anchor.
        let valid = |anchor: &&Anchor| (anchor.not_before..=anchor.not_after).contains(&at);
        let anchors: Vec<TrustAnchor<'_>> =
            self.anchors.iter().filter(valid).map(|anchor| anchor.trusted.clone()).collect();
        let time = UnixTime::since_unix_epoch(Duration::from_secs(at));
        let not_revoked = |path: &VerifiedPath<'_>| self.check_revocation(path);
        let leaf = EndEntityCert::try_from(leaf)?;
        let verified = leaf.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            above,
            time,
            // Only if the certificate names uses at all must this be one of them.
            KeyUsage::client_auth(),
            None,
            Some(&not_revoked),
        );
        match verified {
            // Perhaps the anchor's time is over: that is as if the certificate had expired.
            Err(Error::UnknownIssuer) if anchors.len() < self.anchors.len() => {
                Err(Error::CertExpired { time, not_after: time })
            }
            verified => verified.map(drop),
        }
    }

    /// Refuses a path in which a certificate is on a list that its issuer has signed.
    ///
    /// All lists of an issuer count, whatever their scope is: a serial number is one certificate of the issuer. A list that
    /// is out of date counts too, since what was revoked stays so.
    fn check_revocation(&self, path: &VerifiedPath<'_>) -> Result<(), Error> {
        let end_entity: &Cert<'_> = path.end_entity();
        let mut certificate = end_entity;
        for issuer in path.intermediate_certificates() {
            self.check_list(certificate, issuer.subject_public_key_info().as_ref())?;
            certificate = issuer;
        }
        self.check_list(certificate, path.anchor().subject_public_key_info.as_ref())
    }

    /// `issuer_key` is a `SubjectPublicKeyInfo`, or, as the library keeps it of an anchor, what is inside of one.
    fn check_list(&self, certificate: &Cert<'_>, issuer_key: &[u8]) -> Result<(), Error> {
        for List { list, signer } in &self.lists {
            if list.issuer() == certificate.issuer()
                && is_same_key(signer, issuer_key)
                && list.find_serial(certificate.serial())?.is_some()
            {
                return Err(Error::CertRevoked);
            }
        }
        Ok(())
    }

    /// The distribution points in a chain for which no list of the certificate's issuer is registered.
    pub(crate) fn unknown_points(&self, chain: &[impl AsRef<[u8]>]) -> Vec<String> {
        let parsed = chain.iter().filter_map(|der| certificate::parse(der.as_ref()).ok());
        parsed
            .flat_map(|parsed| {
                let issuer = parsed.issuer().as_raw().to_vec();
                let mut points = certificate::distribution_points(&parsed);
                points.retain(|point| {
                    !self.known_points.contains(&(point.clone().into_bytes(), issuer.clone()))
                });
                points
            })
            .collect()
    }
}

/// Whether two keys are the same, of which the second may lack the outer tag and length.
fn is_same_key(whole: &[u8], other: &[u8]) -> bool {
    const MAX_HEADER: usize = 4;
    whole == other || (whole.ends_with(other) && whole.len() - other.len() <= MAX_HEADER)
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki")
            .field("anchors", &self.anchors.len())
            .field("intermediates", &self.intermediates.len())
            .field("lists", &self.lists.len())
            .finish_non_exhaustive()
    }
}
