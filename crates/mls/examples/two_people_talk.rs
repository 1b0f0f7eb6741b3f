//! Two devices talk through a hub in memory. The guide of the crate shows this program.

use std::sync::{Arc, Mutex};

use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, ConversationId, Credential, CredentialRef, MlsCommitBundle,
    MlsConversationConfiguration, MlsTransport, Result, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};

/// A hub that takes everything and keeps the last Welcome.
#[derive(Default)]
struct Hub(Mutex<Option<Vec<u8>>>);

#[async_trait::async_trait]
impl MlsTransport for Hub {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        *self.0.lock().expect("no panic while it was held") = bundle.welcome;
        CommitOutcome::Accepted
    }
}

async fn device(home: &std::path::Path, hub: &Arc<Hub>, id: &str) -> Result<(Session, CredentialRef)> {
    let store = Store::create(home, &KeySource::File)?;
    let session = Session::open(store, hub.clone(), SessionConfig::default())?;
    let mut tx = session.new_transaction().await?;
    let credential = tx.add_credential(Credential::basic(ClientId::from(id), Ciphersuite::default())?)?;
    tx.finish().await?;
    Ok((session, credential))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let hub = Arc::new(Hub::default());
    let homes = tempfile::tempdir().expect("a directory for temporary files");
    let user = "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47";
    let (alice, alices_credential) =
        device(&homes.path().join("a"), &hub, &format!("{user}:a@hub.example")).await?;
    let (bob, bobs_credential) =
        device(&homes.path().join("b"), &hub, &format!("{user}:b@hub.example")).await?;

    // Bob publishes a key package.
    let mut tx = bob.new_transaction().await?;
    let key_packages = tx.generate_key_packages(&bobs_credential, 1, None)?;
    tx.finish().await?;

    // Alice creates a conversation, adds Bob with it, and writes.
    let id = ConversationId::from("tertulia");
    let mut tx = alice.new_transaction().await?;
    tx.new_conversation(&id, &alices_credential, MlsConversationConfiguration::default())?;
    let mut conversation = tx.conversation(&id).await?;
    conversation.add_members(key_packages).await?;
    let message = conversation.encrypt_message("Hello, Bob")?;
    tx.finish().await?;

    // Bob joins by the Welcome, and reads.
    let welcome = hub.0.lock().expect("no panic while it was held").take().expect("Bob was added");
    let mut tx = bob.new_transaction().await?;
    tx.process_welcome(&welcome)?;
    let received = tx.conversation(&id).await?.decrypt_message(&message)?;
    tx.finish().await?;
    assert_eq!(received.app_msg.as_deref(), Some(&b"Hello, Bob"[..]));
    Ok(())
}
