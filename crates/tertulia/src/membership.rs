//! Making groups and changing who is in them.

use crate::{
    Client, Conversation, Error, ErrorKind, Result, SyncReport,
    groups::{Change, PolicyChange},
    team::role_among,
};
use tertulia_api::{Code, conversation::NewConversation, policy::decode, setting::Setting, team::NewChannel};
use tertulia_conversation::{
    hub_conversation_id,
    types::{ConversationType as _, GroupV1, TypeId},
};
use tertulia_domain::{
    ConversationId, ConversationName, ConversationType, Handle, Handshake, Protocol, Role, RoleName, UserId,
    access::AccessMode,
    policy::{AddPermission, Policy, Violation},
    role::Action,
};
use tertulia_store::{OutboxKind, OwnTypeRecord};
use zeroize::Zeroizing;

/// How a group or channel is made. What is not said is as by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupOptions {
    /// How its messages are encrypted: [`Protocol::Mls`] unless said otherwise, or [`Protocol::Pairwise`].
    pub protocol: Protocol,
    /// Whether its commits are encrypted, for good: [`Handshake::Plaintext`] unless said otherwise. With
    /// [`Handshake::Ciphertext`] the hub sees less of what members do, and can check less of it: it takes the word of whoever
    /// commits for what the group is like afterwards. The members' devices check the same in both.
    pub handshake: Handshake,
    /// Whether it is one of the user's team: who leaves the team leaves it. A channel always is.
    pub team: bool,
    /// The conversation that it is made under, which the user is in. It shows to the members; otherwise the two have nothing to do
    /// with each other, and the end of one changes nothing in the other. A channel is made under none.
    pub parent: Option<ConversationId>,
}

impl Client {
    /// Makes a group with this name and these members. Each must be connected with the user.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], and what the hub refuses: `unknown-user`, `not-connected`.
    pub async fn create_group(&self, name: &str, members: &[Handle]) -> Result<Conversation> {
        self.create_group_with(name, members, Protocol::Mls).await
    }

    /// Makes a group whose messages are encrypted so: [`Protocol::Mls`], or [`Protocol::Pairwise`], which can be
    /// [migrated](Self::migrate) later.
    ///
    /// # Errors
    ///
    /// As [`create_group`](Self::create_group), and `bad-request` for [`Protocol::Mixed`], which is a step on the way only.
    pub async fn create_group_with(
        &self,
        name: &str,
        members: &[Handle],
        protocol: Protocol,
    ) -> Result<Conversation> {
        self.create_group_as(name, members, GroupOptions { protocol, ..GroupOptions::default() }).await
    }

    /// Makes a group of the user's team: who leaves the team leaves it. Its members need not be in the team.
    ///
    /// # Errors
    ///
    /// As [`create_group_with`](Self::create_group_with), and `no-team`.
    pub async fn create_team_group(
        &self,
        name: &str,
        members: &[Handle],
        protocol: Protocol,
    ) -> Result<Conversation> {
        self.create_group_as(name, members, GroupOptions { protocol, team: true, ..GroupOptions::default() })
            .await
    }

    /// Makes a group as these options say.
    ///
    /// # Errors
    ///
    /// As [`create_group_with`](Self::create_group_with), and `no-team` for one of the user's team.
    pub async fn create_group_as(
        &self,
        name: &str,
        members: &[Handle],
        options: GroupOptions,
    ) -> Result<Conversation> {
        self.create_managed(name, members, options, (ConversationType::Group, None)).await
    }

    /// Makes a group or channel, or a conversation of this type of the application's own, which is a group to the hub.
    pub(crate) async fn create_managed(
        &self,
        name: &str,
        members: &[Handle],
        options: GroupOptions,
        (kind, own): (ConversationType, Option<TypeId>),
    ) -> Result<Conversation> {
        let name: ConversationName = name.parse()?;
        // All that can be refused is asked first, so that no empty group is left behind.
        let members = self.users(members).await?;
        if !members.is_empty() {
            self.check_connected(&members)?;
        }
        if self.inner().hub.is_none() {
            return match kind {
                ConversationType::Group => {
                    let of = own.unwrap_or(GroupV1::DESCRIPTOR.id);
                    Box::pin(self.create_group_by_envelopes(name, members, options, of)).await
                }
                _ => Err(Error::NoAccount),
            };
        }
        let secret = Zeroizing::new(rand::random::<[u8; 32]>());
        let id = own.map_or_else(ConversationId::random, |own| hub_conversation_id(own, &secret));
        let own = own.map(|own| OwnTypeRecord {
            conversation: id,
            conversation_type: own.number(),
            creation_secret: secret,
        });
        let made = self.create_at_hub(id, &name, options, kind).await?;
        self.check_made(&made, id, options, kind)?;
        let mut tx = self.inner().session.new_transaction().await?;
        let (fetched, known) = (made.clone(), name.clone());
        tx.store_write(move |w| {
            crate::apply::put_conversation(w, &fetched)?;
            w.set_name(id, known.as_str(), true)?;
            own.iter().try_for_each(|own| w.put_own_type(own))
        })?;
        tx.finish().await?;
        let announced = Some(&name).filter(|_| !made.kind.has_public_name());
        let begun = match options.protocol {
            Protocol::Pairwise => self.begin_pairwise(id, members, announced).await,
            _ => self.begin(&made, &members, announced).await,
        };
        if let Err(refused) = begun {
            if refused.kind() != ErrorKind::Transient {
                // Nobody else is in it; what could not be made is not left lying about.
                self.leave(id, None).await?;
            }
            return Err(refused);
        }
        self.caught_up(id).await
    }

    /// Whether the hub has made what it was asked for, before anything is signed that follows from its answer.
    fn check_made(
        &self,
        made: &tertulia_api::conversation::Conversation,
        id: ConversationId,
        GroupOptions { protocol, handshake, parent, .. }: GroupOptions,
        kind: ConversationType,
    ) -> Result<()> {
        let is_alone = made.members.iter().map(|member| member.user).eq([self.me().user]);
        let is_closed = !made.access.contains(&AccessMode::Link);
        if (made.conversation, made.kind, made.protocol) == (id, kind, protocol)
            && (made.handshake, made.parent, made.epoch) == (handshake, parent, 0)
            && is_alone
            && is_closed
        {
            Ok(())
        } else {
            Err(Error::UntrustworthyHub { what: "it made another conversation than it was asked for" })
        }
    }

    async fn create_at_hub(
        &self,
        id: ConversationId,
        name: &ConversationName,
        options: GroupOptions,
        kind: ConversationType,
    ) -> Result<tertulia_api::conversation::Conversation> {
        let hub = self.hub()?;
        let GroupOptions { protocol, handshake, team, parent } = options;
        if kind != ConversationType::Channel {
            let new = NewConversation { conversation: id, protocol, handshake, team, parent };
            return Ok(hub.create_conversation(&new).await?);
        }
        let team = hub.team().await?.team;
        let new = NewChannel { conversation: id, name: name.to_string(), protocol, handshake };
        Ok(hub.create_channel(team, &new).await?)
    }

    /// Adds the first members of a pairwise group, and tells them its name if it is they who keep it.
    async fn begin_pairwise(
        &self,
        id: ConversationId,
        members: Vec<UserId>,
        name: Option<&ConversationName>,
    ) -> Result<()> {
        if !members.is_empty() {
            self.hub()?.add_members(id, members, None).await?;
        }
        let Some(name) = name else { return Ok(()) };
        let content = self.announcement(id, name)?;
        match self.send_content(id, OutboxKind::Name, content).await {
            // It is safe in the outbox, and the next synchronisation tells it.
            Ok(_) | Err(Error::Queued { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Adds users to a group, with the role `member`.
    ///
    /// # Errors
    ///
    /// [`Error::NobodyNamed`], and what the hub refuses: `unknown-user`, `not-connected`, `action-denied`, `invalid-operation`.
    pub async fn add_members(&self, id: ConversationId, members: &[Handle]) -> Result<Conversation> {
        self.add_members_as(id, members, RoleName::MEMBER.as_str()).await
    }

    /// Adds users to a group with a role: `admin`, `member`, or one that the team defines for its conversations, none of which allows
    /// more than this user's own. Who is a member already keeps theirs.
    ///
    /// # Errors
    ///
    /// As [`add_members`](Self::add_members), and [`Error::UnknownRole`], and [`Error::NotAllowed`] with `role-elevation`.
    pub async fn add_members_as(
        &self,
        id: ConversationId,
        members: &[Handle],
        role: &str,
    ) -> Result<Conversation> {
        self.check_group(id)?;
        let protocol = self.protocol(id)?;
        if protocol == Protocol::Pairwise {
            let name = self.role_name(id, role, Action::AddMember).await?;
            let add = self.named(members).await?;
            let role = Some(name.as_str()).filter(|_| name != RoleName::MEMBER);
            self.hub()?.add_members(id, add, role).await?;
        } else {
            let role = self.role_to_give(id, role, Action::AddMember).await?;
            let add = self.named(members).await?;
            let policy = Some(role).filter(|role| *role != Role::MEMBER).map(PolicyChange::Arrivals);
            self.change(id, &Change { add, policy, ..Change::default() }).await?;
        }
        if protocol.sends_pairwise() {
            // Who comes does not know the name; with MLS the commit brings it.
            self.queue_announcement(id).await?;
            self.flush_outbox(&mut SyncReport::default()).await?;
        }
        self.caught_up(id).await
    }

    /// Removes users from a group. They can read nothing that is sent afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::NobodyNamed`], [`Error::NoSuchMember`], and what the hub refuses: `action-denied`, `invalid-operation`.
    pub async fn remove_members(&self, id: ConversationId, members: &[Handle]) -> Result<Conversation> {
        self.check_group(id)?;
        if members.contains(&self.me().handle) {
            return Err(Error::LeaveInstead);
        }
        // Who is in it is looked at here, and others may have added them meanwhile.
        self.catch_up(&mut SyncReport::default()).await?;
        let present = self.inner().store.read(|r| r.members(id))?;
        for handle in members {
            let user = self.user(handle).await?;
            if !present.iter().any(|member| member.user == user) {
                return Err(Error::NoSuchMember { handle: handle.clone() });
            }
        }
        let remove = self.named(members).await?;
        if self.protocol(id)? == Protocol::Pairwise {
            for user in remove {
                self.hub()?.remove_member(id, user).await?;
            }
        } else {
            self.change(id, &Change { remove, ..Change::default() }).await?;
        }
        self.caught_up(id).await
    }

    /// Leaves a group, on all devices of the user. The last admin names a successor, who becomes admin by that; where another admin
    /// remains, nobody has to follow, and nobody does.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `last-admin`, `no-conversation`, `invalid-operation`.
    pub async fn leave(&self, id: ConversationId, successor: Option<&Handle>) -> Result<()> {
        self.check_group(id)?;
        let (by_request, was_in) = (self.protocol(id)? == Protocol::Pairwise, self.is_known(id)?);
        if self.is_enveloped(id)? {
            if let Some(successor) = successor {
                self.follow_last_admin(id, successor).await?;
            }
            return self.leave_by_proposal(id).await;
        }
        let successor = match successor {
            Some(successor) if by_request => Some(self.user(successor).await?),
            Some(successor) => {
                // By a commit, so that the others see that it is this user's will.
                self.follow_last_admin(id, successor).await?;
                None
            }
            None => None,
        };
        match self.hub()?.leave(id, successor).await {
            // The answer of an earlier try was lost.
            Err(error) if error.hub_code() == Some(Code::NoConversation) && was_in => {}
            answer => answer?,
        }
        self.forget(id).await?;
        self.catch_up(&mut SyncReport::default()).await?;
        Ok(())
    }

    /// Makes the successor admin of a group that would have none without this user.
    async fn follow_last_admin(&self, id: ConversationId, successor: &Handle) -> Result<()> {
        // Who is admin is looked at here, and others may have changed it meanwhile.
        self.catch_up_with(id).await?;
        if !self.is_known(id)? {
            // Left already, be it that the answer of an earlier try was lost.
            return Ok(());
        }
        self.ready(id).await?;
        let me = self.me().user;
        let is_other_admin = |(user, role): (UserId, &RoleName)| user != me && *role == RoleName::ADMIN;
        if self.policy(id)?.is_some_and(|policy| policy.members().any(is_other_admin)) {
            return Ok(());
        }
        self.set_role(id, successor, RoleName::ADMIN.as_str()).await.map(drop)
    }

    /// Deletes a group or channel for all its members, which takes the action `delete`. What was received stays readable, here and
    /// with the others, as after leaving.
    ///
    /// # Errors
    ///
    /// [`Error::NotAGroup`], and what the hub refuses: `action-denied`, `no-conversation`.
    pub async fn delete_group(&self, id: ConversationId) -> Result<()> {
        self.check_group(id)?;
        match self.hub()?.delete_conversation(id).await {
            // The answer of an earlier try was lost.
            Err(error) if error.hub_code() == Some(Code::NoConversation) && self.is_known(id)? => {}
            answer => answer?,
        }
        self.forget(id).await?;
        self.catch_up(&mut SyncReport::default()).await
    }

    /// Gives a group another name, which only its members can read; or a channel, whose name the hub and the team see.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidName`], and what the hub refuses: `action-denied`, `invalid-operation`.
    pub async fn rename(&self, id: ConversationId, name: &str) -> Result<Conversation> {
        self.check_group(id)?;
        let name: ConversationName = name.parse()?;
        let row = self.inner().store.read(|r| r.conversation(id))?;
        if row.is_some_and(|row| row.record.kind.has_public_name()) {
            self.hub()?.rename_channel(id, name.as_str()).await?;
        } else {
            let content = self.announcement(id, &name)?;
            self.send_content(id, OutboxKind::Name, content).await?;
        }
        self.caught_up(id).await
    }

    /// Gives a member another role: `admin`, `member`, or one that the team defines for its conversations.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownRole`], [`Error::NoSuchMember`], and [`Error::NotAllowed`] with `action-denied`, `role-elevation` or
    /// `last-admin`.
    pub async fn set_role(&self, id: ConversationId, member: &Handle, role: &str) -> Result<Conversation> {
        self.set_role_naming(id, member, role, None).await
    }

    /// The same, where it may take the role from the last admin: the successor then becomes one. Both are done at once, or neither.
    ///
    /// # Errors
    ///
    /// As [`set_role`](Self::set_role).
    pub async fn set_role_naming(
        &self,
        id: ConversationId,
        member: &Handle,
        role: &str,
        successor: Option<&Handle>,
    ) -> Result<Conversation> {
        self.check_group(id)?;
        let user = self.user(member).await?;
        let follows = match successor {
            Some(successor) => Some((self.user(successor).await?, successor)),
            None => None,
        };
        if self.protocol(id)? == Protocol::Pairwise {
            let name = self.role_name(id, role, Action::ModifyOtherMember).await?;
            let successor = follows.map(|(user, _)| user);
            self.hub()?.set_role(id, user, name.as_str(), successor).await?;
            return self.caught_up(id).await;
        }
        self.ready(id).await?;
        let role = self.role_to_give(id, role, Action::ModifyOtherMember).await?;
        let Some(policy) = self.policy(id)?.filter(|policy| policy.has(user)) else {
            return Err(Error::NoSuchMember { handle: member.clone() });
        };
        let demoted = policy.clone().with_role(user, &role);
        let mut roles = Vec::new();
        // Where another admin remains, nobody has to follow.
        if !demoted.members().any(|(_, role)| *role == RoleName::ADMIN) {
            match follows.filter(|(successor, _)| *successor != user) {
                Some((successor, handle)) if !policy.has(successor) => {
                    return Err(Error::NoSuchMember { handle: handle.clone() });
                }
                Some((successor, _)) => roles.push((successor, Role::ADMIN)),
                // Left to the rule of who follows, the change would come to nothing.
                None => return Err(Error::NotAllowed { violation: self.demotion(&policy, user, &role) }),
            }
        }
        roles.push((user, role));
        let policy = Some(PolicyChange::Roles(roles));
        self.change(id, &Change { policy, ..Change::default() }).await?;
        self.caught_up(id).await
    }

    /// The role of this name, which this user wishes to give by the action.
    async fn role_to_give(&self, id: ConversationId, role: &str, action: Action) -> Result<Role> {
        let name = self.role_name(id, role, action).await?;
        match self.role(id, &name).await {
            Err(unknown @ Error::UnknownRole { .. }) => Err(self.refusal(id, action, unknown).await?),
            found => found,
        }
    }

    /// The name of a role that is written so, which this user wishes to give by the action.
    async fn role_name(&self, id: ConversationId, role: &str, action: Action) -> Result<RoleName> {
        if let Ok(name) = role.parse() {
            return Ok(name);
        }
        let unknown = Error::UnknownRole { role: role.to_owned() };
        Err(self.refusal(id, action, unknown).await?)
    }

    /// Why a role is not given that is not known. Who may give none is told that, whatever role they name: the members' own actions
    /// are looked at first, and who gives no roles is not shown those of the team.
    async fn refusal(&self, id: ConversationId, action: Action, unknown: Error) -> Result<Error> {
        let me = self.me().user;
        let own = if let Some(policy) = self.policy(id)? {
            policy.role_of(me)
        } else {
            let at_hub = self.hub()?.conversation(id).await?;
            let own = at_hub.members.iter().find(|member| member.user == me);
            own.map(|member| role_among(&at_hub.roles, &member.role)).transpose()?
        };
        if own.is_some_and(|own| own.allows(action)) {
            return Ok(unknown);
        }
        Ok(Error::NotAllowed { violation: Violation::ActionDenied { user: me, action } })
    }

    /// Why this user does not take the role of the last admin.
    fn demotion(&self, policy: &Policy, user: UserId, role: &Role) -> Violation {
        let (me, action) = (self.me().user, Action::ModifyOtherMember);
        if !policy.role_of(me).is_some_and(|own| own.allows(action)) {
            Violation::ActionDenied { user: me, action }
        } else if user == me {
            Violation::RoleElevation { user, granted: role.name().clone() }
        } else {
            Violation::LastAdmin
        }
    }

    /// Says who may add members to a group: those whose role allows it, or everybody.
    ///
    /// # Errors
    ///
    /// [`Error::NotAllowed`], [`Error::NotAGroup`].
    pub async fn set_add_permission(
        &self,
        id: ConversationId,
        permission: AddPermission,
    ) -> Result<Conversation> {
        self.check_group(id)?;
        if self.protocol(id)? == Protocol::Pairwise {
            return self.set(id, Setting::AddPermission(permission)).await;
        }
        let policy = Some(PolicyChange::AddPermission(permission));
        self.change(id, &Change { policy, ..Change::default() }).await?;
        self.caught_up(id).await
    }

    /// The policy of a group as this device has it.
    pub(crate) fn policy(&self, id: ConversationId) -> Result<Option<Policy>> {
        let row = self.inner().store.read(|r| r.conversation(id))?;
        Ok(row.and_then(|row| decode(row.policy.as_deref()).ok()))
    }

    /// What the hub would refuse, said before anything is prepared.
    pub(crate) fn check_group(&self, id: ConversationId) -> Result<()> {
        match self.inner().store.read(|r| r.conversation(id))? {
            None => Err(Error::UnknownTarget { target: id.to_string() }),
            Some(row) if row.distrusted => Err(Error::Distrusted { conversation: id }),
            Some(row) if row.record.kind.is_managed() => Ok(()),
            Some(_) => Err(Error::NotAGroup),
        }
    }

    fn is_known(&self, id: ConversationId) -> Result<bool> {
        Ok(self.inner().store.read(|r| r.conversation(id))?.is_some_and(|row| row.active))
    }

    pub(crate) async fn caught_up(&self, id: ConversationId) -> Result<Conversation> {
        self.catch_up(&mut SyncReport::default()).await?;
        self.conversation(id).await
    }

    /// What the hub would refuse, said before anything is made.
    fn check_connected(&self, users: &[UserId]) -> Result<()> {
        for user in users {
            let connection = self.inner().store.read(|r| r.connection(*user))?;
            if connection.is_none_or(|connection| !crate::sync::may_talk(connection.status))
                && let Some(handle) = self.inner().store.read(|r| r.handle(*user))?
            {
                return Err(Error::NotConnected { handle });
            }
        }
        Ok(())
    }

    async fn named(&self, handles: &[Handle]) -> Result<Vec<UserId>> {
        let users = self.users(handles).await?;
        if users.is_empty() { Err(Error::NobodyNamed) } else { Ok(users) }
    }

    async fn users(&self, handles: &[Handle]) -> Result<Vec<UserId>> {
        let mut users = Vec::with_capacity(handles.len());
        for handle in handles {
            let user = self.user(handle).await?;
            if user != self.me().user && !users.contains(&user) {
                users.push(user);
            }
        }
        Ok(users)
    }

    /// The user with this handle: known here, or asked of the hub.
    pub(crate) async fn user(&self, handle: &Handle) -> Result<UserId> {
        if *handle == self.me().handle {
            return Ok(self.me().user);
        }
        if let Some(user) = self.inner().store.read(|r| r.user_by_handle(handle))? {
            return Ok(user);
        }
        if self.inner().hub.is_none() {
            return Err(Error::NotConnected { handle: handle.clone() });
        }
        let user = self.hub()?.user_by_handle(handle).await?.user;
        let mut tx = self.inner().session.new_transaction().await?;
        let handle = handle.clone();
        tx.store_write(move |w| w.put_user(user, &handle))?;
        tx.finish().await?;
        Ok(user)
    }
}
