//! Conversations of each ciphersuite, and what does not fit together.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Hub, assert_same_state, client_id, conversation};
use tertulia_mls::{
    Ciphersuite, Credential, EngineError, ErrorKind, ExternalSender, ExternalSenderError,
    MlsConversationConfiguration, SessionConfig, SignatureScheme, VerifiableGroupInfo,
};

async fn device(hub: &Hub, name: &str, suite: Ciphersuite) -> Device {
    let credential = Credential::basic(client_id(name), suite).unwrap();
    assert_eq!(credential.public_key().len(), suite.signature_scheme().public_key_length());
    Device::with_credential(hub, credential, SessionConfig::default()).await
}

#[tokio::test]
async fn people_talk_with_every_ciphersuite() {
    for suite in Ciphersuite::ALL {
        let hub = Hub::signing_for(suite);
        let mut alice = device(&hub, "alice", suite).await;
        let mut bob = device(&hub, "bob", suite).await;
        let mut carol = device(&hub, "carol", suite).await;
        let id = conversation();
        alice.create(&id).await;
        alice.add(&id, &mut [&mut bob]).await;
        carol.join_externally(&id).await.unwrap();
        bob.sync(&id).await;
        bob.update(&id).await.unwrap();
        hub.propose_removal(&id, &client_id("carol"));
        let (mut alice, mut bob) = (alice.restarted(), bob.restarted());
        alice.sync(&id).await;
        alice.update(&id).await.unwrap();
        assert_eq!(alice.members(&id), [client_id("alice"), client_id("bob")], "{suite}");
        alice.send(&id, "Hello, Bob").await;
        assert_eq!(bob.read(&id).await, ["Hello, Bob"]);
        assert!(!carol.sync(&id).await.pop().unwrap().is_active);
        alice.sync(&id).await;
        assert_same_state(&id, &[&alice, &bob]);

        let view = bob.session.conversation(&id).unwrap();
        assert_eq!(view.ciphersuite().unwrap(), suite);
        assert_eq!(view.external_sender().unwrap().unwrap(), hub.public_key().as_bytes());
        let longest = 255
            * if suite.number() == 5 {
                64
            } else if suite.number() == 7 {
                48
            } else {
                32
            };
        assert_eq!(view.export_secret_key(longest).unwrap().len(), longest);
        assert!(matches!(
            view.export_secret_key(longest + 1),
            Err(EngineError::InvalidKeyLength { max, .. }) if max == longest
        ));
    }
}

#[tokio::test]
async fn one_device_has_a_credential_for_each_ciphersuite() {
    let hub = Hub::new();
    let alice = Device::new(&hub, "alice").await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    for suite in Ciphersuite::ALL {
        let added = tx.add_credential(Credential::basic(client_id("alice"), suite).unwrap());
        match added {
            Ok(reference) => assert_eq!(reference.ciphersuite(), suite),
            Err(error) => {
                assert!(matches!(error, EngineError::CredentialExists(_)) && suite == Ciphersuite::default());
            }
        }
    }
    assert_eq!(tx.find_credentials().unwrap().len(), Ciphersuite::ALL.len());
}

#[tokio::test]
async fn what_is_of_another_ciphersuite_is_refused_and_changes_nothing() {
    let (p256, p384) = (
        Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256,
        Ciphersuite::MLS_256_DHKEMP384_AES256GCM_SHA384_P384,
    );
    let hub = Hub::signing_for(p256);
    let mut alice = device(&hub, "alice", p256).await;
    let bob = device(&hub, "bob", p384).await;
    let id = conversation();
    alice.create(&id).await;
    alice.update(&id).await.unwrap();
    let is_mismatch = |error: &EngineError| {
        error.kind() == ErrorKind::Misuse
            && matches!(error, EngineError::CiphersuiteMismatch { got, expected } if (*got, *expected) == (p384, p256))
    };
    let refused = alice.change(&id, vec![bob.key_package().await], &[]).await.unwrap_err();
    assert!(is_mismatch(&refused), "{refused}");

    let mut tx = bob.session.new_transaction().await.unwrap();
    let refused = tx
        .join_by_external_commit(
            VerifiableGroupInfo::from_bytes(&hub.group_info(&id)).unwrap(),
            &bob.credential,
        )
        .await
        .unwrap_err();
    assert!(is_mismatch(&refused), "{refused}");
    let config = MlsConversationConfiguration { ciphersuite: p256, ..Default::default() };
    let refused = tx.new_conversation(&"other".into(), &bob.credential, config).unwrap_err();
    assert!(is_mismatch(&refused), "{refused}");

    let mut config = MlsConversationConfiguration { ciphersuite: p384, ..Default::default() };
    config.set_raw_external_senders([hub.public_key().as_bytes()]).unwrap();
    let refused = tx.new_conversation(&"other".into(), &bob.credential, config).unwrap_err();
    assert!(
        matches!(
            refused,
            EngineError::InvalidExternalSender(ExternalSenderError::WrongScheme {
                got: SignatureScheme::EcdsaP256Sha256,
                expected: SignatureScheme::EcdsaP384Sha384,
            })
        ),
        "{refused}"
    );
    assert!(!tx.conversation_exists(&"other".into()).unwrap());
    assert_eq!(alice.epoch(&id), 1);
    assert_eq!(hub.epoch(&id), 1);
}

#[tokio::test]
async fn an_external_sender_given_as_a_jwk_is_told_as_the_raw_key() {
    // RFC 8037, appendix A.2.
    let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let alice = Device::new(&Hub::new(), "alice").await;
    let mut config = MlsConversationConfiguration::default();
    config.set_raw_external_senders([jwk]).unwrap();
    let raw = config.external_senders[0].as_bytes().to_vec();
    assert_eq!(raw, ExternalSender::from_jwk(jwk).unwrap().as_bytes());
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.new_conversation(&conversation(), &alice.credential, config).unwrap();
    let mut guard = tx.conversation(&conversation()).await.unwrap();
    assert_eq!(guard.get_external_sender().unwrap(), raw);
}
