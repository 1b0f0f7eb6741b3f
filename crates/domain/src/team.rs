//! Teams: who may do what in one. A user is in at most one team; its members are always connected.
//!
//! | | owner | admin | member |
//! |---|---|---|---|
//! | invite, define roles for conversations, make a channel | yes | yes | no |
//! | remove a member | yes | yes | no |
//! | remove an admin | yes | no | no |
//! | remove an owner | yes | no | no |
//! | change somebody else's role | yes | no | no |
//! | leave | unless the last owner, while others remain | yes | yes |
//!
//! Nobody removes themselves or changes their own role: so the owner who acts remains, and only by leaving could the last one go.

use std::collections::BTreeMap;

use crate::{
    role::{ActionSet, RoleName},
    text::named,
};

/// What a member of a team may do in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TeamRole {
    /// Everything. Who made the team is one.
    Owner,
    /// Invites, removes members, defines roles for conversations, and makes channels.
    Admin,
    /// Is in the team.
    Member,
}

named!(TeamRole, "team role", {
    Owner => "owner",
    Admin => "admin",
    Member => "member",
});

impl TeamRole {
    /// How high it is, for [`succession`](crate::succession): owners are the highest.
    pub const fn rank(self) -> u8 {
        match self {
            Self::Owner => 2,
            Self::Admin => 1,
            Self::Member => 0,
        }
    }
}

/// Something that is done to a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamAction {
    /// Invite somebody.
    Invite,
    /// Define or delete a role for conversations.
    DefineRoles,
    /// Make a channel, whose name the whole team sees.
    CreateChannel,
    /// Remove another member, who has this role.
    Remove(TeamRole),
    /// Change another member's role.
    ChangeRole,
}

/// Why something is not done to a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TeamError {
    /// The acting user is in no team. Make one, or accept an invitation.
    #[error("you are in no team")]
    NoTeam,
    /// The acting user is in a team already, and can be in one only. Leave it first.
    #[error("you are in a team already; leave it first")]
    AlreadyInTeam,
    /// The role of the acting user does not allow it. Ask an owner.
    #[error("your role in the team does not allow it")]
    Denied,
    /// It was to be done to oneself. Leave the team, or have another owner do it.
    #[error("this cannot be done to oneself")]
    Oneself,
    /// The named user is not in the team. Show the members.
    #[error("this user is not in your team")]
    NotInTeam,
    /// The last owner cannot go while others remain. Make somebody else owner first.
    #[error("the last owner cannot leave while others remain; make somebody else owner first")]
    LastOwner,
    /// The invitation does not exist, was used or has expired, which look the same. Ask for another.
    #[error("there is no such invitation, or it was used or has expired")]
    InvalidInvitation,
    /// The team has as many of these as allowed. Remove some first.
    #[error("the team has {max} {what} already, the most allowed")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

impl TeamError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoTeam => "no-team",
            Self::AlreadyInTeam => "already-in-team",
            Self::Denied | Self::Oneself => "action-denied",
            Self::NotInTeam => "unknown-user",
            Self::LastOwner => "last-owner",
            Self::InvalidInvitation => "invalid-invitation",
            Self::Limit { .. } => "team-limit",
        }
    }
}

/// Whether the role allows the action. The table of this [module](self).
pub const fn allows(role: TeamRole, action: TeamAction) -> bool {
    match role {
        TeamRole::Owner => true,
        TeamRole::Admin => matches!(
            action,
            TeamAction::Invite
                | TeamAction::DefineRoles
                | TeamAction::CreateChannel
                | TeamAction::Remove(TeamRole::Member)
        ),
        TeamRole::Member => false,
    }
}

/// Checks an action that concerns nobody in particular. Who is in no team has no role.
pub fn authorise(actor: Option<TeamRole>, action: TeamAction) -> Result<(), TeamError> {
    let role = actor.ok_or(TeamError::NoTeam)?;
    if allows(role, action) { Ok(()) } else { Err(TeamError::Denied) }
}

/// Checks that the acting user removes somebody. `target` is that one's role; none if they are not in the team.
pub fn check_remove(
    actor: Option<TeamRole>,
    oneself: bool,
    target: Option<TeamRole>,
) -> Result<(), TeamError> {
    actor.ok_or(TeamError::NoTeam)?;
    if oneself {
        return Err(TeamError::Oneself);
    }
    authorise(actor, TeamAction::Remove(target.ok_or(TeamError::NotInTeam)?))
}

/// Checks that the acting user changes somebody's role.
pub fn check_change_role(
    actor: Option<TeamRole>,
    oneself: bool,
    target: Option<TeamRole>,
) -> Result<(), TeamError> {
    authorise(actor, TeamAction::ChangeRole)?;
    if oneself {
        return Err(TeamError::Oneself);
    }
    target.ok_or(TeamError::NotInTeam).map(|_| ())
}

/// Checks that the acting user leaves. `members` and `owners` count all, the acting user too.
pub fn check_leave(actor: Option<TeamRole>, members: usize, owners: usize) -> Result<(), TeamError> {
    let role = actor.ok_or(TeamError::NoTeam)?;
    if role == TeamRole::Owner && owners <= 1 && members > 1 {
        return Err(TeamError::LastOwner);
    }
    Ok(())
}

/// The first role of a conversation that it cannot have: one that its team does not define so, and that it did not have
/// before. What a conversation has once stays as it is there.
pub fn unknown_role<'a>(
    defined: &BTreeMap<RoleName, ActionSet>,
    before: &BTreeMap<RoleName, ActionSet>,
    after: &'a BTreeMap<RoleName, ActionSet>,
) -> Option<&'a RoleName> {
    let is_known = |name, actions| before.get(name) == Some(actions) || defined.get(name) == Some(actions);
    after.iter().find(|(name, actions)| !is_known(*name, *actions)).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::role::Action;
    use TeamRole::{Admin, Member, Owner};

    /// Every action and every role, in the words of the table of the module.
    const TABLE: &str = "
        invite          owner admin
        define-roles    owner admin
        create-channel  owner admin
        remove-owner    owner
        remove-admin    owner
        remove-member   owner admin
        change-role     owner
    ";

    const ACTIONS: [(&str, TeamAction); 7] = [
        ("invite", TeamAction::Invite),
        ("define-roles", TeamAction::DefineRoles),
        ("create-channel", TeamAction::CreateChannel),
        ("remove-owner", TeamAction::Remove(Owner)),
        ("remove-admin", TeamAction::Remove(Admin)),
        ("remove-member", TeamAction::Remove(Member)),
        ("change-role", TeamAction::ChangeRole),
    ];

    #[test]
    fn who_may_do_what_is_as_written_in_the_table() {
        let lines: Vec<Vec<&str>> = TABLE
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| !words.is_empty())
            .collect();
        assert_eq!(lines.len(), ACTIONS.len());
        for (line, (name, action)) in lines.iter().zip(ACTIONS) {
            assert_eq!(line[0], name);
            for &role in TeamRole::ALL {
                let expected = line[1..].contains(&role.as_str());
                assert_eq!(allows(role, action), expected, "{role} {name}");
                let answer = if expected { Ok(()) } else { Err(TeamError::Denied) };
                assert_eq!(authorise(Some(role), action), answer);
            }
            assert_eq!(authorise(None, action), Err(TeamError::NoTeam));
        }
    }

    #[test]
    fn nobody_removes_themselves_or_changes_their_own_role() {
        for &role in TeamRole::ALL {
            assert_eq!(check_remove(Some(role), true, Some(role)), Err(TeamError::Oneself));
        }
        assert_eq!(check_change_role(Some(Owner), true, Some(Owner)), Err(TeamError::Oneself));
        assert_eq!(check_change_role(Some(Owner), false, Some(Owner)), Ok(()));
        assert_eq!(check_change_role(Some(Owner), false, None), Err(TeamError::NotInTeam));
        assert_eq!(check_remove(Some(Owner), false, None), Err(TeamError::NotInTeam));
        assert_eq!(check_remove(None, false, Some(Member)), Err(TeamError::NoTeam));
        assert_eq!(check_remove(Some(Admin), false, Some(Admin)), Err(TeamError::Denied));
    }

    #[test]
    fn the_last_owner_leaves_last() {
        for (role, members, owners, allowed) in [
            (Owner, 1, 1, true),
            (Owner, 2, 1, false),
            (Owner, 2, 2, true),
            (Admin, 2, 1, true),
            (Member, 2, 1, true),
        ] {
            assert_eq!(
                check_leave(Some(role), members, owners).is_ok(),
                allowed,
                "{role} {members} {owners}"
            );
        }
        assert_eq!(check_leave(None, 0, 0), Err(TeamError::NoTeam));
    }

    #[test]
    fn a_conversation_has_the_roles_of_its_team_and_those_that_it_had() {
        let role = |name: &str, actions: &[Action]| (name.parse().unwrap(), ActionSet::of(actions));
        let roles = |roles: &[(&str, &[Action])]| -> BTreeMap<RoleName, ActionSet> {
            roles.iter().map(|(name, actions)| role(name, actions)).collect()
        };
        let (scribe, more): (&[Action], &[Action]) =
            (&[Action::ModifyName], &[Action::ModifyName, Action::AddMember]);
        let scribe_role: RoleName = "scribe".parse().unwrap();
        for (defined, before, after, is_known) in [
            (roles(&[]), roles(&[]), roles(&[]), true),
            (roles(&[("scribe", scribe)]), roles(&[]), roles(&[("scribe", scribe)]), true),
            (roles(&[("scribe", scribe)]), roles(&[]), roles(&[("scribe", more)]), false),
            (roles(&[]), roles(&[]), roles(&[("scribe", scribe)]), false),
            (roles(&[]), roles(&[("scribe", scribe)]), roles(&[("scribe", scribe)]), true),
            (roles(&[]), roles(&[("scribe", scribe)]), roles(&[("scribe", more)]), false),
            (roles(&[("scribe", more)]), roles(&[("scribe", scribe)]), roles(&[("scribe", more)]), true),
        ] {
            let expected = (!is_known).then_some(&scribe_role);
            assert_eq!(unknown_role(&defined, &before, &after), expected, "{defined:?} {before:?} {after:?}");
        }
    }
}
