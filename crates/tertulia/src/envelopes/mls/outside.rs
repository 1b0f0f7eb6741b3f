//! Who has lost the thread of a group, and who goes: asking to be let in again, letting in, leaving.
//!
//! A device that may have missed commits cannot know whether it has. It asks a member who may add, through that member's inbox: an invitation to the
//! conversation, with a key package where others have a Welcome. The member's device takes the old leaf out and the new one in, by one commit, and answers
//! with a Welcome. Nobody's person is asked, for the member is a member all along.

use super::{OnMls, State, commits, epochs, invitations, is_as_group};
use crate::{
    Client, Error, Result, Suspicion,
    envelopes::{Work, intro::own_bundle, people},
    groups::Change,
};
use tertulia_api::policy::decode;
use tertulia_conversation::{
    inbox::{Bundle, Invitation, InvitesTo},
    types::GroupV1,
};
use tertulia_domain::{ConversationId, RoleName, UserId, role::Action};
use tertulia_mls::{ClientId, KeyPackage};
use tertulia_store::EnvelopedRecord;

/// How long this device waits for an answer before it asks again, in milliseconds: a day.
pub(super) const PATIENCE: i64 = 24 * 60 * 60 * 1000;
/// Most members who wait to be let in again.
const MOST_WAITING: usize = 100;

/// The carrier that orders does not keep any more what this device has not read.
pub(super) fn missed(work: &mut Work<'_>, id: ConversationId, carrier: &str) -> Result<()> {
    let record = work.conversation(id)?;
    let orders = work.client.carriers().ordering(&record).is_some_and(|ordering| ordering.id() == carrier);
    if !orders {
        return Ok(()); // what it does not have, the other has
    }
    let mut state = State::of(&record)?;
    let since = work.client.inner().store.read(|r| r.last_content(id))?.map(|(_, sent_at)| sent_at);
    epochs::suspect(work, id, Suspicion::Missed { since, until: work.now })?;
    lost(work, id, &mut state);
    state.write(work, id)
}

/// This device may have missed commits.
pub(super) fn lost(work: &mut Work<'_>, id: ConversationId, state: &mut State) {
    if !state.missed {
        tracing::warn!(conversation = %id.short(), "this device may have lost the thread of a group");
        state.missed = true;
        state.asked_at = None;
        let shown = work.client.inner().store.read(|r| r.shown_as(id));
        work.applied.changed.push(shown.unwrap_or(id));
    }
}

/// A member asks to be let in again.
pub(super) fn take_wish(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    invitation: &Invitation,
    key_package: &KeyPackage,
) -> Result<bool> {
    let id = record.conversation;
    let sender = &invitation.sender;
    let user = people::user_of(&sender.bundle);
    let address = people::address_of(&sender.bundle, sender.device)?;
    let row = work.client.inner().store.read(|r| r.conversation(id))?;
    let policy = row.filter(|row| row.active).and_then(|row| decode(row.policy.as_deref()).ok());
    let is_own = *key_package.client_id() == ClientId::from(address.to_identity());
    if !is_own || policy.is_none_or(|policy| !policy.has(user)) {
        return Ok(false);
    }
    let mut state = State::of(record)?;
    if !state.let_in.contains(&user) && state.let_in.len() < MOST_WAITING {
        state.let_in.push(user);
    }
    people::keep_bundle(work, user, &sender.bundle, sender.device)?;
    let now = work.now;
    state.write_due(work, id, Some(now))?;
    Ok(true)
}

impl Client {
    /// Asks to be let in again, if this device may have missed commits and it is time to ask.
    pub(super) async fn ask_to_come_back(&self, id: ConversationId, now: i64) -> Result<()> {
        let Some(record) = self.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        let mut state = State::of(&record)?;
        if !state.missed || state.asked_at.is_some_and(|at| at.saturating_add(PATIENCE) > now) {
            return Ok(());
        }
        let identity = self.identity()?;
        let mut work = Work::begin(self).await?;
        state.asked_at = Some(now);
        state.write(&mut work, id)?;
        let Some(host) = self.host_of(id, &state)? else {
            tracing::warn!(conversation = %id.short(), "nobody is known here who could let this device in again");
            return work.finish().await.map(drop);
        };
        let own = own_bundle(&mut work, &identity, 0)?;
        let key_package = own.content().devices.first().map(|device| device.key_package.clone());
        let invites_to = InvitesTo::Group {
            conversation_type: crate::envelopes::number(&record),
            creation_secret: record.creation_secret.clone(),
            welcome: key_package.ok_or(Error::OwnBundle)?,
        };
        match invitations::send(&mut work, id, (&host.0, host.1), &own, invites_to) {
            // It has expired just now, say. Tomorrow there may be another.
            Err(Error::Invitation(error)) => {
                tracing::warn!(conversation = %id.short(), %error, "this device cannot ask to be let in again");
            }
            sent => sent?,
        }
        work.finish().await.map(drop)
    }

    /// The bundle of a member who may let others in, and which device of it: who has let this device in, or another.
    fn host_of(&self, id: ConversationId, state: &State) -> Result<Option<(Bundle, usize)>> {
        let now = u64::try_from(crate::client::now() / 1000).unwrap_or_default();
        let Some(policy) = self.policy(id)? else { return Ok(None) };
        let may = |user: UserId| {
            user != self.me().user
                && policy
                    .role_of(user)
                    .is_some_and(|role| role.allows(Action::AddMember) && role.allows(Action::RemoveMember))
        };
        let others = policy.members().map(|(user, _)| user);
        for user in state.inviter.into_iter().chain(others).filter(|user| may(*user)) {
            let Some(kept) = self.inner().store.read(|r| r.bundle(user))? else { continue };
            if let Ok(bundle) = Bundle::decode(&kept.bundle)
                && !bundle.is_expired(now)
            {
                let device = usize::try_from(kept.device).unwrap_or(usize::MAX);
                return Ok(Some((bundle, device)));
            }
        }
        Ok(None)
    }

    /// Lets a member's device in again, in the place of its old leaf.
    pub(super) async fn let_back_in(&self, id: ConversationId, user: UserId) -> Result<()> {
        let change = Change { remove: vec![user], complete: vec![user], ..Change::default() };
        self.change(id, &change).await
    }

    /// Notes that nothing more is to be done for a member who has asked.
    pub(super) async fn is_back_in(&self, id: ConversationId, user: UserId) -> Result<()> {
        let mut work = Work::begin(self).await?;
        let Some(record) = self.inner().store.read(|r| r.enveloped(id))? else { return Ok(()) };
        let mut state = State::of(&record)?;
        state.let_in.retain(|waiting| *waiting != user);
        state.write(&mut work, id)?;
        work.finish().await.map(drop)
    }

    /// Leaves a group that no hub carries: this device proposes it, and the next who commits carries it out. What is said until then still comes.
    pub(crate) async fn leave_by_proposal(&self, id: ConversationId) -> Result<()> {
        let policy = self.policy(id)?.ok_or(Error::NotAGroup)?;
        let me = self.me().user;
        if policy.members().all(|(user, _)| user == me) {
            return self.forget_group(id).await;
        }
        let is_admin =
            |user: UserId| policy.role_of(user).is_some_and(|role| *role.name() == RoleName::ADMIN);
        if is_admin(me) && policy.admins() == 1 {
            let violation = tertulia_domain::policy::Violation::LastAdmin;
            return Err(Error::NotAllowed { violation });
        }
        self.ready(id).await?;
        let record = self.inner().store.read(|r| r.enveloped(id))?;
        let record = record.ok_or_else(|| Error::UnknownTarget { target: id.to_string() })?;
        match crate::envelopes::number(&record) {
            number if is_as_group(number) => self.propose_to_leave::<GroupV1>(id).await?,
            number => return Err(Error::UnknownType { number: number.number() }),
        }
        self.flush_envelopes(&mut crate::SyncReport::default()).await
    }

    async fn propose_to_leave<T: OnMls>(&self, id: ConversationId) -> Result<()> {
        let mut work = Work::begin(self).await?;
        let record = work.conversation(id)?;
        let mut state = State::of(&record)?;
        let group = self.group_of(id)?;
        let own = work.tx.conversation(&group).await?.own_client_id()?;
        let proposal = work.tx.new_remove_proposal(&group, own).await?;
        commits::post_handshake::<T>(&mut work, &record, proposal.proposal)?;
        state.leaving = true;
        state.write(&mut work, id)?;
        work.write(move |w| w.set_active(id, false))?;
        work.finish().await.map(drop)
    }

    /// Forgets a group in which nobody else is.
    pub(crate) async fn forget_group(&self, id: ConversationId) -> Result<()> {
        let mut work = Work::begin(self).await?;
        let group = self.group_of(id)?;
        work.tx.wipe_conversation(&group)?;
        work.forget_conversation(id)?;
        work.write(move |w| {
            w.set_joined(id, false)?;
            w.set_active(id, false)
        })?;
        work.finish().await.map(drop)
    }
}
