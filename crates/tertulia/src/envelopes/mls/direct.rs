//! `DirectV1`: two people who have met go on over MLS, in what they and their applications know as the same conversation.
//!
//! | | the conversation in which they met | the one on MLS |
//! |---|---|---|
//! | id, name, messages, receipts, block | here | |
//! | group, epochs, hints, topic | | here, and it says which conversation it [continues](tertulia_store::EnvelopedRecord::continues) |
//!
//! Who begins it goes on sending by the first until something of the other has come by the second: until then nobody knows whether the other could enter.
//! If both begin, or begin again, all agree which one counts: the one that says that it is the later try, and of two equal tries the one with the smaller id.

mod entering;
mod receiving;
mod state;
#[cfg(test)]
mod tests;

use super::{State, epochs};
use crate::{
    Client, Conversation, Error, ErrorKind, Result, SyncReport,
    envelopes::{Work, number},
    groups::{Change, Upkeep},
    sync::{may_talk, tolerate},
};
pub(super) use entering::take_invitation;
pub(super) use receiving::take;
pub(crate) use state::OfTwo;
use std::cmp::Reverse;
use tertulia_api::policy::encode;
use tertulia_conversation::{
    conversation_id,
    types::{ConversationType as _, DirectV1, PrivateV1},
};
use tertulia_domain::{
    ConversationId, ConversationType, Protocol, UserId,
    policy::{Pair, Policy},
};
use tertulia_mls::{MlsConversationConfiguration, MlsWirePolicy};
use tertulia_store::{ConversationRecord, EnvelopedRecord, StoreError};
use zeroize::Zeroizing;

/// For how long what is said in one that was given up is read, in milliseconds: 14 days, as relays keep it by default.
const READ_ON: i64 = 14 * 24 * 60 * 60 * 1000;

/// A conversation on MLS that continues another.
pub(super) struct Direct {
    pub(super) record: EnvelopedRecord,
    pub(super) state: State,
    pub(super) of_two: OfTwo,
}

impl Direct {
    pub(super) fn of(record: EnvelopedRecord) -> Result<Self> {
        let state = State::of(&record)?;
        let of_two = state.of_two.clone().ok_or(StoreError::Damaged { what: "the state of a 1:1" })?;
        Ok(Self { record, state, of_two })
    }

    /// Smaller is the one that counts.
    fn rank(&self) -> (Reverse<u32>, ConversationId) {
        (Reverse(self.of_two.times), self.record.conversation)
    }

    /// Whether this device sends in it.
    fn is_used(&self) -> bool {
        self.of_two.confirmed && !self.state.missed
    }
}

impl Client {
    /// What continues a conversation and was not given up, the one that counts first.
    pub(super) fn directs_of(&self, shown: ConversationId) -> Result<Vec<Direct>> {
        let records = self.inner().store.read(|r| r.continuing(shown))?;
        let mut directs = records.into_iter().map(Direct::of).collect::<Result<Vec<_>>>()?;
        directs.retain(|direct| direct.of_two.retired_at.is_none());
        directs.sort_by_key(Direct::rank);
        Ok(directs)
    }

    /// What a conversation's messages travel by now: itself, or what continues it. None if no envelopes carry it.
    pub(crate) fn carried_by(&self, id: ConversationId) -> Result<Option<EnvelopedRecord>> {
        match self.directs_of(id)?.into_iter().find(Direct::is_used) {
            Some(direct) => Ok(Some(direct.record)),
            None => Ok(self.inner().store.read(|r| r.enveloped(id))?),
        }
    }

    /// Whether a conversation has been or can be private, so that what is said in it has to fit that.
    pub(crate) fn is_private(&self, id: ConversationId) -> Result<bool> {
        let record = self.inner().store.read(|r| r.enveloped(id))?;
        Ok(record.is_some_and(|record| number(&record) == PrivateV1::DESCRIPTOR.id))
    }

    /// Has two people who have met go on over MLS. What was begun and interrupted is gone on with.
    pub(crate) async fn migrate_by_envelopes(&self, id: ConversationId) -> Result<Conversation> {
        if !self.is_private(id)? {
            return self.conversation(id).await;
        }
        let peer = self.connected_by(id)?;
        // The other may have begun.
        self.catch_up(&mut SyncReport::default()).await?;
        match self.directs_of(id)?.into_iter().find(|direct| !direct.state.missed) {
            Some(direct) => self.bring_in(&direct).await?,
            None => self.begin_direct(id, peer).await?,
        }
        self.flush_envelopes(&mut SyncReport::default()).await?;
        self.conversation(id).await
    }

    /// The person whose conversation this is, if the two are connected.
    fn connected_by(&self, id: ConversationId) -> Result<UserId> {
        let (mine, handle) = self.inner().store.read(|r| {
            let mine = r.connection_of(id)?;
            let handle = mine.map(|mine| r.handle(mine.user)).transpose()?.flatten();
            Ok::<_, StoreError>((mine, handle))
        })?;
        match (mine, handle) {
            (Some(mine), _) if may_talk(mine.status) => Ok(mine.user),
            (_, Some(handle)) => Err(Error::NotConnected { handle }),
            _ => Err(Error::UnknownTarget { target: id.to_string() }),
        }
    }

    /// Begins to go on over MLS, once more if there was one before.
    async fn begin_direct(&self, shown: ConversationId, peer: UserId) -> Result<()> {
        // Before anything is made.
        self.key_package_of(peer)?;
        let before = self.inner().store.read(|r| r.continuing(shown))?;
        let before = before.into_iter().map(Direct::of).collect::<Result<Vec<_>>>()?;
        let times = before.iter().map(|direct| direct.of_two.times).max().unwrap_or_default();
        let of_two = OfTwo::begun(peer, times.saturating_add(1));
        let creation_secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let id = conversation_id(DirectV1::DESCRIPTOR.id, &creation_secret);
        let pair = Pair { continues: shown, times: of_two.times };
        let state = State { of_two: Some(of_two), ..State::default() };
        let carriers = self.carriers().ids();
        let mut work = Work::begin(self).await?;
        let record = EnvelopedRecord {
            conversation: id,
            conversation_type: DirectV1::DESCRIPTOR.id.number(),
            creation_secret,
            listening: true,
            carriers: carriers.clone(),
            due_at: state.due_at(work.now),
            state: state.encode(),
            continues: Some(shown),
        };
        if self.carriers().ordering(&record).is_none() {
            return Err(Error::NoOrder);
        }
        let policy = Policy::of_two(id, pair, [self.me().user, peer])
            .map_err(|_| Error::OwnBundle)?
            .with_carriers(carriers);
        let (group, credential) = (self.group_of(id)?, self.own_credential(&work.tx)?);
        let configuration = MlsConversationConfiguration {
            group_data: Some(encode(&policy)),
            handshake: MlsWirePolicy::Ciphertext,
            custom: self.inner().session.config().joined.clone(),
            ..MlsConversationConfiguration::default()
        };
        work.tx.new_conversation(&group, &credential, configuration)?;
        put(&mut work, &record, 0)?;
        epochs::enter(&mut work, &record).await?;
        work.finish().await?;
        self.listen_anew();
        self.bring_in(&Direct::of(record)?).await
    }

    /// Adds the other by a commit, if that was not done.
    async fn bring_in(&self, direct: &Direct) -> Result<()> {
        if direct.of_two.invited {
            return Ok(());
        }
        let id = direct.record.conversation;
        match self.change(id, &Change { add: vec![direct.of_two.peer], ..Change::default() }).await {
            Err(refused) if refused.kind() != ErrorKind::Transient => {
                // Nobody else is in it, and the two talk on as before.
                self.forget_direct(id).await?;
                Err(refused)
            }
            brought => brought,
        }
    }

    async fn forget_direct(&self, id: ConversationId) -> Result<()> {
        let mut work = Work::begin(self).await?;
        forget(&mut work, id)?;
        work.finish().await.map(drop)
    }
}

/// Writes down a conversation that continues another, whose group this device is in.
pub(super) fn put(work: &mut Work<'_>, record: &EnvelopedRecord, epoch: u64) -> Result<()> {
    let (record, id) = (record.clone(), record.conversation);
    let conversation = ConversationRecord {
        id,
        kind: ConversationType::OneToOne,
        epoch,
        protocol: Protocol::Mls,
        created_at: work.now,
    };
    work.write(move |w| {
        w.put_conversation(&conversation)?;
        w.put_enveloped(&record)?;
        w.set_since_epoch(id, epoch)?;
        w.set_joined(id, true)
    })
}

/// Forgets what continues a conversation, with its group. What was said in it is shown by the other, and stays.
fn forget(work: &mut Work<'_>, id: ConversationId) -> Result<()> {
    let group = work.client.group_of(id)?;
    work.tx.wipe_conversation(&group)?;
    work.forget_conversation(id)?;
    work.write(move |w| w.remove_or_end(id))
}

/// Forgets all that continues a conversation which is over.
pub(crate) fn forget_all(work: &mut Work<'_>, shown: ConversationId) -> Result<()> {
    for record in work.client.inner().store.read(|r| r.continuing(shown))? {
        forget(work, record.conversation)?;
    }
    Ok(())
}

/// Gives up what is not used any more: what the other may have said in is read for a while.
pub(super) fn give_up(work: &mut Work<'_>, mut direct: Direct) -> Result<()> {
    let id = direct.record.conversation;
    if !direct.of_two.confirmed {
        return forget(work, id);
    }
    direct.of_two.retired_at = Some(work.now);
    direct.state.of_two = Some(direct.of_two);
    direct.state.write(work, id)
}

/// Does what was to be done by now for one that continues another.
pub(super) async fn do_what_is_due(client: &Client, direct: &Direct, now: i64) -> Result<()> {
    let Direct { record, state, of_two } = direct;
    let id = record.conversation;
    if of_two.retired_at.is_some_and(|at| at.saturating_add(READ_ON) <= now) {
        return client.forget_direct(id).await;
    }
    if state.commit_at.is_some_and(|at| at <= now) {
        tolerate(client.upkeep(id, Upkeep::Proposals).await)?;
        client.proposals_seen_to(id).await?;
    }
    if of_two.retired_at.is_some() {
        return Ok(());
    }
    client.bring_in(direct).await?;
    let Some(shown) = record.continues else { return Ok(()) };
    let has_asked = state.asked_at.is_some_and(|at| at.saturating_add(super::outside::PATIENCE) > now);
    if !state.missed || has_asked {
        return Ok(());
    }
    let mut work = Work::begin(client).await?;
    let mut state = State::of(&work.conversation(id)?)?;
    state.asked_at = Some(now);
    state.write(&mut work, id)?;
    work.finish().await?;
    // Neither of the two takes the other's device out and in again: they begin anew, and talk on by the first conversation meanwhile.
    match client.directs_of(shown)?.first() {
        Some(first) if first.record.conversation != id => Ok(()),
        _ => client.begin_direct(shown, of_two.peer).await,
    }
}
