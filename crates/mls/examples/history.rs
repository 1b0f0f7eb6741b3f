//! A newcomer reads what was said before it came. The guide of the crate shows this program.

use std::sync::{Arc, Mutex};

use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, ConversationId, Credential, CredentialRef, MlsCommitBundle,
    MlsConversationConfiguration, MlsTransport, Outcome, Result, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};

/// A hub that takes everything, and keeps the log and the last Welcome.
#[derive(Default)]
struct Hub(Mutex<State>);

#[derive(Default)]
struct State {
    log: Vec<Vec<u8>>,
    welcome: Option<Vec<u8>>,
}

#[async_trait::async_trait]
impl MlsTransport for Hub {
    async fn send_commit_bundle(&self, _: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let mut state = self.0.lock().expect("no panic while it was held");
        state.log.push(bundle.commit);
        state.log.extend(bundle.encrypted_message);
        state.welcome = bundle.welcome;
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

    // Alice allows that newcomers read what is said from here on, and says something.
    let id = ConversationId::from("tertulia");
    let mut tx = alice.new_transaction().await?;
    tx.new_conversation(&id, &alices_credential, MlsConversationConfiguration::default())?;
    let mut conversation = tx.conversation(&id).await?;
    conversation.enable_history_sharing().await?;
    let message = conversation.encrypt_message("Is anybody here?")?;
    tx.finish().await?;
    hub.0.lock().expect("no panic while it was held").log.push(message);

    // Later she adds Bob. The secret goes with the commit.
    let mut tx = bob.new_transaction().await?;
    let key_packages = tx.generate_key_packages(&bobs_credential, 1, None)?;
    tx.finish().await?;
    let mut tx = alice.new_transaction().await?;
    tx.conversation(&id).await?.add_members(key_packages).await?;
    tx.finish().await?;

    // Bob joins, and takes the message that came with the commit: it is the last in the log.
    let State { log, welcome } = std::mem::take(&mut *hub.0.lock().expect("no panic while it was held"));
    let mut tx = bob.new_transaction().await?;
    tx.process_welcome(&welcome.expect("Bob was added"))?;
    let received = tx.conversation(&id).await?.decrypt_message(log.last().expect("it is not empty"))?;
    tx.finish().await?;
    assert_eq!(received.outcome, Outcome::History);

    // He reads the log from the beginning of the span.
    let span = bob.history_spans(&id)?.pop().expect("Alice shared it");
    let mut reader = bob.open_history(&span.secret)?;
    let mut texts = Vec::new();
    for message in &log {
        // What was sent before the span is refused.
        if let Ok(read) = reader.process(message) {
            texts.extend(read.app_msg);
        }
    }
    assert_eq!(texts, [b"Is anybody here?"]);
    Ok(())
}
