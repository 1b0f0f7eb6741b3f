//! Joining a group as a further device.

use super::{Attempt, Retries};
use crate::{
    Client, Error, Result,
    client::now,
    coming_in::{Caution, Known, Offered},
    suspicion::{Suspicion, noticed},
};
use tertulia_api::Code;
use tertulia_domain::ConversationId;
use tertulia_mls::{EngineError, VerifiableGroupInfo};

/// How often within [`AN_HOUR`] a device joins a conversation's group anew by itself, because it could not follow the group. Each
/// time it commits, which a hub that damages every commit can make another device's reason for the next.
const ANEW: usize = 8;
/// In milliseconds.
const AN_HOUR: i64 = 60 * 60 * 1000;

impl Client {
    /// The conversations that have a group without this device, which it joins by itself. Of those that it could not follow too often
    /// lately it keeps out until somebody wants something of them ([`ready`](Self::ready)), or an hour has passed.
    pub(crate) fn to_join(&self) -> Result<Vec<ConversationId>> {
        let mut to_join = self.inner().store.read(|r| r.conversations_to_join())?;
        if !to_join.is_empty() {
            let lost = self.lately_lost()?;
            to_join.retain(|id| lost.iter().filter(|lost| *lost == id).count() <= ANEW);
        }
        Ok(to_join)
    }

    /// Whether this device is out of a conversation's group and joins it again only for somebody who wants something of it.
    pub(crate) fn keeps_out(&self, conversation: ConversationId) -> Result<bool> {
        let group = self.group_of(conversation)?;
        Ok(!self.inner().session.conversation_exists(&group)?
            && self.lately_lost()?.iter().filter(|lost| **lost == conversation).count() > ANEW)
    }

    /// The conversations that this device could not follow within the last hour, each as often as it was so.
    fn lately_lost(&self) -> Result<Vec<ConversationId>> {
        let now = now();
        let told = self.inner().store.read(|r| r.suspicions_after(0))?;
        let lost = told.into_iter().filter_map(noticed).filter(|noticed| {
            matches!(noticed.suspicion, Suspicion::UnfitCommit { .. } | Suspicion::Withheld)
                && (now - AN_HOUR..=now).contains(&noticed.at)
        });
        Ok(lost.map(|noticed| noticed.conversation).collect())
    }

    /// Joins the group as a further device, by external commit.
    pub(crate) async fn join_group(&self, conversation: ConversationId, caution: Caution) -> Result<()> {
        let mut retries = Retries::new(conversation);
        loop {
            let group_info = match self.hub()?.group_info(conversation).await {
                Err(error) if error.hub_code() == Some(Code::NoConversation) => {
                    return self.forget(conversation).await;
                }
                answer => answer?,
            };
            let group_info = VerifiableGroupInfo::from_bytes(&group_info)?;
            let group = self.group_of(conversation)?;
            if *group_info.conversation_id() != group {
                // Made for a group that has taken this one's place meanwhile, or by a hub that lies.
                retries.next(self).await?;
                continue;
            }
            self.check_epoch(conversation, group_info.epoch()).await?;
            let known = self.known(conversation)?;
            if caution == Caution::Compare {
                self.check_offer(conversation, &known, &group_info).await?;
            }
            let mut tx = self.inner().session.new_transaction().await?;
            let committed = if tx.conversation_exists(&group)? {
                Ok(None)
            } else {
                let credential = self.own_credential(&tx)?;
                let joined = tx.join_by_external_commit(group_info, &credential).await;
                if let Ok(joined) = &joined {
                    let epoch = joined.epoch;
                    if caution == Caution::Compare {
                        self.take_in(&mut tx, conversation, &known, Some(&joined.signed_by)).await?;
                    }
                    self.tie_to_parent(&mut tx, conversation).await?;
                    tx.store_write(move |w| {
                        w.set_joined(conversation, true)?;
                        w.set_since_epoch(conversation, epoch)
                    })?;
                }
                joined.map(|_| None)
            };
            if let Err(EngineError::AgainstTheRules(violation)) = &committed {
                // The rules are those of the group that the hub offers.
                let reason = violation.to_string();
                tx.abort();
                self.notice(conversation, Suspicion::ForbiddenGroup { reason }).await?;
                return Err(Error::UntrustworthyHub {
                    what: "the group that it offers is against its rules",
                });
            }
            match self.outcome(conversation, tx, committed).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => retries.misfit(misfit)?,
            }
            retries.next(self).await?;
        }
    }

    /// Refuses to join a group that is only begun with what the one before did not have. This device then keeps out.
    async fn check_offer(
        &self,
        conversation: ConversationId,
        known: &Known,
        group_info: &VerifiableGroupInfo,
    ) -> Result<()> {
        let generation = self.inner().store.read(|r| r.generation(conversation))?;
        let offered = Offered { generation, epoch: group_info.epoch(), policy: group_info.group_data() };
        let Some(reason) = known.forbids(&offered) else { return Ok(()) };
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.set_distrusted(conversation, true))?;
        tx.finish().await?;
        self.notice(conversation, Suspicion::ForbiddenGroup { reason }).await?;
        Err(Error::UntrustworthyHub { what: "the group that it offers is another than the one before" })
    }

    /// Refuses to join a state of the group that is known to be over.
    async fn check_epoch(&self, conversation: ConversationId, epoch: u64) -> Result<()> {
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        let known = row.map_or(0, |row| row.record.epoch);
        if epoch >= known {
            return Ok(());
        }
        self.notice(conversation, Suspicion::OldGroupInfo { epoch, known }).await?;
        Err(Error::UntrustworthyHub { what: "it offers an old state of the group" })
    }
}
