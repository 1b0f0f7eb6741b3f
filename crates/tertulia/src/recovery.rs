//! Beginning a conversation's group anew, when nobody can go on in the present one.

use crate::{Client, Conversation, Result, SyncReport};
use tertulia_api::{Code, conversation::GroupReset};
use tertulia_domain::ConversationId;

impl Client {
    /// Begins a conversation's MLS group anew: same conversation, same members, new keys for all. It is the last resort, for
    /// a device that is out of step heals by itself. In a group it takes an admin, in a 1:1 either may. The other devices
    /// join without being asked, and are [told](crate::ClientEvent::GroupReset).
    ///
    /// When another device asks at the same moment, one new group comes of it.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `action-denied`, `invalid-operation`, `no-conversation`, `not-connected`.
    pub async fn reset_group(&self, id: ConversationId) -> Result<Conversation> {
        let mut report = SyncReport::default();
        self.catch_up(&mut report).await?;
        let meant = self.group_of(id)?;
        loop {
            let at_hub = self.hub()?.conversation(id).await?;
            if *at_hub.group_id.as_ref() != *meant.as_bytes() {
                break; // another device was first, or the answer to this one was lost
            }
            let group = GroupReset { group_id: at_hub.group_id, epoch: at_hub.epoch };
            match self.hub()?.reset(id, &group).await {
                Err(error) if error.hub_code() == Some(Code::StaleEpoch) => {}
                answer => {
                    answer?;
                    break;
                }
            }
        }
        self.catch_up(&mut report).await?;
        self.ready(id).await?;
        self.catch_up(&mut report).await?;
        self.conversation(id).await
    }
}
