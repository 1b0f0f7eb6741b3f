//! Certification authorities, devices with certificates, and a conversation of theirs.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName,
    DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, PKCS_ED25519, RevokedCertParams, SanType, SerialNumber, SignatureAlgorithm,
    date_time_ymd,
};
use tertulia_mls::{
    CertificatePolicy, Ciphersuite, Credential, MlsConversationConfiguration, SessionConfig, SignatureScheme,
};

use crate::{
    device::{Device, client_id, conversation},
    hub::Hub,
};

/// The serial number of Bob's certificate.
const BOB: u8 = 2;

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// Certificates, the device's first, with the private key of the first as PKCS #8.
pub(crate) struct Certified {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
    pub(crate) suite: Ciphersuite,
}

/// Alice and Bob talk, who both trust the root; an intermediate below it vouches for them.
pub(crate) struct Certification {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
    /// Whom nobody trusts.
    pub(crate) foreign: Authority,
    pub(crate) alice: Device,
    /// Outside, with a certificate and a key package.
    pub(crate) dave: Device,
    /// Of Dave, for each ciphersuite.
    pub(crate) certified: Vec<Certified>,
    pub(crate) key_packages: Vec<Vec<u8>>,
    /// The last is of the foreign authority.
    pub(crate) lists: Vec<Vec<u8>>,
}

impl Authority {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1));
        params
    }

    fn root(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(Self::params(name), key_pair(Ciphersuite::default()));
        Self { issuer: issuer.expect("the parameters are good") }
    }

    fn below(&self, name: &str) -> Self {
        let key = key_pair(Ciphersuite::default());
        let issuer = CertifiedIssuer::signed_by(Self::params(name), key, &self.issuer);
        Self { issuer: issuer.expect("the parameters are good") }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// For a device, by this authority, which stands in the chain.
    fn certify(&self, number: u8, suite: Ciphersuite, serial: u8) -> Certified {
        let key = key_pair(suite);
        let client = client_id(number).as_str().expect("it is text").replace(':', "!");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Somebody");
        params.distinguished_name.push(DnType::OrganizationName, "hub.example");
        params.subject_alt_names =
            [format!("wireapp://{client}"), "wireapp://%40some@hub.example".to_owned()]
                .map(|uri| SanType::URI(uri.try_into().expect("it is ASCII")))
                .to_vec();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2100, 1, 1));
        let certificate = params.signed_by(&key, &self.issuer).expect("the parameters are good");
        Certified { chain: vec![certificate.der().to_vec(), self.der()], key: key.serialize_der(), suite }
    }

    /// A revocation list of these serial numbers that was made in this year.
    fn list(&self, revoked: &[u8], year: i32) -> Vec<u8> {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(&[*serial]),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(year, 1, 1),
            next_update: date_time_ymd(year + 1, 1, 1),
            crl_number: SerialNumber::from_slice(&[1]),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("the parameters are good").der().to_vec()
    }
}

impl Certified {
    fn credential(&self) -> Credential {
        Credential::x509(self.chain.clone(), &self.key, self.suite).expect("it is genuine")
    }
}

impl Certification {
    pub(crate) async fn begin() -> Self {
        let (root, foreign) = (Authority::root("root"), Authority::root("foreign"));
        let intermediate = root.below("intermediate");
        let suite = Ciphersuite::default();
        let hub = Hub::default();
        let certified: Vec<_> =
            Ciphersuite::ALL.into_iter().map(|suite| intermediate.certify(4, suite, 4)).collect();
        let [alice, bob] = [1, BOB].map(|number| intermediate.certify(number, suite, number).credential());
        // Who does not look at certificates makes key packages with any.
        let careless =
            SessionConfig { certificate_policy: CertificatePolicy::Report, ..SessionConfig::default() };
        let alice = Device::with_credential(&hub, alice, SessionConfig::default()).await;
        let bob = Device::with_credential(&hub, bob, careless.clone()).await;
        let dave = Device::with_credential(&hub, certified[0].credential(), careless).await;

        let mut tx = alice.session.new_transaction().await.expect("nobody else writes");
        tx.add_trust_anchor(&root.der()).expect("it is a certificate");
        let config = MlsConversationConfiguration::default();
        tx.new_conversation(&conversation(), &alice.credential, config).expect("the first conversation");
        let bob = bob.key_package().await;
        let mut guard = tx.conversation(&conversation()).await.expect("it was created");
        guard.add_members(vec![bob]).await.expect("his certificate is good");
        tx.finish().await.expect("the disk works");

        let key_packages = vec![dave.key_package().await.into_bytes()];
        let lists = vec![
            intermediate.list(&[BOB], 2026),
            intermediate.list(&[], 2025),
            intermediate.list(&[7, 8, 9], 2027),
            root.list(&[7], 2026),
            foreign.list(&[BOB], 2026),
        ];
        Self { root, intermediate, foreign, alice, dave, certified, key_packages, lists }
    }
}

fn key_pair(suite: Ciphersuite) -> KeyPair {
    let algorithm: &SignatureAlgorithm = match suite.signature_scheme() {
        SignatureScheme::EcdsaP256Sha256 => &PKCS_ECDSA_P256_SHA256,
        SignatureScheme::EcdsaP384Sha384 => &PKCS_ECDSA_P384_SHA384,
        SignatureScheme::EcdsaP521Sha512 => &PKCS_ECDSA_P521_SHA512,
        _ => &PKCS_ED25519,
    };
    KeyPair::generate_for(algorithm).expect("a key pair")
}
