//! The keys of external senders, which come from a hub.

use std::cell::OnceCell;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tertulia_mls::{
    Ciphersuite, ConversationId, Credential, CredentialRef, ExternalSender, MlsConversationConfiguration,
    SignatureScheme,
};
use tokio::runtime::Runtime;

use crate::{
    device::{Device, client_id},
    hub::Hub,
    script,
    world::runtime,
};

/// A device with a credential of each ciphersuite.
struct Creator {
    device: Device,
    credentials: Vec<CredentialRef>,
    keys: Vec<Vec<u8>>,
}

fn with_creator<R>(f: impl FnOnce(&Runtime, &Creator) -> R) -> R {
    thread_local! {
        static CREATOR: OnceCell<(Runtime, Creator)> = const { OnceCell::new() };
    }
    CREATOR.with(|creator| {
        let (runtime, creator) = creator.get_or_init(|| {
            let runtime = runtime();
            let creator = runtime.block_on(Creator::new());
            (runtime, creator)
        });
        f(runtime, creator)
    })
}

impl Creator {
    async fn new() -> Self {
        let device = Device::new(&Hub::default(), 1).await;
        let mut tx = device.session.new_transaction().await.expect("nobody else writes");
        let (mut credentials, mut keys) = (vec![device.credential.clone()], Vec::new());
        for suite in Ciphersuite::ALL {
            if suite != device.credential.ciphersuite() {
                let credential = Credential::basic(client_id(1), suite).expect("a key pair");
                credentials.push(tx.add_credential(credential).expect("the first of this ciphersuite"));
            }
        }
        tx.finish().await.expect("the disk works");
        for credential in &credentials {
            let key = credential.public_key().to_vec();
            keys.extend([jwk(&key, credential.ciphersuite().signature_scheme()).into_bytes(), key]);
        }
        Self { device, credentials, keys }
    }
}

fn jwk(key: &[u8], scheme: SignatureScheme) -> String {
    let curve = match scheme {
        SignatureScheme::EcdsaP256Sha256 => "P-256",
        SignatureScheme::EcdsaP384Sha384 => "P-384",
        SignatureScheme::EcdsaP521Sha512 => "P-521",
        _ => return format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, URL_SAFE_NO_PAD.encode(key)),
    };
    let (x, y) = key[1..].split_at(key.len() / 2);
    let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    format!(r#"{{"kty":"EC","crv":"{curve}","x":"{x}","y":"{y}","kid":"1"}}"#)
}

/// Real keys, as a JWK and raw, of each ciphersuite.
pub(crate) fn keys() -> Vec<Vec<u8>> {
    with_creator(|_, creator| creator.keys.clone())
}

/// A public key, raw or as a JWK: the first byte says as which it is read, the rest is the bytes.
///
/// What is a key is the same when it is read again, and is taken for conversations of its signature scheme only.
pub fn external_sender(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_creator(|runtime, creator| {
        let bytes = script::message(rest, &creator.keys);
        let sender = match choice % 3 {
            0 => ExternalSender::from_raw_or_jwk(&bytes),
            1 => ExternalSender::from_jwk(&bytes),
            _ => ExternalSender::from_raw(&bytes),
        };
        let Ok(sender) = sender else { return };
        let again =
            ExternalSender::from_raw_or_jwk(sender.as_bytes()).expect("what was read can be read again");
        assert_eq!(again, sender);
        runtime.block_on(create(creator, &sender));
    });
}

/// Creates a conversation of each ciphersuite with this sender.
async fn create(creator: &Creator, sender: &ExternalSender) {
    let mut tx = creator.device.session.new_transaction().await.expect("nobody else writes");
    for credential in &creator.credentials {
        let ciphersuite = credential.ciphersuite();
        let id = ConversationId::from(format!("with a sender, {ciphersuite:?}"));
        let external_senders = vec![sender.clone()];
        let config = MlsConversationConfiguration {
            ciphersuite,
            external_senders,
            ..MlsConversationConfiguration::default()
        };
        let created = tx.new_conversation(&id, credential, config);
        let fits = ciphersuite.signature_scheme() == sender.signature_scheme();
        assert!(fits || created.is_err(), "a key that the members cannot use");
        assert_eq!(tx.conversation_exists(&id).expect("the store can be read"), created.is_ok());
        if created.is_ok() {
            let mut guard = tx.conversation(&id).await.expect("it was created");
            assert_eq!(guard.get_external_sender().expect("it has one"), sender.as_bytes());
        }
    }
    tx.abort();
}
