//! Who may do what to a conversation: the checks that the hub makes before it changes one.
//!
//! They run in a fixed order, and the first that fails is the answer:
//!
//! 1. **membership**: to who is not in it, a conversation is as if it did not exist;
//! 2. **action**: the role of the acting member allows it;
//! 3. **type**: only groups and channels can be changed, left, renamed or added to;
//! 4. **the action's own checks**, in the order of the code below.
//!
//! The functions take facts and look nothing up. [`authorise`] is the first three steps, for actions that have no
//! checks of their own.

use crate::{
    conversation::ConversationType,
    ids::UserId,
    policy::AddPermission,
    role::{Action, Role, RoleName, RoleNameError},
};

/// Why a change of a conversation is refused. Each variant has its stable code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// There is no such conversation, or the acting user is not in it, which must look the same.
    #[error("there is no such conversation")]
    NoConversation,
    /// The role of the acting user does not allow it.
    #[error("your role does not allow {action}")]
    ActionDenied {
        /// What was to be done.
        action: Action,
    },
    /// Only an admin may, whatever actions other roles have.
    #[error("only an admin may change the protocol")]
    AdminOnly,
    /// Conversations of this type cannot be changed.
    #[error("this cannot be done to a conversation of type {conversation_type}")]
    InvalidOperation {
        /// The conversation's type.
        conversation_type: ConversationType,
    },
    /// Members would remain without an admin. Name a successor.
    #[error("the last admin cannot go while others remain; name a successor")]
    LastAdmin,
    /// The role to be given has an action that the giver's lacks, or it is to be the giver's own.
    #[error("you cannot give the role {granted}: it allows more than yours, or it is for yourself")]
    RoleElevation {
        /// The role to be given.
        granted: RoleName,
    },
    /// The acting user is not connected with a user to be added or written to.
    #[error("you are not connected with this user")]
    NotConnected {
        /// The user, where the check knows who it is.
        user: Option<UserId>,
    },
    /// The conversation does not admit a user in this way. Change who is admitted, or leave the user out.
    #[error("the conversation does not admit this user in this way")]
    NotAdmitted,
    /// There is no such role.
    #[error(transparent)]
    UnknownRole(#[from] RoleNameError),
}

impl PermissionError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoConversation => "no-conversation",
            Self::ActionDenied { .. } | Self::AdminOnly => "action-denied",
            Self::InvalidOperation { .. } => "invalid-operation",
            Self::LastAdmin => "last-admin",
            Self::RoleElevation { .. } => "role-elevation",
            Self::NotConnected { .. } => "not-connected",
            Self::NotAdmitted => "not-admitted",
            Self::UnknownRole(_) => "unknown-role",
        }
    }
}

/// The place of the acting user in the conversation. Who has none, because there is no such conversation or they are
/// not in it, is passed as `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The conversation's type.
    pub conversation_type: ConversationType,
    /// The acting user's role in it.
    pub role: Role,
}

/// How many users are in the conversation before the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roster {
    /// All of them.
    pub members: usize,
    /// Those whose role is [`Role::ADMIN`].
    pub admins: usize,
}

/// A user to be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The user.
    pub user: UserId,
    /// Whether the acting user is connected with them ([`connection::connected`](crate::connection::connected), which
    /// excludes that either blocks the other) or in their team.
    pub connected: bool,
}

/// Whose role is to be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The acting user's own, which is never allowed.
    Myself,
    /// Another member's, who has this role now.
    Other(Role),
}

/// Membership, action and type: the checks that every change begins with.
pub fn authorise(actor: Option<&Membership>, action: Action) -> Result<&Membership, PermissionError> {
    let actor = actor.ok_or(PermissionError::NoConversation)?;
    if !actor.role.allows(action) {
        return Err(PermissionError::ActionDenied { action });
    }
    if !actor.conversation_type.is_managed() {
        return Err(PermissionError::InvalidOperation { conversation_type: actor.conversation_type });
    }
    Ok(actor)
}

/// Adding members, all of whom get the role `granted`.
pub fn check_add_members(
    actor: Option<&Membership>,
    permission: AddPermission,
    granted: &Role,
    candidates: impl IntoIterator<Item = Candidate>,
) -> Result<(), PermissionError> {
    let actor = authorise_adding(actor, permission, granted)?;
    check_grant(&actor.role, granted)?;
    check_candidates(candidates)
}

/// Membership, action and type of who adds. Where everyone may, no action is asked of who adds with the role `member`.
fn authorise_adding<'a>(
    actor: Option<&'a Membership>,
    permission: AddPermission,
    granted: &Role,
) -> Result<&'a Membership, PermissionError> {
    match actor {
        Some(member)
            if permission == AddPermission::Everyone
                && *granted == Role::MEMBER
                && member.conversation_type.is_managed() =>
        {
            Ok(member)
        }
        _ => authorise(actor, Action::AddMember),
    }
}

/// That whom somebody adds, whose right to do so was looked at, is connected with them.
pub fn check_candidates(candidates: impl IntoIterator<Item = Candidate>) -> Result<(), PermissionError> {
    match candidates.into_iter().find(|candidate| !candidate.connected) {
        Some(Candidate { user, .. }) => Err(PermissionError::NotConnected { user: Some(user) }),
        None => Ok(()),
    }
}

/// Removing another member, whose role is `target`. Removing oneself is leaving: [`check_leave`].
pub fn check_remove_member(
    actor: Option<&Membership>,
    target: &Role,
    roster: Roster,
) -> Result<(), PermissionError> {
    authorise(actor, Action::RemoveMember)?;
    check_admin_remains(target, roster, None)
}

/// Leaving. `successor` is the present role of another member who is named to become an admin, if one is.
pub fn check_leave(
    actor: Option<&Membership>,
    roster: Roster,
    successor: Option<&Role>,
) -> Result<(), PermissionError> {
    let actor = authorise(actor, Action::Leave)?;
    check_admin_remains(&actor.role, roster, successor)
}

/// Giving a member the role `granted`. `successor` is as for [`check_leave`], a member other than the target.
pub fn check_change_role(
    actor: Option<&Membership>,
    target: Target,
    granted: &Role,
    roster: Roster,
    successor: Option<&Role>,
) -> Result<(), PermissionError> {
    let actor = authorise(actor, Action::ModifyOtherMember)?;
    let Target::Other(present) = target else {
        return Err(PermissionError::RoleElevation { granted: granted.name().clone() });
    };
    check_grant(&actor.role, granted)?;
    if granted.is_admin() {
        return Ok(());
    }
    check_admin_remains(&present, roster, successor)
}

/// Beginning the MLS group anew, with the same members. In a group it takes the right to delete it; in a 1:1 either user
/// may, and in a conversation with oneself its user.
pub fn check_reset(actor: Option<&Membership>) -> Result<(), PermissionError> {
    let actor = actor.ok_or(PermissionError::NoConversation)?;
    if !actor.role.allows(Action::Delete) {
        return Err(PermissionError::ActionDenied { action: Action::Delete });
    }
    match actor.conversation_type {
        conversation_type @ ConversationType::Connection => {
            Err(PermissionError::InvalidOperation { conversation_type })
        }
        _ => Ok(()),
    }
}

/// Deleting the conversation for all its members.
pub fn check_delete(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::Delete).map(|_| ())
}

/// Renaming.
pub fn check_rename(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::ModifyName).map(|_| ())
}

/// Changing for how long messages stay.
pub fn check_message_timer(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::ModifyMessageTimer).map(|_| ())
}

/// Changing whether receipts are sent.
pub fn check_receipt_mode(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::ModifyReceiptMode).map(|_| ())
}

/// Changing who may add members, where that does not stand in an MLS group's signed context.
pub fn check_add_permission(actor: Option<&Membership>) -> Result<(), PermissionError> {
    authorise(actor, Action::ModifyAddPermission).map(|_| ())
}

/// Naming a conversation as the parent of a new one. The creator is in it, and it is one that people talk in.
pub fn check_parent(creator_in_parent: Option<&Membership>) -> Result<(), PermissionError> {
    let conversation_type = creator_in_parent.ok_or(PermissionError::NoConversation)?.conversation_type;
    match conversation_type {
        ConversationType::Group | ConversationType::Channel | ConversationType::OneToOne => Ok(()),
        _ => Err(PermissionError::InvalidOperation { conversation_type }),
    }
}

/// Telling the others that one is typing: whoever may send may, where there are others that it is shown to.
pub fn check_typing(actor: Option<&Membership>) -> Result<(), PermissionError> {
    check_send(actor)?;
    match actor.ok_or(PermissionError::NoConversation)?.conversation_type {
        conversation_type @ (ConversationType::SelfConversation | ConversationType::Subconversation) => {
            Err(PermissionError::InvalidOperation { conversation_type })
        }
        _ => Ok(()),
    }
}

/// Changing the encryption protocol. No action of the contract covers it, and it decides how everybody's messages are
/// protected, so it is for admins alone. In a 1:1, once there is one, either may.
pub fn check_change_protocol(actor: Option<&Membership>) -> Result<(), PermissionError> {
    let actor = actor.ok_or(PermissionError::NoConversation)?;
    if !actor.role.is_admin() {
        return Err(PermissionError::AdminOnly);
    }
    match actor.conversation_type {
        ConversationType::Group | ConversationType::Channel | ConversationType::OneToOne => Ok(()),
        conversation_type => Err(PermissionError::InvalidOperation { conversation_type }),
    }
}

/// Changing how far back those who come later may read. No role covers it, for it decides what strangers-to-be read of
/// everybody's messages; so it is for admins alone. Nobody comes later into a 1:1.
pub fn check_change_history(actor: Option<&Membership>) -> Result<(), PermissionError> {
    check_change_protocol(actor)?;
    check_read_history(actor)
}

/// Reading what was sent before one came, as far as the setting allows. Every member may, where there is such a setting.
pub fn check_read_history(actor: Option<&Membership>) -> Result<(), PermissionError> {
    let conversation_type = actor.ok_or(PermissionError::NoConversation)?.conversation_type;
    if conversation_type.is_managed() {
        Ok(())
    } else {
        Err(PermissionError::InvalidOperation { conversation_type })
    }
}

/// Sending a message, which every member may in every type of conversation but one: a request that is not accepted yet.
///
/// Whether the other in a 1:1 blocks the sender is not asked. The blocking user has left the 1:1, so nothing reaches
/// them, and an error would tell the sender.
pub fn check_send(actor: Option<&Membership>) -> Result<(), PermissionError> {
    match actor.ok_or(PermissionError::NoConversation)?.conversation_type {
        ConversationType::Connection => Err(PermissionError::NotConnected { user: None }),
        _ => Ok(()),
    }
}

fn check_grant(own: &Role, granted: &Role) -> Result<(), PermissionError> {
    if own.may_grant(granted) {
        Ok(())
    } else {
        Err(PermissionError::RoleElevation { granted: granted.name().clone() })
    }
}

/// Refuses that the last admin goes, or is one no more, while others remain and none of them is to follow.
fn check_admin_remains(
    going: &Role,
    roster: Roster,
    successor: Option<&Role>,
) -> Result<(), PermissionError> {
    let last_admin = going.is_admin() && roster.admins <= 1;
    if last_admin && roster.members > 1 && successor.is_none() {
        return Err(PermissionError::LastAdmin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::ActionSet;

    const GROUP_OF_THREE: Roster = Roster { members: 3, admins: 1 };

    fn admin() -> Membership {
        admin_of(ConversationType::Group)
    }

    fn member() -> Membership {
        Membership { role: Role::MEMBER, ..admin() }
    }

    fn admin_of(conversation_type: ConversationType) -> Membership {
        Membership { conversation_type, role: Role::ADMIN }
    }

    fn candidate(connected: bool) -> Candidate {
        Candidate { user: UserId::from_bytes([7; 16]), connected }
    }

    /// Every check, with facts that let it pass for the right actor.
    fn every_check(actor: Option<&Membership>) -> [Result<(), PermissionError>; 5] {
        [
            check_add_members(actor, AddPermission::Admins, &Role::MEMBER, [candidate(true)]),
            check_remove_member(actor, &Role::MEMBER, GROUP_OF_THREE),
            check_change_role(actor, Target::Other(Role::MEMBER), &Role::ADMIN, GROUP_OF_THREE, None),
            check_leave(actor, GROUP_OF_THREE, Some(&Role::MEMBER)),
            check_rename(actor),
        ]
    }

    #[test]
    fn an_admin_manages_groups_and_channels() {
        assert_eq!(every_check(Some(&admin())), [const { Ok(()) }; 5]);
        assert_eq!(every_check(Some(&admin_of(ConversationType::Channel))), [const { Ok(()) }; 5]);
    }

    #[test]
    fn to_a_stranger_there_is_no_conversation() {
        assert_eq!(every_check(None), [const { Err(PermissionError::NoConversation) }; 5]);
        assert_eq!(check_send(None), Err(PermissionError::NoConversation));
    }

    #[test]
    fn the_protocol_is_changed_by_admins_and_in_a_one_to_one_by_either() {
        for &conversation_type in ConversationType::ALL {
            let by = |role| check_change_protocol(Some(&Membership { conversation_type, role }));
            assert_eq!(by(Role::MEMBER), Err(PermissionError::AdminOnly), "the role is looked at first");
            // Both users of a 1:1 are admins of it.
            let changes = conversation_type.is_managed() || conversation_type == ConversationType::OneToOne;
            let expected =
                if changes { Ok(()) } else { Err(PermissionError::InvalidOperation { conversation_type }) };
            assert_eq!(by(Role::ADMIN), expected);
        }
        assert_eq!(check_change_protocol(None), Err(PermissionError::NoConversation));
        assert_eq!(PermissionError::AdminOnly.code(), "action-denied");
    }

    #[test]
    fn how_far_back_those_who_come_later_read_is_set_by_admins_where_somebody_can_come_later() {
        for &conversation_type in ConversationType::ALL {
            let of = |role| Membership { conversation_type, role };
            let there = if conversation_type.is_managed() {
                Ok(())
            } else {
                Err(PermissionError::InvalidOperation { conversation_type })
            };
            assert_eq!(check_change_history(Some(&of(Role::MEMBER))), Err(PermissionError::AdminOnly));
            assert_eq!(check_change_history(Some(&of(Role::ADMIN))), there);
            assert_eq!(check_read_history(Some(&of(Role::MEMBER))), there, "every member reads");
        }
        assert_eq!(check_read_history(None), Err(PermissionError::NoConversation));
        assert_eq!(check_change_history(None), Err(PermissionError::NoConversation));
    }

    #[test]
    fn a_member_may_leave_and_nothing_else() {
        let denied = |action| Err(PermissionError::ActionDenied { action });
        assert_eq!(
            every_check(Some(&member())),
            [
                denied(Action::AddMember),
                denied(Action::RemoveMember),
                denied(Action::ModifyOtherMember),
                Ok(()),
                denied(Action::ModifyName),
            ]
        );
    }

    #[test]
    fn what_is_no_group_cannot_be_changed_even_by_an_admin() {
        for conversation_type in [
            ConversationType::SelfConversation,
            ConversationType::Connection,
            ConversationType::OneToOne,
            ConversationType::Subconversation,
        ] {
            for refused in every_check(Some(&admin_of(conversation_type))) {
                assert_eq!(refused, Err(PermissionError::InvalidOperation { conversation_type }));
            }
        }
    }

    #[test]
    fn the_action_is_checked_before_the_type_and_the_type_before_the_rest() {
        let conversation_type = ConversationType::OneToOne;
        let member = Membership { conversation_type, role: Role::MEMBER };
        assert_eq!(
            check_rename(Some(&member)),
            Err(PermissionError::ActionDenied { action: Action::ModifyName })
        );
        assert_eq!(
            check_add_members(
                Some(&admin_of(conversation_type)),
                AddPermission::Everyone,
                &Role::ADMIN,
                [candidate(false)]
            ),
            Err(PermissionError::InvalidOperation { conversation_type })
        );
    }

    /// The settings, each with the action that it takes.
    type Check = fn(Option<&Membership>) -> Result<(), PermissionError>;
    const SETTINGS: [(Check, Action); 3] = [
        (check_message_timer, Action::ModifyMessageTimer),
        (check_receipt_mode, Action::ModifyReceiptMode),
        (check_add_permission, Action::ModifyAddPermission),
    ];

    #[test]
    fn a_setting_is_refused_for_membership_first_then_for_the_action_then_for_the_type() {
        for (check, action) in SETTINGS {
            assert_eq!(check(None), Err(PermissionError::NoConversation));
            let may =
                Role::defined("may".parse().expect("a name"), ActionSet::of(&[action])).expect("defined");
            for &conversation_type in ConversationType::ALL {
                let by = |role| check(Some(&Membership { conversation_type, role }));
                assert_eq!(by(Role::MEMBER), Err(PermissionError::ActionDenied { action }));
                let expected = if conversation_type.is_managed() {
                    Ok(())
                } else {
                    Err(PermissionError::InvalidOperation { conversation_type })
                };
                assert_eq!((by(Role::ADMIN), by(may.clone())), (expected.clone(), expected));
            }
        }
    }

    #[test]
    fn where_everyone_may_add_a_member_adds_members_and_no_admins() {
        let add = |actor: &Membership, granted: &Role| {
            check_add_members(Some(actor), AddPermission::Everyone, granted, [candidate(true)])
        };
        assert_eq!(add(&member(), &Role::MEMBER), Ok(()));
        assert_eq!(
            add(&member(), &Role::ADMIN),
            Err(PermissionError::ActionDenied { action: Action::AddMember })
        );
        assert_eq!(add(&admin(), &Role::ADMIN), Ok(()));
        assert_eq!(
            check_add_members(None, AddPermission::Everyone, &Role::MEMBER, [candidate(true)]),
            Err(PermissionError::NoConversation)
        );
    }

    #[test]
    fn a_parent_is_a_conversation_that_its_creator_is_in_and_that_people_talk_in() {
        assert_eq!(check_parent(None), Err(PermissionError::NoConversation));
        for &conversation_type in ConversationType::ALL {
            let expected = match conversation_type {
                ConversationType::Group | ConversationType::Channel | ConversationType::OneToOne => Ok(()),
                _ => Err(PermissionError::InvalidOperation { conversation_type }),
            };
            let creator = Membership { conversation_type, role: Role::MEMBER };
            assert_eq!(check_parent(Some(&creator)), expected);
        }
    }

    #[test]
    fn who_may_send_may_type_where_it_is_shown_to_others() {
        assert_eq!(check_typing(None), Err(PermissionError::NoConversation));
        for &conversation_type in ConversationType::ALL {
            let expected = match conversation_type {
                ConversationType::Connection => Err(PermissionError::NotConnected { user: None }),
                ConversationType::SelfConversation | ConversationType::Subconversation => {
                    Err(PermissionError::InvalidOperation { conversation_type })
                }
                _ => Ok(()),
            };
            assert_eq!(check_typing(Some(&Membership { conversation_type, role: Role::MEMBER })), expected);
        }
    }

    #[test]
    fn an_admin_may_begin_a_group_anew_and_nobody_before_a_request_is_accepted() {
        for &conversation_type in ConversationType::ALL {
            let expected = match conversation_type {
                ConversationType::Connection => Err(PermissionError::InvalidOperation { conversation_type }),
                _ => Ok(()),
            };
            assert_eq!(check_reset(Some(&admin_of(conversation_type))), expected);
        }
        assert_eq!(
            check_reset(Some(&member())),
            Err(PermissionError::ActionDenied { action: Action::Delete })
        );
        assert_eq!(check_reset(None), Err(PermissionError::NoConversation));
    }

    #[test]
    fn one_who_is_not_connected_cannot_be_added() {
        let stranger = Candidate { user: UserId::from_bytes([9; 16]), connected: false };
        assert_eq!(
            check_add_members(
                Some(&admin()),
                AddPermission::Admins,
                &Role::MEMBER,
                [candidate(true), stranger]
            ),
            Err(PermissionError::NotConnected { user: Some(stranger.user) })
        );
    }

    #[test]
    fn nobody_changes_their_own_role() {
        for granted in [Role::ADMIN, Role::MEMBER] {
            assert_eq!(
                check_change_role(
                    Some(&admin()),
                    Target::Myself,
                    &granted,
                    GROUP_OF_THREE,
                    Some(&Role::MEMBER)
                ),
                Err(PermissionError::RoleElevation { granted: granted.name().clone() })
            );
        }
    }

    #[test]
    fn the_last_admin_leaves_alone_or_names_a_successor() {
        let last = Err(PermissionError::LastAdmin);
        assert_eq!(check_leave(Some(&admin()), GROUP_OF_THREE, None), last);
        assert_eq!(check_leave(Some(&admin()), GROUP_OF_THREE, Some(&Role::MEMBER)), Ok(()));
        assert_eq!(check_leave(Some(&admin()), Roster { members: 3, admins: 2 }, None), Ok(()));
        assert_eq!(check_leave(Some(&admin()), Roster { members: 1, admins: 1 }, None), Ok(()));
        assert_eq!(check_leave(Some(&member()), GROUP_OF_THREE, None), Ok(()));
    }

    #[test]
    fn the_last_admin_is_neither_removed_nor_demoted() {
        let last = Err(PermissionError::LastAdmin);
        let target = || Target::Other(Role::ADMIN);
        assert_eq!(check_remove_member(Some(&admin()), &Role::ADMIN, GROUP_OF_THREE), last);
        assert_eq!(check_change_role(Some(&admin()), target(), &Role::MEMBER, GROUP_OF_THREE, None), last);
        assert_eq!(
            check_change_role(Some(&admin()), target(), &Role::MEMBER, GROUP_OF_THREE, Some(&Role::MEMBER)),
            Ok(())
        );
        let two = Roster { members: 3, admins: 2 };
        assert_eq!(check_remove_member(Some(&admin()), &Role::ADMIN, two), Ok(()));
        assert_eq!(check_change_role(Some(&admin()), target(), &Role::MEMBER, two, None), Ok(()));
        assert_eq!(check_change_role(Some(&admin()), target(), &Role::ADMIN, GROUP_OF_THREE, None), Ok(()));
    }

    #[test]
    fn a_role_that_allows_more_is_not_given() {
        assert_eq!(check_grant(&Role::ADMIN, &Role::ADMIN), Ok(()));
        assert_eq!(
            check_grant(&Role::MEMBER, &Role::ADMIN),
            Err(PermissionError::RoleElevation { granted: RoleName::ADMIN })
        );
    }

    #[test]
    fn every_member_sends_but_not_before_the_request_is_accepted() {
        for &conversation_type in ConversationType::ALL {
            let sent = check_send(Some(&Membership { conversation_type, role: Role::MEMBER }));
            match conversation_type {
                ConversationType::Connection => {
                    assert_eq!(sent, Err(PermissionError::NotConnected { user: None }));
                }
                _ => assert_eq!(sent, Ok(())),
            }
        }
    }
}
