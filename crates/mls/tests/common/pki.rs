//! Certification authorities, and devices with certificates.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519,
    RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use tertulia_mls::{
    CertificatePolicy, Ciphersuite, ClientId, Credential, CrlRegistration, EngineError, SessionConfig,
    SignatureScheme,
};

use super::{Device, Hub, client_id};

/// Years that certificates are valid from and to, unless a test says otherwise.
pub(crate) const FROM: i32 = 2020;
pub(crate) const TO: i32 = 2100;

/// The beginning of a year.
pub(crate) fn year(year: i32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(date_time_ymd(year, 1, 1).unix_timestamp().try_into().unwrap())
}

pub(crate) fn algorithm(suite: Ciphersuite) -> &'static SignatureAlgorithm {
    match suite.signature_scheme() {
        SignatureScheme::Ed25519 => &PKCS_ED25519,
        SignatureScheme::EcdsaP256Sha256 => &PKCS_ECDSA_P256_SHA256,
        SignatureScheme::EcdsaP384Sha384 => &PKCS_ECDSA_P384_SHA384,
        SignatureScheme::EcdsaP521Sha512 => &PKCS_ECDSA_P521_SHA512,
        other => panic!("{other}"),
    }
}

/// A certification authority: the trust anchor, or one below it.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What stands between a device's certificate and the anchor.
    above: Vec<Vec<u8>>,
}

impl Authority {
    fn params(name: &str, from: i32, to: i32) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        params
    }

    pub(crate) fn root(name: &str) -> Self {
        Self::root_for(name, Ciphersuite::default())
    }

    /// With a key such as this ciphersuite has.
    pub(crate) fn root_for(name: &str, suite: Ciphersuite) -> Self {
        let key = KeyPair::generate_for(algorithm(suite)).unwrap();
        let issuer = CertifiedIssuer::self_signed(Self::params(name, FROM, TO), key).unwrap();
        Self { issuer, above: Vec::new() }
    }

    pub(crate) fn intermediate(&self, name: &str) -> Self {
        self.intermediate_until(name, TO, &[])
    }

    pub(crate) fn intermediate_until(&self, name: &str, to: i32, points: &[&str]) -> Self {
        let key = KeyPair::generate_for(self.issuer.key().algorithm()).unwrap();
        let mut params = Self::params(name, FROM, to);
        params.crl_distribution_points = distribution_points(points);
        params.serial_number = Some(SerialNumber::from_slice(&[0x77]));
        let issuer = CertifiedIssuer::signed_by(params, key, &self.issuer).unwrap();
        let mut above = vec![issuer.der().to_vec()];
        above.extend(self.above.iter().cloned());
        Self { issuer, above }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for this device.
    pub(crate) fn certify(&self, what: &Certify<'_>) -> Certified {
        let key = KeyPair::generate_for(algorithm(what.suite)).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = what.name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        if let Some(domain) = what.organization {
            params.distinguished_name.push(DnType::OrganizationName, domain);
        }
        params.subject_alt_names =
            what.names.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())).collect();
        params.is_ca = if what.is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        params.key_usages = vec![what.usage];
        params.serial_number = Some(SerialNumber::from_slice(&[what.serial]));
        params.crl_distribution_points = distribution_points(what.points);
        (params.not_before, params.not_after) =
            (date_time_ymd(what.from, 1, 1), date_time_ymd(what.to, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.der().to_vec()];
        chain.extend(self.above.iter().cloned());
        Certified { chain, key: key.serialize_der(), suite: what.suite }
    }

    /// A revocation list of these serial numbers, the one that was made on the first of January of this year.
    pub(crate) fn list(&self, revoked: &[u8], made: i32) -> Vec<u8> {
        self.list_of(&[], revoked, made)
    }

    /// The same, for the distribution point that has these URLs; for everything if there is none.
    pub(crate) fn list_of(&self, points: &[&str], revoked: &[u8], made: i32) -> Vec<u8> {
        let point = distribution_points(points).pop();
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(made, 1, 1),
            next_update: date_time_ymd(made + 1, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: point
                .map(|distribution_point| CrlIssuingDistributionPoint { distribution_point, scope: None }),
            revoked_certs: revoked
                .iter()
                .map(|serial| RevokedCertParams {
                    serial_number: SerialNumber::from_slice(&[*serial]),
                    revocation_time: date_time_ymd(2021, 1, 1),
                    reason_code: None,
                    invalidity_date: None,
                })
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().der().to_vec()
    }
}

fn distribution_points(urls: &[&str]) -> Vec<CrlDistributionPoint> {
    if urls.is_empty() {
        return Vec::new();
    }
    vec![CrlDistributionPoint { uris: urls.iter().map(|url| (*url).to_owned()).collect() }]
}

/// What to certify.
#[derive(Clone)]
pub(crate) struct Certify<'a> {
    pub(crate) names: Vec<String>,
    pub(crate) name: Option<&'a str>,
    pub(crate) organization: Option<&'a str>,
    pub(crate) suite: Ciphersuite,
    pub(crate) serial: u8,
    pub(crate) from: i32,
    pub(crate) to: i32,
    pub(crate) points: &'a [&'a str],
    pub(crate) is_ca: bool,
    pub(crate) usage: KeyUsagePurpose,
}

impl<'a> Certify<'a> {
    /// The device of a person, as `client_id` has it.
    pub(crate) fn device(name: &'a str) -> Self {
        let client = client_id(name);
        let client = client.as_str().unwrap().replace(':', "!");
        Self {
            names: vec![format!("wireapp://{client}"), format!("wireapp://%40{name}@hub.example")],
            name: Some(name),
            organization: Some("hub.example"),
            suite: Ciphersuite::default(),
            serial: 1,
            from: FROM,
            to: TO,
            points: &[],
            is_ca: false,
            usage: KeyUsagePurpose::DigitalSignature,
        }
    }
}

pub(crate) struct Certified {
    pub(crate) chain: Vec<Vec<u8>>,
    /// PKCS #8.
    pub(crate) key: Vec<u8>,
    pub(crate) suite: Ciphersuite,
}

impl Certified {
    pub(crate) fn try_credential(&self) -> Result<Credential, EngineError> {
        Credential::x509(self.chain.clone(), &self.key, self.suite)
    }

    pub(crate) fn credential(&self) -> Credential {
        self.try_credential().unwrap()
    }
}

pub(crate) fn policy(certificate_policy: CertificatePolicy) -> SessionConfig {
    SessionConfig { certificate_policy, ..SessionConfig::default() }
}

impl Device {
    /// A device with a certificate that trusts the authority.
    pub(crate) async fn certified(hub: &Hub, root: &Authority, certified: &Certified) -> Self {
        Self::certified_with(hub, root, certified, CertificatePolicy::Enforce).await
    }

    pub(crate) async fn certified_with(
        hub: &Hub,
        root: &Authority,
        certified: &Certified,
        certificates: CertificatePolicy,
    ) -> Self {
        let device = Self::with_credential(hub, certified.credential(), policy(certificates)).await;
        device.trust(root).await;
        device
    }

    pub(crate) async fn trust(&self, root: &Authority) {
        let mut tx = self.session.new_transaction().await.unwrap();
        tx.add_trust_anchor(&root.der()).unwrap();
        tx.finish().await.unwrap();
    }

    pub(crate) async fn register(&self, point: &str, list: &[u8]) -> Result<CrlRegistration, EngineError> {
        let mut tx = self.session.new_transaction().await.unwrap();
        let registered = tx.e2ei_register_crl(point, list)?;
        tx.finish().await.unwrap();
        Ok(registered)
    }

    pub(crate) fn identity(
        &self,
        id: &tertulia_mls::ConversationId,
        client: &ClientId,
    ) -> tertulia_mls::WireIdentity {
        let view = self.session.conversation(id).unwrap();
        view.get_device_identities(std::slice::from_ref(client)).unwrap().pop().unwrap()
    }
}
