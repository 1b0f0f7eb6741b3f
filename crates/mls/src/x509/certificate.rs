//! What the certificate of a device says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_SIG_ED25519,
    },
    prelude::FromDer,
    x509::{SubjectPublicKeyInfo, X509Name},
};

use super::{CertificateError, MAX_CERTIFICATE_BYTES, MAX_CHAIN, MAX_POINTS, MAX_URL_BYTES};
use crate::{ClientId, SignatureScheme};

/// What stands before the names in a certificate: `wireapp://<user>!<device>@<domain>` is the client, and
/// `wireapp://%40<handle>@<domain>` the handle.
const SCHEME: &str = "wireapp://";
/// Longest display name that is told, in characters.
const MAX_NAME_CHARS: usize = 256;

/// What the first certificate of a chain says about its holder. Nothing of it is verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leaf {
    pub(crate) client_id: ClientId,
    pub(crate) handle: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) domain: String,
    pub(crate) scheme: SignatureScheme,
    /// The raw public key, as it stands in a leaf of the tree.
    pub(crate) public_key: Vec<u8>,
    /// Hex digits.
    pub(crate) serial_number: String,
    /// Seconds since 1970.
    pub(crate) not_before: u64,
    /// Seconds since 1970.
    pub(crate) not_after: u64,
}

/// Reads the first certificate of a chain, and checks the form and the number of the others.
pub(crate) fn parse_leaf(chain: &[impl AsRef<[u8]>]) -> Result<Leaf, CertificateError> {
    if chain.len() > MAX_CHAIN {
        return Err(CertificateError::Malformed("the chain is too long"));
    }
    let (first, rest) = chain.split_first().ok_or(CertificateError::Malformed("the chain is empty"))?;
    for issuer in rest {
        parse(issuer.as_ref())?;
    }
    let certificate = parse(first.as_ref())?;
    if certificate.is_ca() {
        return Err(CertificateError::Malformed("a device is no certification authority"));
    }
    let may_sign = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.digital_signature()),
        Err(_) => false,
    };
    if !may_sign {
        return Err(CertificateError::Malformed("the key is not for signatures"));
    }
    let (scheme, public_key) = public_key(certificate.public_key())?;
    let names = Names::read(&certificate)?;
    let (not_before, not_after) = validity(&certificate);
    Ok(Leaf {
        client_id: names.client_id,
        handle: names.handle,
        display_name: attribute(certificate.subject().iter_common_name()),
        domain: names.domain,
        scheme,
        public_key,
        serial_number: certificate.raw_serial_as_string().replace(':', ""),
        not_before,
        not_after,
    })
}

/// A certificate and nothing else, of a reasonable length.
pub(super) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::Malformed("too long"));
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(CertificateError::Malformed("something follows it")),
        Err(_) => Err(CertificateError::Malformed("no DER of X.509")),
    }
}

/// The certificates in a PEM text, in their order.
pub(crate) fn chain_from_pem(pem: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    if pem.len() > MAX_CHAIN * MAX_CERTIFICATE_BYTES * 2 {
        return Err(CertificateError::Malformed("too long"));
    }
    CertificateDer::pem_slice_iter(pem)
        .map(|der| der.map(|der| der.to_vec()).map_err(|_| CertificateError::Malformed("no PEM")))
        .collect()
}

/// The certificate of a certification authority, in DER or PEM, as DER.
pub(crate) fn parse_authority(bytes: &[u8]) -> Result<Vec<u8>, CertificateError> {
    let mut chain = if bytes.starts_with(b"-----") { chain_from_pem(bytes)? } else { vec![bytes.to_vec()] };
    let (Some(der), true) = (chain.pop(), chain.is_empty()) else {
        return Err(CertificateError::Malformed("one certificate is wanted"));
    };
    if !parse(&der)?.is_ca() {
        return Err(CertificateError::NotAuthority);
    }
    // Who builds the chains is stricter than who reads the fields: what it cannot use is not registered.
    webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice()))
        .map_err(|_| CertificateError::NotAuthority)?;
    Ok(der)
}

/// From when to when it is valid, in seconds since 1970.
pub(super) fn validity(certificate: &X509Certificate<'_>) -> (u64, u64) {
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    (seconds(certificate.validity().not_before), seconds(certificate.validity().not_after))
}

/// The URLs of revocation lists in a certificate, those for fetching by HTTP.
pub(super) fn distribution_points(certificate: &X509Certificate<'_>) -> Vec<String> {
    let points = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::CRLDistributionPoints(points) => Some(&points.points),
        _ => None,
    });
    let names = points.flatten().filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    let urls = names.flatten().filter_map(|name| match name {
        GeneralName::URI(url) if is_http(url) && url.len() <= MAX_URL_BYTES => Some((*url).to_owned()),
        _ => None,
    });
    urls.take(MAX_POINTS).collect()
}

fn is_http(url: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        && url.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The key in the form of MLS (RFC 9420, section 5.1.1), which is that of the certificate.
fn public_key(info: &SubjectPublicKeyInfo<'_>) -> Result<(SignatureScheme, Vec<u8>), CertificateError> {
    let algorithm = &info.algorithm.algorithm;
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let scheme = if *algorithm == OID_SIG_ED25519 {
        Some(SignatureScheme::Ed25519)
    } else if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        curve.and_then(|curve| {
            [
                (OID_EC_P256, SignatureScheme::EcdsaP256Sha256),
                (OID_NIST_EC_P384, SignatureScheme::EcdsaP384Sha384),
                (OID_NIST_EC_P521, SignatureScheme::EcdsaP521Sha512),
            ]
            .into_iter()
            .find_map(|(oid, scheme)| (oid == curve).then_some(scheme))
        })
    } else {
        None
    };
    let scheme = scheme.ok_or(CertificateError::Malformed("a key that no ciphersuite signs with"))?;
    let key = info.subject_public_key.data.to_vec();
    if SignatureScheme::of_raw_key(&key) != Some(scheme) {
        return Err(CertificateError::Malformed("a key of another length or form"));
    }
    Ok((scheme, key))
}

/// The names in a certificate, which must agree.
struct Names {
    client_id: ClientId,
    handle: Option<String>,
    domain: String,
}

impl Names {
    fn read(certificate: &X509Certificate<'_>) -> Result<Self, CertificateError> {
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError::Malformed("the alternative names"))?
            .ok_or(CertificateError::Malformed("no alternative names"))?;
        let mut client = None;
        let mut handle = None;
        for name in &alternatives.value.general_names {
            let GeneralName::URI(uri) = name else { continue };
            let Some(rest) = uri.strip_prefix(SCHEME) else { continue };
            let (place, name) = match rest.strip_prefix("%40") {
                Some(rest) => (&mut handle, rest),
                None => (&mut client, rest),
            };
            let parts = name.rsplit_once('@').ok_or(CertificateError::Malformed("a name without domain"))?;
            if place.replace(parts).is_some() {
                return Err(CertificateError::Malformed("two names of a kind"));
            }
        }
        let (client, domain) = client.ok_or(CertificateError::Malformed("it names no client"))?;
        if handle.is_some_and(|(_, of)| of != domain) {
            return Err(CertificateError::Malformed("client and handle are of different domains"));
        }
        if organization(certificate.subject()).is_some_and(|of| of != domain) {
            return Err(CertificateError::Malformed("client and subject are of different domains"));
        }
        Ok(Self {
            client_id: client_id(client, domain)?,
            handle: handle.map(|(handle, _)| handle.to_owned()),
            domain: domain.to_owned(),
        })
    }
}

/// The client id in the form of a basic credential, `<user>:<device>@<domain>`. A user is written as a UUID, or as its
/// bytes in base64url, which existing certificates have.
fn client_id(client: &str, domain: &str) -> Result<ClientId, CertificateError> {
    let (user, device) =
        client.split_once('!').ok_or(CertificateError::Malformed("a client without device"))?;
    let bytes = URL_SAFE_NO_PAD.decode(user).ok().and_then(|bytes| uuid::Uuid::from_slice(&bytes).ok());
    Ok(match bytes {
        Some(uuid) => ClientId::from(format!("{uuid}:{device}@{domain}")),
        None => ClientId::from(format!("{user}:{device}@{domain}")),
    })
}

fn organization(subject: &X509Name<'_>) -> Option<String> {
    attribute(subject.iter_organization())
}

/// The first attribute of a kind, if it is text.
fn attribute<'a>(
    mut attributes: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Option<String> {
    let text = attributes.next()?.as_str().ok()?;
    Some(text.chars().take(MAX_NAME_CHARS).collect())
}
