use crate::support::{Device, Hub};
use std::time::{Duration, SystemTime};
use tertulia_mls::{ConversationId, MlsConversationConfiguration, Result};

/// A device gets new keys at least once a month. The application asks what is due, whenever it likes.
pub(crate) async fn run() -> Result<()> {
    let month = Duration::from_hours(30 * 24);
    let alice = Device::new(&Hub::default().into(), "alice").await?;
    let id = ConversationId::from("tertulia");
    let mut config = MlsConversationConfiguration::default();
    config.custom.key_rotation_span = Some(month);
    let mut tx = alice.session.new_transaction().await?;
    tx.new_conversation(&id, &alice.credential, config)?;
    tx.finish().await?;

    let now = SystemTime::now();
    assert!(alice.session.key_rotations_due(now)?.is_empty());
    let later = now + month + Duration::from_mins(1);
    for id in alice.session.key_rotations_due(later)? {
        let mut tx = alice.session.new_transaction().await?;
        let committed = tx.conversation(&id).await?.rotate_key_material_if_due(later).await?;
        tx.finish().await?;
        assert_eq!(committed.map(|summary| summary.epoch), Some(1));
    }
    assert!(alice.session.key_rotations_due(later)?.is_empty(), "until another month has passed");
    Ok(())
}
