use crate::support::two;
use std::sync::{Arc, Mutex};
use tertulia_mls::{ConversationId, EpochObserver, Result, Session};

/// Is told of new epochs once they are on disk, in order, with no lock held.
struct Diary {
    session: Session,
    epochs: Mutex<Vec<u64>>,
}

#[async_trait::async_trait]
impl EpochObserver for Diary {
    async fn epoch_changed(&self, conversation_id: ConversationId, epoch: u64) {
        // It may call the session, and even begin a transaction.
        if let Ok(view) = self.session.conversation(&conversation_id) {
            assert!(view.epoch() >= epoch);
        }
        self.epochs.lock().expect("nobody panics while it is held").push(epoch);
    }
}

pub(crate) async fn run() -> Result<()> {
    let (hub, alice, bob, id) = two().await?;
    let diary = Arc::new(Diary { session: bob.session.clone(), epochs: Mutex::default() });
    bob.session.register_epoch_observer(diary.clone());
    let epochs = || diary.epochs.lock().expect("nobody panics while it is held").clone();

    alice.update(&id).await?;
    let mut tx = bob.session.new_transaction().await?;
    tx.conversation(&id).await?.decrypt_message(hub.newest(&id))?;
    assert!(epochs().is_empty(), "it is not on disk yet");
    tx.finish().await?;
    assert_eq!(epochs(), [2]);
    Ok(())
}
