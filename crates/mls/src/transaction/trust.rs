//! Whom this device believes: trust anchors, intermediates and revocation lists.

use std::time::{SystemTime, UNIX_EPOCH};

use super::TransactionContext;
use crate::{
    CrlError, CrlRegistration, EngineError, NewCrlDistributionPoints, RegisteredCertificate, Result,
    overlay::RecordKind,
    record::sha256,
    x509::{
        self, CertificateRecord, CrlRecord, MAX_CRLS, MAX_REGISTERED, MAX_URL_BYTES, RevocationList, Role,
    },
};

impl TransactionContext {
    /// Registers the certificate of a certification authority, in DER or PEM, that is believed from then on: for every
    /// client id, so register none that certifies for others than your users.
    ///
    /// Gives its SHA-256, by which [`remove_certificate`](Self::remove_certificate) finds it. To register it again changes
    /// nothing. At most 128 are kept.
    pub fn add_trust_anchor(&mut self, certificate: &[u8]) -> Result<[u8; 32]> {
        self.writing()?;
        let der = x509::parse_authority(certificate)?;
        self.add_certificate(Role::Anchor, der)
    }

    /// Registers the certificate of an authority between the devices' and the trust anchor, in DER or PEM. It is believed
    /// only if an anchor vouches for it. Needed for credentials that leave it out, and to verify its revocation lists.
    ///
    /// Gives the distribution points in it for which no revocation list is registered. At most 128 are kept.
    pub fn add_intermediate(&mut self, certificate: &[u8]) -> Result<NewCrlDistributionPoints> {
        self.writing()?;
        let der = x509::parse_authority(certificate)?;
        let mut points = self.writing()?.overlay.pki()?.unknown_points(&[&der]);
        self.add_certificate(Role::Intermediate, der)?;
        points.sort_unstable();
        points.dedup();
        Ok((!points.is_empty()).then_some(points))
    }

    fn add_certificate(&mut self, role: Role, der: Vec<u8>) -> Result<[u8; 32]> {
        let overlay = &self.writing()?.overlay;
        let digest = sha256(&der);
        let registered = overlay.certificates()?;
        if registered.iter().any(|other| other.role == role && other.der == der) {
            return Ok(digest);
        }
        let count = registered.iter().filter(|other| other.role == role && other.der != der).count();
        if count >= MAX_REGISTERED {
            return Err(EngineError::TooMany { requested: count + 1, max: MAX_REGISTERED });
        }
        // What is both is an anchor: that includes the other.
        if registered.iter().any(|other| other.role == Role::Anchor && other.der == der) {
            return Ok(digest);
        }
        let record = CertificateRecord::new(role, der).to_bytes()?;
        overlay.put_record(RecordKind::Certificate.of(&[], &digest), record);
        overlay.trust_changed();
        Ok(digest)
    }

    /// All registered certificates.
    pub fn registered_certificates(&self) -> Result<Vec<RegisteredCertificate>> {
        let records = self.writing()?.overlay.certificates()?;
        Ok(records
            .into_iter()
            .map(|CertificateRecord { role, der, .. }| RegisteredCertificate {
                sha256: sha256(&der),
                is_trust_anchor: role == Role::Anchor,
                der,
            })
            .collect())
    }

    /// Removes a registered certificate by its SHA-256, and says whether there was one. Members that it vouched for stay,
    /// and are [`Untrusted`](crate::DeviceStatus::Untrusted) from then on.
    pub fn remove_certificate(&mut self, sha256: &[u8; 32]) -> Result<bool> {
        let overlay = &self.writing()?.overlay;
        let key = RecordKind::Certificate.of(&[], sha256);
        if overlay.record(&key)?.is_none() {
            return Ok(false);
        }
        overlay.delete_record(key);
        overlay.trust_changed();
        Ok(true)
    }

    /// Registers the revocation list of a distribution point, in DER, in the place of an earlier one of the same authority.
    ///
    /// It must be signed by a registered trust anchor or intermediate, and not say that it is another distribution point's.
    /// If the one that is there is newer, it stays: to be served an old list does not undo a revocation. What another
    /// authority, or the same one with another key, has signed for the point stays as well: to be served the list of the
    /// wrong authority undoes nothing either. A list stays in force until another takes its place, also when its time is
    /// over. At most 128 are kept, of 8 MiB each.
    pub fn e2ei_register_crl(&mut self, distribution_point: &str, der: &[u8]) -> Result<CrlRegistration> {
        let overlay = &self.writing()?.overlay;
        if distribution_point.len() > MAX_URL_BYTES {
            return Err(CrlError::TooLong { got: distribution_point.len(), max: MAX_URL_BYTES }.into());
        }
        let list = RevocationList::parse(der)?;
        list.check_point(distribution_point)?;
        let authorities = overlay.certificates()?;
        let signer = list.signer(authorities.iter().map(|record| record.der.as_slice()))?;
        let record = CrlRecord::new(distribution_point, &list, signer, der);
        if let Some((key, known)) = overlay.list_before(&record)? {
            let same_or_newer = RevocationList::parse(&known.der)
                .ok()
                .filter(|other| known.der == der || other.this_update() > list.this_update());
            if let Some(stays) = same_or_newer {
                return Ok(CrlRegistration { dirty: false, expiration: stays.next_update() });
            }
            overlay.delete_record(key);
        } else {
            let count = overlay.records(RecordKind::Crl, &[])?.len();
            if count >= MAX_CRLS {
                return Err(EngineError::TooMany { requested: count + 1, max: MAX_CRLS });
            }
        }
        overlay.put_record(record.key(), record.to_bytes()?);
        overlay.trust_changed();
        Ok(CrlRegistration { dirty: true, expiration: list.next_update() })
    }

    /// From now on, certificates are judged as of this time instead of the clock's; with none, the clock's again.
    ///
    /// A device that was off for long reads commits by which others came whose certificates have expired meanwhile. The
    /// other members have taken these commits, and so must this device. So pass the hub's time of each commit before
    /// `decrypt_message`. The hub could lie about it, to let an expired certificate pass for a valid one; what is revoked
    /// stays refused whatever the time.
    ///
    /// It holds until the transaction ends or sends a commit.
    pub fn judge_certificates_at(&mut self, time: Option<SystemTime>) -> Result<()> {
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.writing()?.overlay.trust().judge_at(time.map(seconds));
        Ok(())
    }
}
