//! X.509: what certificates say, whom to believe, and what is revoked.
//!
//! Parsing is that of `x509-parser`, the verification of chains and of revocation lists that of `rustls-webpki` with
//! AWS-LC. No type of them appears outside.

mod certificate;
mod key;
mod list;
mod pki;
mod record;
mod trust;

pub(crate) use self::{
    certificate::{Leaf, chain_from_pem, parse_authority, parse_leaf},
    key::signature_key_from_pkcs8,
    list::RevocationList,
    pki::{Pki, Verdict},
    record::{CertificateRecord, CrlRecord, Role},
    trust::Trust,
};

/// Most certificates in a credential. One of a CA that signs directly has one or two.
pub(crate) const MAX_CHAIN: usize = 8;
/// Longest certificate, in bytes.
pub(crate) const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Longest revocation list, in bytes: some 200 000 certificates.
pub(crate) const MAX_CRL_BYTES: usize = 8 * 1024 * 1024;
/// Most trust anchors, and most intermediates.
pub(crate) const MAX_REGISTERED: usize = 128;
/// Most revocation lists.
pub(crate) const MAX_CRLS: usize = 128;
/// Longest URL of a distribution point, in bytes.
pub(crate) const MAX_URL_BYTES: usize = 2048;
/// Most distribution points of a certificate that are looked at.
pub(crate) const MAX_POINTS: usize = 8;

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// It is no chain of certificates, or not one of the profile that [`Credential::x509`](crate::Credential::x509)
    /// describes. Ask its issuer for another.
    #[error("malformed certificate: {0}")]
    Malformed(&'static str),
    /// The certificate certifies another key than the one that is used with it. Drop what it came with.
    #[error("the certificate is for another key")]
    WrongKey,
    /// No chain leads from it to a registered trust anchor. Register the anchor, if it is to be trusted; else drop what it
    /// came with.
    #[error("no trust anchor vouches for the certificate")]
    Untrusted,
    /// It is not valid yet. Check the clocks.
    #[error("the certificate is not valid before {not_before} (seconds since 1970)")]
    NotYetValid {
        /// From when, in seconds since 1970.
        not_before: u64,
    },
    /// It, or a certificate that it depends on, has expired. Ask its holder for a new one.
    #[error("the certificate has expired")]
    Expired,
    /// It, or a certificate that it depends on, was revoked. Drop what it came with; remove the device.
    #[error("the certificate was revoked")]
    Revoked,
    /// A bare name takes the place of a certificate of the same client. Drop what it came with.
    #[error("a basic credential takes the place of a certificate")]
    Downgrade,
    /// What is registered as trust anchor or intermediate is no certificate of a CA. Register another.
    #[error("no certificate of a certification authority")]
    NotAuthority,
}

/// Why a revocation list is refused. What was known before stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CrlError {
    /// It is no revocation list, or one of a kind that is not supported: partial by reasons, indirect, or delta. Fetch it
    /// again.
    #[error("malformed revocation list")]
    Malformed,
    /// The bytes, or the URL of the distribution point, are too long. Go on without this list.
    #[error("{got} bytes are too many, at most {max}")]
    TooLong {
        /// How many there are.
        got: usize,
        /// The most.
        max: usize,
    },
    /// It is the list of another distribution point than the one that it is registered for. Fetch it again; if it is the same
    /// one then, go on without.
    #[error("the revocation list is another distribution point's")]
    WrongPoint,
    /// Its issuer is no registered trust anchor or intermediate, or may not sign lists. Register the issuer first.
    #[error("the issuer of the revocation list is not known")]
    UnknownIssuer,
    /// The signature is not its issuer's. Fetch it again, and not from there.
    #[error("the revocation list is forged")]
    InvalidSignature,
}
