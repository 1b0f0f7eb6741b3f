use crate::support::{Device, Hub, client_id};
use tertulia_mls::{CommitOptions, ConversationId, MlsConversationConfiguration, Result};

/// The hub's key, as a JWK (the example of RFC 8037).
const HUBS_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

/// Members come and go by commits, and share keys of each epoch.
pub(crate) async fn run() -> Result<()> {
    let hub = Hub::default().into();
    let (alice, bob) = (Device::new(&hub, "alice").await?, Device::new(&hub, "bob").await?);
    let id = ConversationId::from("tertulia");
    let mut config = MlsConversationConfiguration::default();
    config.set_raw_external_senders([HUBS_KEY])?;

    // A commit that adds Bob, and what he is to read first.
    let newcomers = bob.key_packages().await?;
    let mut tx = alice.session.new_transaction().await?;
    tx.new_conversation(&id, &alice.credential, config)?;
    let mut conversation = tx.conversation(&id).await?;
    let summary = conversation.change_members(newcomers, &[], CommitOptions::with_message("Welcome")).await?;
    assert_eq!(summary.added, [client_id("bob")]);
    tx.finish().await?;
    let mut tx = bob.session.new_transaction().await?;
    tx.process_welcome(&hub.welcome(&id))?;
    tx.finish().await?;
    assert_eq!(bob.receive(&id, &hub.newest(&id)).await?.app_msg.as_deref(), Some(&b"Welcome"[..]));

    // Both see the same. A view needs no transaction.
    let (a, b) = (alice.session.conversation(&id)?, bob.session.conversation(&id)?);
    assert_eq!(a.client_ids()?, [client_id("alice"), client_id("bob")]);
    assert_eq!(a.epoch_authenticator()?, b.epoch_authenticator()?);
    assert_eq!(a.export_secret_key(32)?, b.export_secret_key(32)?);
    assert_eq!(b.external_sender()?.map(|key| key.len()), Some(32), "raw, whichever form it came in");

    let mut tx = alice.session.new_transaction().await?;
    tx.conversation(&id).await?.remove_members(&[client_id("bob")]).await?;
    tx.finish().await?;
    let removed = bob.receive(&id, &hub.newest(&id)).await?;
    assert!(!removed.is_active && !bob.session.conversation_exists(&id)?);
    Ok(())
}
