//! The way of a conversation from pairwise messages to MLS, and how a 1:1 comes to be where that way begins.

use crate::{Client, Conversation, Error, Result, SyncReport, groups::Change};
use std::collections::BTreeSet;
use tertulia_api::Code;
use tertulia_domain::{ConversationId, ConversationType, Protocol, UserId, protocol::InvalidTransition};
use tertulia_transport::TransportError;

/// How many steps are made in one call. There are three; the rest are for others who do the same at the same time.
const STEPS: usize = 8;

impl Client {
    /// Has the messages of a 1:1 go from device to device, as those of a pairwise group do. Either of the two may say so before
    /// anything was sent in it; doing so again changes nothing. It can be [migrated](Self::migrate) later.
    ///
    /// # Errors
    ///
    /// [`Error::NotAOneToOne`], and what the hub refuses: `invalid-protocol-transition` once the 1:1 is on MLS with something
    /// in it, `not-connected`.
    pub async fn choose_pairwise(&self, id: ConversationId) -> Result<Conversation> {
        if self.is_private(id)? {
            return match self.protocol(id)? {
                Protocol::Pairwise => self.conversation(id).await,
                from => {
                    let refused = InvalidTransition { from, to: Protocol::Pairwise };
                    let code = Code::InvalidProtocolTransition.as_str().to_owned();
                    Err(Error::Refused { code, detail: refused.to_string() })
                }
            };
        }
        self.know_one_to_one(id).await?;
        match self.inner().store.read(|r| r.conversation(id))? {
            None => return Err(Error::UnknownTarget { target: id.to_string() }),
            Some(row) if row.record.kind.is_managed() => return Err(Error::NotAOneToOne),
            Some(_) => {}
        }
        self.hub()?.set_protocol(id, Protocol::Pairwise).await?;
        self.caught_up(id).await
    }

    /// Takes a pairwise conversation to MLS, with its messages. In a group only an admin may, in a 1:1 either of the two.
    ///
    /// Its protocol is `mixed` first: an MLS group is made with all devices of all members, while messages still go
    /// pairwise. Once all are in it, the protocol is `mls` for good. Each step can be interrupted; calling this again goes on where
    /// it stands. For a conversation that is on MLS already there is nothing to do.
    ///
    /// Without an account, two people who have met go on over MLS in the conversation that they have: its id, its name and its messages stay. It is `mixed` until the
    /// other's device has come in.
    ///
    /// # Errors
    ///
    /// [`Error::DevicesOutside`] when devices cannot be added now, and what the hub refuses: `action-denied`. Without an account [`Error::NotConnected`],
    /// [`Error::NoDevices`] when what the other has shown has expired, [`Error::NoOrder`].
    pub async fn migrate(&self, id: ConversationId) -> Result<Conversation> {
        self.check_migrates(id)?;
        if self.is_enveloped(id)? {
            return Box::pin(self.migrate_by_envelopes(id)).await;
        }
        self.go_to_mls(id).await?;
        self.conversation(id).await
    }

    /// Makes the steps to MLS that are left at the hub. A hub that was restored from a backup may be behind what this device has made
    /// of the conversation, or what others have; this device does not go back, so the hub is taken there once more.
    pub(crate) async fn go_to_mls(&self, id: ConversationId) -> Result<()> {
        for _ in 0..STEPS {
            self.catch_up(&mut SyncReport::default()).await?;
            match self.hub()?.conversation(id).await?.protocol {
                Protocol::Pairwise => match self.hub()?.set_protocol(id, Protocol::Mixed).await {
                    // Another admin was faster.
                    Err(error) if error.hub_code() == Some(Code::InvalidProtocolTransition) => {}
                    answer => answer?,
                },
                Protocol::Mixed => self.finalise(id).await?,
                _ if !self.protocol(id)?.sends_pairwise() => return Ok(()),
                // Said by an event that comes yet, or that a restored hub does not have: somebody had chosen pairwise messages since.
                at_hub => {
                    let mut tx = self.inner().session.new_transaction().await?;
                    tx.store_write(move |w| w.advance_protocol(id, at_hub).map(drop))?;
                    tx.finish().await?;
                }
            }
        }
        Err(Error::Contended { attempts: STEPS })
    }

    /// Catches up with a hub that has `refused` what was sent because of the conversation's protocol. If that does not tell of
    /// another one, the hub is not where this device is. If it takes an admin to bring it there, what was sent waits for one.
    pub(crate) async fn agree_on_protocol(&self, id: ConversationId, refused: Error) -> Result<()> {
        let known = self.protocol(id)?;
        self.catch_up(&mut SyncReport::default()).await?;
        if self.protocol(id)? != known {
            return Ok(());
        }
        let at_hub = self.hub()?.conversation(id).await?.protocol;
        if at_hub.sends_pairwise() == known.sends_pairwise() {
            return Ok(()); // it has come there meanwhile
        }
        tracing::warn!(conversation = %id.short(), %known, %at_hub, "the hub is at another protocol");
        match self.go_to_mls(id).await {
            Err(error) if error.hub_code() == Some(Code::ActionDenied) => Err(refused),
            gone => gone,
        }
    }

    fn check_migrates(&self, id: ConversationId) -> Result<()> {
        match self.inner().store.read(|r| r.conversation(id))? {
            Some(row) if row.record.kind == ConversationType::OneToOne && !row.distrusted => Ok(()),
            _ => self.check_group(id),
        }
    }

    /// Sees to it that the group has all devices, and ends the pairwise messages.
    async fn finalise(&self, id: ConversationId) -> Result<()> {
        self.ready(id).await?;
        let Some(outside) = self.end_pairwise(id).await? else { return Ok(()) };
        // Devices that came after the group was made and have not joined it by themselves yet.
        let users: BTreeSet<UserId> = outside.iter().copied().collect();
        let added = self.change(id, &Change { complete: Vec::from_iter(users), ..Change::default() }).await;
        match self.end_pairwise(id).await? {
            None => Ok(()),
            Some(outside) => {
                added?;
                Err(Error::DevicesOutside { count: outside.len() })
            }
        }
    }

    /// The last step. Gives the users of the devices that are outside the group, one by device, if there are any.
    async fn end_pairwise(&self, id: ConversationId) -> Result<Option<Vec<UserId>>> {
        match self.hub()?.set_protocol(id, Protocol::Mls).await {
            Err(TransportError::Refused(problem)) if problem.known_code() == Some(Code::DeviceMismatch) => {
                Ok(Some(problem.missing.iter().map(|device| device.user).collect()))
            }
            answer => Ok(answer.map(|()| None)?),
        }
    }
}
