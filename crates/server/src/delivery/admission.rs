//! Who is admitted to a conversation: asked when somebody is added, and changed.

use super::{
    access, joins,
    membership::{Proposing, take_out},
};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::Observer,
    storage::{
        WriteTx, accounts, conversations, joins as stored,
        log::{self, Entry, Extra, Kind},
        roles, teams,
    },
};
use tertulia_api::{Code, UserDevice};
use tertulia_domain::{
    ConversationId, RoleName, TeamId, UserId,
    access::{Access, AccessMode, AccessRole, check_change_access},
    account::AccountAction,
    permission::PermissionError,
    policy::{AddPermission, Policy},
    role::Action,
};

/// The class that a user is of, to a conversation of this team or of none.
pub(super) fn class_of(
    connection: &Connection,
    team: Option<TeamId>,
    user: UserId,
) -> Result<AccessRole, ApiError> {
    let own = teams::of(connection, user)?.map(|(own, _)| own);
    Ok(AccessRole::of(accounts::kind(connection, user)?, team.is_some() && own == team))
}

/// Whether a conversation admits these users, who are to be added by a member.
pub(super) fn check_invited(
    connection: &Connection,
    conversation: ConversationId,
    users: impl IntoIterator<Item = UserId>,
) -> Result<(), ApiError> {
    let admitted = stored::access(connection, conversation)?;
    let team = teams::of_conversation(connection, conversation)?;
    for user in users {
        admitted.check(AccessMode::Invite, class_of(connection, team, user)?)?;
    }
    Ok(())
}

/// Of users whom a commit adds, those who do not come by a request of their own. They have to be admitted, and the committer's
/// role to allow it. Whose proof of having the link stands in the policy `after` comes by a request, and by nothing else: it is
/// void if they took it back, or were let in already and are not in the conversation any more.
pub(super) fn not_asking(
    connection: &Connection,
    (conversation, member): (ConversationId, &conversations::Access),
    (before, after): (Option<&Policy>, Option<&Policy>),
    users: &[UserId],
) -> Result<Vec<UserId>, ApiError> {
    let admitted = stored::access(connection, conversation)?;
    let team = teams::of_conversation(connection, conversation)?;
    let everybody_adds = before.is_some_and(|policy| policy.add_permission() == AddPermission::Everyone);
    let mut invited = Vec::new();
    for &user in users {
        let class = class_of(connection, team, user)?;
        if let Some(request) = stored::request(connection, conversation, user)? {
            admitted.check(request.mode(), class)?;
            continue;
        }
        // Where the policy lets everybody in who asks, or who has the link, the user has to have asked.
        if !member.role.allows(Action::AddMember) && !everybody_adds {
            return Err(PermissionError::ActionDenied { action: Action::AddMember }.into());
        }
        if after.is_some_and(|policy| policy.entrance().admitted.contains_key(&user)) {
            return Err(PermissionError::NotAdmitted.into());
        }
        admitted.check(AccessMode::Invite, class)?;
        invited.push(user);
    }
    Ok(invited)
}

/// Changes who is admitted, removes the members who no longer are, and takes back what lets in who is not. Doing so again changes
/// nothing.
pub(crate) fn change_access(
    tx: &WriteTx<'_>,
    observer: &Observer,
    conversation: ConversationId,
    actor: UserDevice,
    wanted: &Access,
    now: i64,
) -> Result<(), ApiError> {
    let own = access(tx, conversation, actor.user)?;
    check_change_access(Some(&own.membership()))?;
    let present = stored::access(tx, conversation)?;
    // To let in more than before is to add others.
    if !wanted.modes().is_subset(present.modes()) || !wanted.roles().is_subset(present.roles()) {
        accounts::kind(tx, actor.user)?.check(AccountAction::AddOthers)?;
    }
    if own.protocol.has_group() && wanted.has(AccessMode::Link) != present.has(AccessMode::Link) {
        let detail = "Whether everybody who asks is let in stands in the conversation's MLS group, and is changed by a commit.";
        return Err(ApiError::new(Code::InvalidOperation, detail));
    }
    let team = teams::of_conversation(tx, conversation)?;
    let mut members = Vec::new();
    for (user, role) in roles::role_names(tx, conversation)? {
        members.push((user, class_of(tx, team, user)?, role == RoleName::ADMIN));
    }
    let gone = wanted.narrowed(&members, actor.user)?;
    if *wanted != present {
        stored::set_access(tx, conversation, wanted)?;
        announce(tx, conversation, Some(actor), wanted, now)?;
    }
    if !wanted.has(AccessMode::Code) {
        stored::revoke_links(tx, conversation)?;
    }
    joins::end_requests(tx, conversation, |request| {
        Ok(wanted.check(request.mode(), class_of(tx, team, request.user)?).is_err())
    })?;
    for user in gone {
        take_out(tx, observer, (conversation, own.kind, own.epoch), user, Proposing::AtOnce, now)?;
    }
    Ok(())
}

pub(super) fn announce(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: Option<UserDevice>,
    access: &Access,
    now: i64,
) -> Result<(), ApiError> {
    let extra = Extra::Access { access: access.modes().clone(), access_roles: access.roles().clone() };
    let entry = Entry { sender: actor, sent_at: now, extra: Some(extra), ..Entry::default() };
    log::append(tx, conversation, Kind::Access, &entry).map(drop)
}
