//! Beginning a conversation's group.

use super::{Attempt, Claimed, Retries, options};
use crate::{Client, Error, Result, team::role_among};
use std::collections::BTreeMap;
use tertulia_api::{
    conversation::Conversation,
    policy::{decode, encode},
};
use tertulia_domain::{
    ConversationId, ConversationName, Handshake, Role, UserId, access::AccessMode, policy::Policy,
};
use tertulia_mls::{EngineError, MlsConversationConfiguration, MlsWirePolicy};
use tertulia_store::Setting;

impl Client {
    /// Begins the conversation's group with its members, and with `more` users. Somebody else may be quicker, which serves as
    /// well.
    pub(crate) async fn begin(
        &self,
        conversation: &Conversation,
        more: &[UserId],
        name: Option<&ConversationName>,
    ) -> Result<()> {
        let id = conversation.conversation;
        let members: Vec<UserId> =
            self.founders(conversation)?.into_iter().chain(more.iter().copied()).collect();
        let announcement = name.map(|name| self.reminder(id, name)).transpose()?;
        let mut claimed = Claimed::default();
        let mut retries = Retries::new(id);
        loop {
            self.claim(id, &members, &mut claimed).await?;
            match self.begin_once(conversation, &claimed, announcement.clone()).await? {
                Attempt::Done => return Ok(()),
                Attempt::Again => {}
                Attempt::Afresh(misfit) => {
                    retries.misfit(misfit)?;
                    claimed = Claimed::default();
                }
            }
            retries.next(self).await?;
            if self.hub()?.conversation(id).await?.epoch > 0 {
                return Ok(());
            }
        }
    }

    /// Who is in a conversation whose group is to be begun. Of a group on MLS that was begun before, those of its policy who
    /// have not left since; of one that never was, nobody but its creator. The hub's word on who else there is counts only where
    /// there are no signed policies: while messages go pairwise, and where the id says who can be in it.
    fn founders(&self, conversation: &Conversation) -> Result<Vec<UserId>> {
        let at_hub = conversation.members.iter().map(|member| member.user);
        let id = conversation.conversation;
        if !conversation.kind.is_managed() || self.protocol(id)?.sends_pairwise() {
            return Ok(at_hub.collect());
        }
        let before = self.policy_of_before(id)?;
        Ok(match before.and_then(|before| decode(Some(&before)).ok()) {
            Some(before) => at_hub.filter(|user| before.has(*user)).collect(),
            None => vec![self.me().user],
        })
    }

    async fn begin_once(
        &self,
        conversation: &Conversation,
        claimed: &Claimed,
        announcement: Option<Vec<u8>>,
    ) -> Result<Attempt> {
        let id = conversation.conversation;
        let group = self.group_of(id)?;
        let kept = self.policy_to_keep(conversation)?;
        let mut tx = self.inner().session.new_transaction().await?;
        if !tx.conversation_exists(&group)? {
            let credential = self.own_credential(&tx)?;
            tx.new_conversation(&group, &credential, self.configuration(conversation)?)?;
        } else if tx.conversation(&group).await?.epoch()? > 0 {
            return Ok(Attempt::Done);
        }
        let mut guard = tx.conversation(&group).await?;
        let mut options = options(announcement);
        options.group_data = kept;
        let committed = if claimed.0.is_empty() {
            guard.update_key_material_with(options).await
        } else {
            let add = claimed.0.values().cloned().collect();
            guard.change_members(add, &[], options).await
        };
        match &committed {
            Ok(_) => {
                self.tie_to_parent(&mut tx, id).await?;
                tx.store_write(move |w| {
                    w.set_joined(id, true)?;
                    w.set_since_epoch(id, 1)
                })?;
            }
            // What was begun here is void, for the hub has another beginning, or none. Another process of this home may have
            // joined that one meanwhile.
            Err(EngineError::CommitRejected(_)) => {
                if tx.conversation_exists(&group)? && tx.conversation(&group).await?.epoch()? == 0 {
                    self.wipe(&mut tx, id)?;
                }
            }
            Err(_) => {}
        }
        self.outcome(id, tx, committed.map(|_| None)).await
    }

    /// The group data in which those who are members already, while messages go pairwise, keep the roles that they have, and
    /// which is open if the conversation is. A join link ends: the hub alone went by it until now.
    fn policy_to_keep(&self, conversation: &Conversation) -> Result<Option<Vec<u8>>> {
        // What this home knows to be on MLS is so, whatever the hub says.
        if !self.protocol(conversation.conversation)?.sends_pairwise() {
            return Ok(None);
        }
        // A group that is begun anew goes on with the policy that the members have signed, in its order and with its roles.
        if self.policy_of_before(conversation.conversation)?.is_some() {
            return Ok(None);
        }
        let me = self.me().user;
        let Ok(policy) = Policy::new(conversation.conversation, conversation.kind, me) else {
            return Ok(None);
        };
        let policy = policy
            .with_add_permission(conversation.settings.add_permission)
            .with_open(conversation.access.contains(&AccessMode::Link));
        let mut roles: BTreeMap<UserId, Role> = BTreeMap::new();
        for member in &conversation.members {
            roles.insert(member.user, role_among(&conversation.roles, &member.role)?);
        }
        let add = |policy: Policy, (user, role): (UserId, Role)| policy.with_members([user], &role);
        Ok(Some(encode(&roles.into_iter().fold(policy, add))))
    }

    /// The last policy of the group that this one takes the place of, if it takes any's.
    fn policy_of_before(&self, id: ConversationId) -> Result<Option<Vec<u8>>> {
        let row = self.inner().store.read(|r| r.conversation(id))?;
        Ok(row.filter(|row| row.generation > 0).and_then(|row| row.policy))
    }

    /// How the group of a conversation is set up. That of a group or channel begins with a policy in which its creator is alone.
    fn configuration(&self, conversation: &Conversation) -> Result<MlsConversationConfiguration> {
        let Conversation { conversation: id, kind, handshake, .. } = *conversation;
        let key = self.inner().store.read(|r| r.setting(Setting::HubKey))?.ok_or(Error::NotSignedIn)?;
        let key = hex::decode(key).map_err(|_| Error::NotSignedIn)?;
        let custom = self.inner().session.config().joined.clone();
        let handshake = match handshake {
            Handshake::Plaintext => MlsWirePolicy::Plaintext,
            Handshake::Ciphertext => MlsWirePolicy::Ciphertext,
        };
        let mut configuration = MlsConversationConfiguration { custom, handshake, ..Default::default() };
        configuration.set_raw_external_senders(vec![key])?;
        // A group that is begun anew has the policy of the one before, less who has left since.
        configuration.group_data = match self.policy_of_before(id)? {
            Some(before) => Some(before),
            None => Policy::new(id, kind, self.me().user).ok().map(|policy| encode(&policy)),
        };
        Ok(configuration)
    }
}
