//! Making a group that no hub carries.

use super::{State, epochs};
use crate::{
    Client, Conversation, Error, ErrorKind, GroupOptions, Result, envelopes::Work, groups::Change,
    own_types::own_type_of,
};
use tertulia_api::policy::encode;
use tertulia_conversation::{conversation_id, types::TypeId};
use tertulia_domain::{ConversationId, ConversationName, ConversationType, Protocol, UserId, policy::Policy};
use tertulia_mls::{MlsConversationConfiguration, MlsWirePolicy};
use tertulia_store::{ConversationRecord, EnvelopedRecord, StoreError};
use zeroize::Zeroizing;

impl Client {
    /// Makes a conversation of this type on MLS, of this name and with these members, by the carriers of this home.
    pub(crate) async fn create_group_by_envelopes(
        &self,
        name: ConversationName,
        members: Vec<UserId>,
        options: GroupOptions,
        of: TypeId,
    ) -> Result<Conversation> {
        let GroupOptions { protocol, team, parent, .. } = options;
        if team || parent.is_some() || protocol != Protocol::Mls {
            return Err(Error::NoAccount);
        }
        check_count(members.len() + 1, self.most_members(of))?;
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let id = conversation_id(of, &secret);
        self.begin_group((id, of), secret, &name).await?;
        if !members.is_empty() {
            let change = Change { add: members, ..Change::default() };
            if let Err(refused) = self.change(id, &change).await {
                if refused.kind() != ErrorKind::Transient {
                    // Nobody else is in it; what could not be made is not left lying about.
                    self.forget_group(id).await?;
                }
                return Err(refused);
            }
        }
        self.conversation(id).await
    }

    /// Refuses to make a conversation larger than its type allows. Of those that a hub carries, the hub sees to it where the type is its own.
    pub(crate) fn check_size(&self, id: ConversationId, more: &[UserId]) -> Result<()> {
        let (record, own) =
            self.inner().store.read(|r| Ok::<_, StoreError>((r.enveloped(id)?, r.own_type(id)?)))?;
        let of = match (&record, &own) {
            (Some(record), _) => TypeId::new(record.conversation_type),
            (None, Some(own)) => TypeId::new(own.conversation_type),
            (None, None) => return Ok(()),
        };
        let policy = self.policy(id)?;
        let members = policy.as_ref().map_or(1, |policy| policy.members().len());
        let me = self.me().user;
        let is_new =
            |user: &&UserId| **user != me && policy.as_ref().is_none_or(|policy| !policy.has(**user));
        check_count(members + more.iter().filter(is_new).count(), self.most_members(of))
    }

    async fn begin_group(
        &self,
        (id, of): (ConversationId, TypeId),
        creation_secret: Zeroizing<[u8; 32]>,
        name: &ConversationName,
    ) -> Result<()> {
        let carriers = self.carriers().ids();
        let record = EnvelopedRecord {
            conversation: id,
            conversation_type: of.number(),
            creation_secret,
            listening: true,
            carriers: carriers.clone(),
            state: State::default().encode(),
            due_at: None,
            continues: None,
        };
        if self.carriers().ordering(&record).is_none() {
            return Err(Error::NoOrder);
        }
        let policy = Policy::new(id, ConversationType::Group, self.me().user)
            .map_err(|_| StoreError::Damaged { what: "the type of a group" })?
            .with_carriers(carriers);
        let mut work = Work::begin(self).await?;
        let (group, credential) = (self.group_of(id)?, self.own_credential(&work.tx)?);
        let configuration = MlsConversationConfiguration {
            group_data: Some(encode(&policy)),
            handshake: MlsWirePolicy::Ciphertext,
            custom: self.inner().session.config().joined.clone(),
            ..MlsConversationConfiguration::default()
        };
        work.tx.new_conversation(&group, &credential, configuration)?;
        let conversation = ConversationRecord {
            id,
            kind: ConversationType::Group,
            epoch: 0,
            protocol: Protocol::Mls,
            created_at: work.now,
        };
        let (kept, name, me) = (record.clone(), name.clone(), self.me().user);
        let own_type = own_type_of(&record);
        work.write(move |w| {
            w.put_conversation(&conversation)?;
            w.put_enveloped(&kept)?;
            own_type.iter().try_for_each(|own| w.put_own_type(own))?;
            w.set_creator(id, Some(me))?;
            w.set_joined(id, true)?;
            w.set_name(id, name.as_str(), true)
        })?;
        epochs::enter(&mut work, &record).await?;
        work.finish().await?;
        self.listen_anew();
        Ok(())
    }
}

fn check_count(count: usize, max: usize) -> Result<()> {
    if count > max { Err(Error::TooManyMembers { count, max }) } else { Ok(()) }
}
