use crate::support::{Device, Hub};
use tertulia_mls::{ConversationId, MlsConversationConfiguration, Result};

/// What a transaction did is there as a whole or not at all, the application's own data included.
pub(crate) async fn run() -> Result<()> {
    let device = Device::new(&Hub::default().into(), "alice").await?;
    let id = ConversationId::from("tertulia");

    // Aborted, as when it is dropped: nothing has happened.
    let mut tx = device.session.new_transaction().await?;
    tx.new_conversation(&id, &device.credential, MlsConversationConfiguration::default())?;
    assert!(tx.conversation_exists(&id)?, "a transaction reads what it has written");
    assert!(!device.session.conversation_exists(&id)?, "nobody else does");
    tx.abort();
    assert!(!device.session.conversation_exists(&id)?);

    // Finished: one durable write, with how far the application has read and with a row of its own tables.
    let mut tx = device.session.new_transaction().await?;
    tx.new_conversation(&id, &device.credential, MlsConversationConfiguration::default())?;
    tx.set_data(b"read up to 41".to_vec())?;
    tx.store_write(|write| write.set_cursor("41"))?;
    tx.finish().await?;

    assert_eq!(device.session.conversations()?, [id]);
    let cursor = device.session.store().read(|read| read.cursor())?;
    assert_eq!(cursor.as_deref(), Some("41"));
    let data = device.session.new_transaction().await?.get_data()?;
    assert_eq!(data.as_deref(), Some(&b"read up to 41"[..]));
    Ok(())
}
