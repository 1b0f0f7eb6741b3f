//! The user's team, whose members are connected with the user without having asked.
//!
//! In the home a team mate has a connection that is `accepted`, so that whatever a connection allows is allowed. The hub has
//! none for them: when somebody joins or leaves, the home takes over what the hub says of everybody.

use crate::{Client, Error, Invitation, Result, Team, TeamMember, client::now};
use std::{collections::BTreeSet, time::Duration};
use tertulia_api::{Code, connection::Connection, team};
use tertulia_domain::{
    ConversationId, ConversationType, DisplayName, Handle, Protocol, Role, RoleName, UserId,
    connection::Status, role::ActionSet, team::TeamRole,
};
use tertulia_mls::TransactionContext;
use tertulia_store::{ConnectionRecord, ConversationRecord, MemberRecord};

impl Client {
    /// The user's team; none if the user is in none.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn team(&self) -> Result<Option<Team>> {
        match self.hub()?.team().await {
            Err(error) if error.hub_code() == Some(Code::NoTeam) => Ok(None),
            answer => read(&answer?).map(Some),
        }
    }

    /// Makes a team, of which the user is the owner.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `already-in-team`.
    pub async fn create_team(&self, name: &DisplayName) -> Result<Team> {
        let team = read(&self.hub()?.create_team(name.as_str()).await?)?;
        self.catch_up_and_join().await?;
        Ok(team)
    }

    /// Makes an invitation, which one person with an account of their own can accept: for 7 days unless given, at least a
    /// minute and at most 30 days.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `action-denied`, `team-limit`.
    pub async fn invite_to_team(&self, valid_for: Option<Duration>) -> Result<Invitation> {
        let made = self.hub()?.invite_to_team(valid_for.map(|span| span.as_secs())).await?;
        Ok(Invitation { code: made.code, expires_at: made.expires_at })
    }

    /// Accepts an invitation. What connections and blocks there were with the members end.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `already-in-team`, `invalid-invitation`, `team-limit`.
    pub async fn join_team(&self, code: &str) -> Result<Team> {
        let team = read(&self.hub()?.join_team(code).await?)?;
        self.catch_up_and_join().await?;
        Ok(team)
    }

    /// The members of the user's team, in the order in which they joined.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`.
    pub async fn team_members(&self) -> Result<Vec<TeamMember>> {
        let members = self.hub()?.team_members().await?.members;
        members
            .into_iter()
            .map(|member| {
                let handle = member.handle.parse().map_err(|_| UNREADABLE)?;
                let team::TeamMember { user, role, joined_at, kind, .. } = member;
                Ok(TeamMember { user, handle, role, joined_at, kind })
            })
            .collect()
    }

    /// Gives a member another role in the team.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `action-denied`, `unknown-user`.
    pub async fn set_team_role(&self, member: &Handle, role: TeamRole) -> Result<()> {
        let user = self.user(member).await?;
        Ok(self.hub()?.set_team_role(user, role).await?)
    }

    /// Removes a member from the team, and so from all its conversations.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `action-denied`, `unknown-user`.
    pub async fn remove_from_team(&self, member: &Handle) -> Result<()> {
        let user = self.user(member).await?;
        self.hub()?.remove_from_team(user).await?;
        self.catch_up_and_join().await
    }

    /// Leaves the team, and all its conversations.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `last-owner`.
    pub async fn leave_team(&self) -> Result<()> {
        self.hub()?.leave_team().await?;
        self.catch_up_and_join().await
    }

    /// The roles that the user's team defines for its conversations, by name.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`.
    pub async fn team_roles(&self) -> Result<Vec<Role>> {
        let roles = self.hub()?.team_roles().await?.roles;
        roles.into_iter().map(|role| Role::defined(role.name, role.actions).map_err(|_| UNREADABLE)).collect()
    }

    /// Defines a role for the conversations of the user's team. To define the same again changes nothing.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `action-denied`, `role-exists`, `team-limit`; `bad-request` for `admin` and `member`.
    pub async fn define_role(&self, name: &RoleName, actions: ActionSet) -> Result<()> {
        let role = team::ConversationRole { name: name.clone(), actions };
        self.hub()?.define_role(&role).await?;
        Ok(())
    }

    /// Deletes a role that nobody has in the team's conversations.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `no-team`, `action-denied`, `unknown-role`, `role-in-use`.
    pub async fn delete_role(&self, name: &RoleName) -> Result<()> {
        Ok(self.hub()?.delete_role(name).await?)
    }

    /// The role of this name in a conversation: one that every conversation knows, one that its members have signed, or one that its
    /// team defines, which need not be the user's own.
    pub(crate) async fn role(&self, id: ConversationId, name: &RoleName) -> Result<Role> {
        if let Some(role) = Role::predefined(name) {
            return Ok(role);
        }
        if let Some(role) = self.policy(id)?.and_then(|policy| policy.role(name)) {
            return Ok(role);
        }
        role_among(&self.hub()?.conversation(id).await?.roles, name)
    }

    /// Who is connected with the user, as the hub has it now.
    pub(crate) async fn fetch_people(&self) -> Result<People> {
        let connections = self.hub()?.connections().await?.connections;
        let mates = match self.hub()?.team_members().await {
            Err(error) if error.hub_code() == Some(Code::NoTeam) => Vec::new(),
            answer => answer?.members,
        };
        Ok(People { connections, mates })
    }

    /// Writes down who is connected with the user. The 1:1 with who is not any more has ended.
    pub(crate) fn take_over(
        &self,
        tx: &mut TransactionContext,
        people: People,
    ) -> Result<Vec<ConversationId>> {
        let me = self.me();
        let mates: Vec<_> = people.mates.into_iter().filter(|mate| mate.user != me.user).collect();
        let known: BTreeSet<UserId> = people
            .connections
            .iter()
            .map(|connection| connection.user)
            .chain(mates.iter().map(|mate| mate.user))
            .collect();
        let former: Vec<ConnectionRecord> = self
            .inner()
            .store
            .read(|r| r.connections())?
            .into_iter()
            .filter(|record| !known.contains(&record.user) && record.status != Status::Cancelled)
            .collect();
        let spoken_with: BTreeSet<ConversationId> = self.inner().store.read(|r| {
            let mut spoken_with = BTreeSet::new();
            for record in &former {
                spoken_with.extend(r.conversation(record.conversation)?.map(|row| row.record.id));
            }
            Ok::<_, Error>(spoken_with)
        })?;
        let changed = former.iter().map(|record| record.conversation).collect();
        for record in &former {
            self.wipe(tx, record.conversation)?;
        }
        let connected: Vec<Connection> = mates
            .into_iter()
            .map(|mate| Connection {
                user: mate.user,
                conversation: ConversationId::one_to_one((&me.user, &me.domain), (&mate.user, &me.domain)).id,
                handle: mate.handle,
                status: Status::Accepted,
                updated_at: mate.joined_at,
            })
            .collect();
        tx.store_write(move |w| {
            for record in former {
                w.set_active(record.conversation, false)?;
                w.part_subconversations(record.conversation, true)?;
                // What was said stays to be found; who was never spoken with is forgotten.
                if spoken_with.contains(&record.conversation) {
                    w.put_connection(&ConnectionRecord { status: Status::Cancelled, ..record })?;
                } else {
                    w.remove_connection(record.user)?;
                }
            }
            let all = people.connections.iter().chain(&connected);
            all.into_iter().try_for_each(|connection| crate::apply::put_connection(w, connection))
        })?;
        Ok(changed)
    }

    /// Makes the 1:1 with a team mate known in this home, where it exists without having been created.
    pub(crate) async fn know_one_to_one(&self, id: ConversationId) -> Result<()> {
        if self.inner().hub.is_none() {
            return Ok(());
        }
        let mate = self.inner().store.read(|r| match r.conversation(id)? {
            Some(_) => Ok::<_, Error>(None),
            None => Ok(r.connection_of(id)?.filter(|connection| connection.status == Status::Accepted)),
        })?;
        let Some(mate) = mate else { return Ok(()) };
        let record = ConversationRecord {
            id,
            kind: ConversationType::OneToOne,
            epoch: 0,
            protocol: Protocol::Mls,
            created_at: now(),
        };
        let members = [self.me().user, mate.user].map(|user| MemberRecord { user, role: RoleName::ADMIN });
        let mut tx = self.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.put_conversation(&record)?;
            w.replace_members(id, &members)
        })?;
        Ok(tx.finish().await?)
    }
}

/// The role of this name: one that every conversation knows, or one of these.
pub(crate) fn role_among(known: &[team::ConversationRole], name: &RoleName) -> Result<Role> {
    if let Some(role) = Role::predefined(name) {
        return Ok(role);
    }
    let found = known.iter().find(|role| role.name == *name);
    let found = found.ok_or_else(|| Error::UnknownRole { role: name.to_string() })?;
    Role::defined(name.clone(), found.actions).map_err(|_| UNREADABLE)
}

/// Who is connected with the user.
#[derive(Debug)]
pub(crate) struct People {
    pub(crate) connections: Vec<Connection>,
    pub(crate) mates: Vec<team::TeamMember>,
}

const UNREADABLE: Error = Error::UntrustworthyHub { what: "a team's name or a member's handle is none" };

fn read(team: &team::Team) -> Result<Team> {
    let name = team.name.parse().map_err(|_| UNREADABLE)?;
    Ok(Team { team: team.team, name, role: team.role, created_at: team.created_at })
}
