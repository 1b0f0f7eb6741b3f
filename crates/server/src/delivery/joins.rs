//! Join links, and coming in without being invited.
//!
//! Where there is an MLS group the hub lets nobody in: it finds somebody fit and tells the members, one of whom adds them by a
//! commit. What the members go by is the join link's key and the flag `open` in the group's policy; the hub's own record of
//! either follows the policy, in the transaction of the commit that changes it.

use super::{
    access,
    admission::{announce, class_of},
    membership::check_member_limit,
};
use crate::storage::Connection;
use crate::{
    error::ApiError,
    mls::{Observer, Rejection},
    storage::{
        WriteTx, accounts, conversations, groups,
        joins::{self, Request, StoredLink},
        log::{self, Entry, Extra, Kind},
        roles, teams,
    },
};
use tertulia_api::{
    Base64, Code, UserDevice,
    conversation::Member,
    join::{Joining, Link, LinkPreview},
    join_link::proves,
    policy::decode,
};
use tertulia_domain::{
    ConversationId, Domain, Protocol, RoleName, UserId,
    access::{AccessMode, check_ask, check_change_access},
    account::AccountAction,
    permission::PermissionError,
    policy::{JoinProof, Policy},
};

/// Ends the requests of which this says so.
pub(super) fn end_requests(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    is_void: impl Fn(&Request) -> Result<bool, ApiError>,
) -> Result<(), ApiError> {
    for request in joins::requests(tx, conversation)? {
        if is_void(&request)? {
            joins::end_request(tx, conversation, request.user)?;
        }
    }
    Ok(())
}

/// Ends the requests of a user that are void because the user is of another class now, having come into a team or left one.
pub(super) fn end_unfit(tx: &WriteTx<'_>, user: UserId) -> Result<(), ApiError> {
    for (conversation, request) in joins::requests_of(tx, user)? {
        let class = class_of(tx, teams::of_conversation(tx, conversation)?, user)?;
        if joins::access(tx, conversation)?.check(request.mode(), class).is_err() {
            joins::end_request(tx, conversation, user)?;
        }
    }
    Ok(())
}

/// After a commit that changes how one comes in: the hub's record of the link and of the way `link` is as the policy has it.
pub(super) fn follow_policy(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    actor: UserDevice,
    policy: &Policy,
    now: i64,
) -> Result<(), ApiError> {
    let entrance = policy.entrance();
    let present = joins::access(tx, conversation)?;
    if present.has(AccessMode::Link) != entrance.open {
        let changed = present.with(AccessMode::Link, entrance.open);
        joins::set_access(tx, conversation, &changed)?;
        announce(tx, conversation, Some(actor), &changed, now)?;
    }
    let has_other_link = joins::link_key(tx, conversation)?.is_some_and(|key| Some(key) != entrance.link);
    if has_other_link {
        joins::delete_link(tx, conversation)?;
    }
    if let Some(key) = entrance.link {
        joins::use_prepared_link(tx, conversation, key)?;
    }
    let no_link = has_other_link || entrance.link.is_none();
    end_requests(tx, conversation, |request| {
        Ok(if request.proof.is_some() { no_link } else { !entrance.open })
    })
}

/// Whether the user may give the conversation a link. Asked before its password is hashed, which is the costly part.
pub(crate) fn check_may_link(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
) -> Result<(), ApiError> {
    let own = access(connection, conversation, user)?;
    check_change_access(Some(&own.membership()))?;
    accounts::kind(connection, user)?.check(AccountAction::AddOthers)?;
    if joins::access(connection, conversation)?.has(AccessMode::Code) {
        Ok(())
    } else {
        Err(PermissionError::NotAdmitted.into())
    }
}

/// Gives a conversation a link in the place of the one that it has: at once or, where there is an MLS group whose policy has another key
/// or none, with the commit that puts the key there.
pub(crate) fn put_link(
    tx: &WriteTx<'_>,
    observer: &Observer,
    actor: UserDevice,
    code_hash: [u8; 32],
    link: &StoredLink,
) -> Result<Link, ApiError> {
    let conversation = link.conversation;
    check_may_link(tx, conversation, actor.user)?;
    if access(tx, conversation, actor.user)?.protocol.has_group() {
        let snapshot = groups::snapshot(tx, conversation)?;
        let policy = snapshot.map(|snapshot| observer.policy_of(&snapshot)).transpose()?.flatten();
        let policy = policy.map(|policy| decode(Some(&policy)).map_err(Rejection::from)).transpose()?;
        if policy.and_then(|policy| policy.entrance().link) != Some(link.public_key) {
            check_code(tx, code_hash, conversation)?;
            joins::prepare_link(tx, code_hash, link)?;
            return Ok(shown(link));
        }
    }
    check_code(tx, code_hash, conversation)?;
    let other_key = joins::link_key(tx, conversation)?.is_some_and(|key| key != link.public_key);
    if other_key {
        end_requests(tx, conversation, |request| Ok(request.proof.is_some()))?;
    }
    joins::put_link(tx, code_hash, link)?;
    Ok(shown(link))
}

fn check_code(tx: &WriteTx<'_>, code_hash: [u8; 32], conversation: ConversationId) -> Result<(), ApiError> {
    if joins::is_code_taken(tx, code_hash, conversation)? {
        return Err(ApiError::new(Code::BadRequest, "Another link has this code; make a new one at random."));
    }
    Ok(())
}

/// The conversation's link, for who may change it.
pub(crate) fn show_link(
    connection: &Connection,
    conversation: ConversationId,
    user: UserId,
    now: i64,
) -> Result<Link, ApiError> {
    let own = access(connection, conversation, user)?;
    check_change_access(Some(&own.membership()))?;
    let found = joins::link_of(connection, conversation, now)?;
    found.as_ref().map(shown).ok_or_else(|| Code::NoConversationCode.into())
}

/// Takes the conversation's link back, and with it the requests of who came by it. Doing so again changes nothing.
pub(crate) fn revoke_link(
    tx: &WriteTx<'_>,
    conversation: ConversationId,
    user: UserId,
) -> Result<(), ApiError> {
    let own = access(tx, conversation, user)?;
    check_change_access(Some(&own.membership()))?;
    joins::revoke_links(tx, conversation)?;
    end_requests(tx, conversation, |request| Ok(request.proof.is_some()))
}

fn shown(link: &StoredLink) -> Link {
    Link {
        public_key: Base64(link.public_key.to_vec()),
        has_password: link.password.is_some(),
        expires_at: link.expires_at,
    }
}

/// What who has a link may know.
pub(crate) fn preview(connection: &Connection, link: &StoredLink) -> Result<LinkPreview, ApiError> {
    let conversation = link.conversation;
    let entrance = joins::entrance(connection, conversation)?.ok_or(Code::NoConversationCode)?;
    let members = conversations::roster(connection, conversation)?.members;
    let Link { has_password, expires_at, .. } = shown(link);
    Ok(LinkPreview { conversation, kind: entrance.kind, members: members as u64, has_password, expires_at })
}

/// Who comes in by a link, with what was found out about it before the transaction.
pub(crate) struct ByLink {
    pub(crate) user: UserId,
    pub(crate) code_hash: [u8; 32],
    /// As it was when the password was verified.
    pub(crate) link: StoredLink,
    pub(crate) proof: JoinProof,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// Lets a user in by a link, or notes that they are to be let in.
pub(crate) fn join_by_link(tx: &WriteTx<'_>, domain: &Domain, by: &ByLink) -> Result<Joining, ApiError> {
    let ByLink { user, code_hash, ref link, proof, now } = *by;
    // One that was taken back or replaced since is none.
    if joins::link_by_code(tx, code_hash, now)?.as_ref() != Some(link) {
        return Err(Code::NoConversationCode.into());
    }
    let id = link.conversation;
    let entrance = joins::entrance(tx, id)?.ok_or(Code::NoConversationCode)?;
    let team = teams::of_conversation(tx, id)?;
    if roles::role_of(tx, id, user)?.is_some() {
        return Ok(Joining { conversation: id, joined: true });
    }
    entrance.access.check(AccessMode::Code, class_of(tx, team, user)?)?;
    if !proves(&proof, &link.public_key, id, user, domain) {
        return Err(Code::InvalidJoinProof.into());
    }
    enter(tx, id, entrance.protocol, Request { user, proof: Some(proof) }, now)
}

/// Lets a user in who knows the conversation's id, or notes that they are to be let in.
pub(crate) fn join_by_id(
    tx: &WriteTx<'_>,
    id: ConversationId,
    user: UserId,
    now: i64,
) -> Result<Joining, ApiError> {
    let entrance = joins::entrance(tx, id)?.ok_or(PermissionError::NoConversation)?;
    if entrance.kind.is_managed() && roles::role_of(tx, id, user)?.is_some() {
        return Ok(Joining { conversation: id, joined: true });
    }
    let team = teams::of_conversation(tx, id)?;
    check_ask(entrance.kind, &entrance.access, class_of(tx, team, user)?)?;
    enter(tx, id, entrance.protocol, Request { user, proof: None }, now)
}

/// Without a group there is nobody to ask. Blocks between the user and the members are not looked at, as nowhere where a third
/// person lets somebody in: an error would tell of them.
fn enter(
    tx: &WriteTx<'_>,
    id: ConversationId,
    protocol: Protocol,
    request: Request,
    now: i64,
) -> Result<Joining, ApiError> {
    let user = request.user;
    check_member_limit(tx, id, protocol, 1)?;
    if protocol == Protocol::Pairwise {
        conversations::join(tx, id, user, &RoleName::MEMBER, now)?;
        let joined = vec![conversations::as_member(tx, user, RoleName::MEMBER)?];
        let extra = Some(Extra::Members { joined, left: Vec::new() });
        let entry = Entry { sent_at: now, extra, ..Entry::default() };
        log::append(tx, id, Kind::Members, &entry)?;
        return Ok(Joining { conversation: id, joined: true });
    }
    if joins::insert_request(tx, id, request, now)? {
        let Member { handle, .. } = conversations::as_member(tx, user, RoleName::MEMBER)?;
        let proof = request.proof.map(|proof| Base64(proof.to_vec()));
        let extra = Some(Extra::JoinRequest { user, handle, proof });
        let (_, epoch) = groups::current(tx, id)?;
        let entry = Entry { epoch: Some(epoch), sent_at: now, extra, ..Entry::default() };
        log::append(tx, id, Kind::JoinRequest, &entry)?;
    }
    Ok(Joining { conversation: id, joined: false })
}

/// Takes one's own request back. Doing so again changes nothing.
///
/// The members are told: a device that has heard of the request and not acted on it would add the user, and if its user could invite
/// them as well, nobody could tell that it does so for a request that is none any more.
pub(crate) fn cancel(tx: &WriteTx<'_>, id: ConversationId, user: UserId, now: i64) -> Result<(), ApiError> {
    if joins::end_request(tx, id, user)? {
        let extra = Some(Extra::JoinWithdrawn { withdrawn: user });
        log::append(tx, id, Kind::JoinWithdrawn, &Entry { sent_at: now, extra, ..Entry::default() })?;
    }
    Ok(())
}
