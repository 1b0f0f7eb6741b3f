//! The one place where the MLS library is set up.

use std::time::Duration;

use mls_rs::{
    CipherSuite, CipherSuiteProvider, Client, CryptoProvider, Group,
    client_builder::{
        BaseConfig, ClientBuilder, PaddingMode, WithCryptoProvider, WithGroupStateStorage,
        WithIdentityProvider, WithKeyPackageRepo, WithMlsRules, WithPskStore,
    },
    mls_rules::{CommitOptions, DefaultMlsRules, EncryptionOptions},
};
use mls_rs_crypto_awslc::{AwsLcCipherSuite, AwsLcCryptoProvider};

use crate::{
    Ciphersuite, EngineError, Padding, Result, SessionConfig,
    credential::Credential,
    crypto::EngineCrypto,
    identity::PolicyIdentityProvider,
    key_package::{BACKDATE, MAX_LIFETIME},
    overlay::Overlay,
    record::GroupMeta,
    rules::{ENCRYPTED_HANDSHAKE, EngineRules, GROUP_DATA},
};

/// The library's configuration, spelled out.
pub(crate) type Config = WithKeyPackageRepo<
    Overlay,
    WithPskStore<
        Overlay,
        WithGroupStateStorage<
            Overlay,
            WithMlsRules<
                EngineRules,
                WithCryptoProvider<EngineCrypto, WithIdentityProvider<PolicyIdentityProvider, BaseConfig>>,
            >,
        >,
    >,
>;

/// A group of the library with the engine's storage.
pub(crate) type MlsGroup = Group<Config>;

/// A client of the library on top of `overlay`.
///
/// Every commit has a path, so that each one heals; the ratchet tree travels in Welcome and group info; anybody who may
/// fetch the group info can join by external commit, which the hub decides.
pub(crate) fn client(
    overlay: &Overlay,
    config: &SessionConfig,
    meta: &GroupMeta,
    credential: Option<&Credential>,
    lifetime: Duration,
) -> Client<Config> {
    let padding = match config.padding {
        Padding::Steps => PaddingMode::StepFunction,
        Padding::Padme => PaddingMode::Padme,
        Padding::Off => PaddingMode::None,
    };
    let rules = DefaultMlsRules::new()
        .with_commit_options(
            CommitOptions::new()
                .with_path_required(true)
                .with_ratchet_tree_extension(true)
                .with_single_welcome_message(true)
                .with_allow_external_commit(true),
        )
        .with_encryption_options(EncryptionOptions::new(meta.encrypts_handshake(), padding));
    let builder = ClientBuilder::new()
        .identity_provider(PolicyIdentityProvider {
            clients: config.client_id_policy.clone(),
            certificates: config.certificate_policy,
            trust: overlay.trust().clone(),
        })
        .crypto_provider(EngineCrypto(crypto_provider()))
        .mls_rules(EngineRules {
            defaults: rules,
            application: config.group_rules.clone(),
            overlay: overlay.clone(),
        })
        .extension_type(GROUP_DATA)
        .extension_type(ENCRYPTED_HANDSHAKE)
        .group_state_storage(overlay.clone())
        .psk_store(overlay.clone())
        .key_package_repo(overlay.clone())
        .key_package_lifetime(lifetime.min(MAX_LIFETIME) + BACKDATE);
    match credential {
        Some(credential) => builder
            .signing_identity(
                credential.signing_identity(),
                credential.signer(),
                cipher_suite(credential.ciphersuite),
            )
            .build(),
        None => builder.build(),
    }
}

pub(crate) fn cipher_suite(ciphersuite: Ciphersuite) -> CipherSuite {
    CipherSuite::from(ciphersuite.number())
}

/// The cryptographic operations of a ciphersuite.
pub(crate) fn cipher_suite_provider(ciphersuite: Ciphersuite) -> Result<AwsLcCipherSuite> {
    crypto_provider()
        .cipher_suite_provider(cipher_suite(ciphersuite))
        .ok_or(EngineError::UnsupportedCiphersuite(ciphersuite.number()))
}

/// The number with which the journal of a group begins. At random, so that a group that is wiped and joined again is never
/// taken for what it was.
pub(crate) fn first_serial() -> Result<u64> {
    let random = cipher_suite_provider(Ciphersuite::default())?.random_bytes_vec(6);
    let random = random.map_err(|error| EngineError::Library(Box::new(error)))?;
    Ok(random.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Only what [`Ciphersuite`] knows: the leaves of this device name these suites as its capabilities.
pub(crate) fn crypto_provider() -> AwsLcCryptoProvider {
    AwsLcCryptoProvider::with_enabled_cipher_suites(Ciphersuite::ALL.map(cipher_suite).to_vec())
}
