//! Coming into a group from outside: what this device finds there is compared with what it knew.
//!
//! Who follows a group checks each of its commits. Who comes in, by a Welcome or an external commit, takes the group as it is offered,
//! and the hub offers it. So a device that was in a conversation before compares the policy that it finds with the last one that
//! it verified. A group that is only begun must go on with that policy, or the device keeps out. Later on there may be commits that
//! this device has not seen: it goes on, and says which members and roles it did not see come about. It need not where somebody
//! has signed the group as it is who could have made it so, and whose device it knows by its key from another conversation:
//! a hub cannot make that up.

use crate::{Client, Result, Suspicion, link::group_id, suspicion::note};
use tertulia_api::policy::decode;
use tertulia_domain::{ConversationId, DeviceAddress, GroupId, UserId, policy::Unseen};
use tertulia_mls::{EngineError, Signer, TransactionContext};

/// Whether what a device finds in a group that it comes into is compared with what it knew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caution {
    /// It is.
    Compare,
    /// A person has said that the group is to be taken as the hub has it.
    Trust,
}

/// What this home knows of a conversation's group, whether or not it is in it now.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Of the last state that it has verified.
    pub(crate) policy: Option<Vec<u8>>,
    pub(crate) generation: u64,
    /// What it has reached, as far as the hub has said.
    pub(crate) epoch: u64,
}

/// A state of a group that is offered.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    pub(crate) policy: Option<Vec<u8>>,
}

/// What a device makes of a group that it has come into.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It keeps out, for this reason.
    Forbidden(String),
    /// It goes on, and tells this.
    Unseen(Vec<Suspicion>),
}

impl Known {
    /// Why this device keeps out of a group that is offered, if it does. Whoever begins one anew changes nobody's role by that, and
    /// brings nobody in.
    pub(crate) fn forbids(&self, offered: &Offered) -> Option<String> {
        let known = decode(Some(self.policy.as_deref()?)).ok()?;
        let Ok(found) = decode(offered.policy.as_deref()) else {
            return Some("it has no policy that can be read, as it had before".to_owned());
        };
        let is_begun_anew = offered.generation > 0 && offered.epoch == 1;
        (is_begun_anew && !found.continues(&known))
            .then(|| "it was begun anew with other members or roles than before".to_owned())
    }

    /// What is in it that this device has not seen come about.
    fn unseen(&self, offered: &Offered, vouched_by: Option<UserId>) -> Vec<Suspicion> {
        let [known, found] = [&self.policy, &offered.policy].map(|policy| decode(policy.as_deref()).ok());
        let (Some(known), Some(found)) = (known, found) else { return Vec::new() };
        // An old state is as it was signed, and is not how it is.
        let is_old = (offered.generation, offered.epoch) < (self.generation, self.epoch);
        let told = found.unseen_since(&known, vouched_by.filter(|_| !is_old));
        told.into_iter().map(suspicion).collect()
    }
}

impl Client {
    /// What this home knows of a conversation's group.
    pub(crate) fn known(&self, conversation: ConversationId) -> Result<Known> {
        let row = self.inner().store.read(|r| r.conversation(conversation))?;
        Ok(match row {
            Some(row) => Known { policy: row.policy, generation: row.generation, epoch: row.record.epoch },
            None => Known { policy: None, generation: 0, epoch: 0 },
        })
    }

    /// Compares a group that this device has come into in this transaction with what it knew.
    pub(crate) async fn compare(
        &self,
        tx: &mut TransactionContext,
        group: &tertulia_mls::ConversationId,
        known: &Known,
        signed_by: Option<&Signer>,
    ) -> Result<Finding> {
        let generation = GroupId::from_bytes(group.as_bytes()).map_or(0, |group| group.generation);
        let mut guard = tx.conversation(group).await?;
        let offered = Offered { generation, epoch: guard.epoch()?, policy: guard.group_data()? };
        if let Some(reason) = known.forbids(&offered) {
            return Ok(Finding::Forbidden(reason));
        }
        let vouched_by = match signed_by {
            Some(signer) => self.voucher(tx, signer).await?,
            None => None,
        };
        if vouched_by == Some(self.me().user) {
            return Ok(Finding::Unseen(Vec::new())); // a device of the same user has checked all of it
        }
        Ok(Finding::Unseen(known.unseen(&offered, vouched_by)))
    }

    /// Compares the same outside the application of events, and writes down what comes of it.
    pub(crate) async fn take_in(
        &self,
        tx: &mut TransactionContext,
        conversation: ConversationId,
        known: &Known,
        signed_by: Option<&Signer>,
    ) -> Result<()> {
        let group = self.group_of(conversation)?;
        match self.compare(tx, &group, known, signed_by).await? {
            Finding::Forbidden(reason) => {
                self.wipe(tx, conversation)?;
                Ok(tx.store_write(move |w| {
                    w.set_joined(conversation, false)?;
                    w.set_distrusted(conversation, true)?;
                    note(w, conversation, &Suspicion::ForbiddenGroup { reason })
                })?)
            }
            Finding::Unseen(told) => Ok(tx.store_write(move |w| {
                told.iter().try_for_each(|suspicion| {
                    tracing::warn!(conversation = %conversation.short(), %suspicion, "noticed");
                    note(w, conversation, suspicion)
                })
            })?),
        }
    }

    /// Whose device has signed a group, if this device knows it by the same key from the 1:1 of the two, or from the conversation of
    /// this user's devices.
    async fn voucher(&self, tx: &mut TransactionContext, signer: &Signer) -> Result<Option<UserId>> {
        let me = self.me();
        let Ok(address) = DeviceAddress::from_identity(signer.client_id.as_bytes()) else { return Ok(None) };
        if address.domain != me.domain {
            return Ok(None);
        }
        let met_in = if address.user == me.user {
            self.own_conversation()
        } else {
            ConversationId::one_to_one((&me.user, &me.domain), (&address.user, &me.domain)).id
        };
        let generation = self.inner().store.read(|r| r.generation(met_in))?;
        let group = group_id(met_in, generation);
        if !tx.conversation_exists(&group)? {
            return Ok(None);
        }
        let opened = tx.conversation(&group).await;
        match opened.and_then(|mut guard| guard.signature_key_of(&signer.client_id)) {
            Ok(key) => Ok(key.filter(|key| *key == signer.signature_key).map(|_| address.user)),
            Err(EngineError::Store(error)) => Err(error.into()),
            // One that cannot be read says nothing of anybody.
            Err(_) => Ok(None),
        }
    }
}

fn suspicion(unseen: Unseen) -> Suspicion {
    match unseen {
        Unseen::Member { user, role } => Suspicion::UnseenMember { user, role },
        Unseen::Access => Suspicion::UnseenAccess,
    }
}
