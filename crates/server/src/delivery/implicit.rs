//! The 1:1 of two members of one team. It exists without being created: before its first commit the hub has nothing of it,
//! and knows it by its id, which is derived from the two.

use crate::storage::Connection;
use crate::{
    error::ApiError,
    storage::{
        WriteTx,
        conversations::{self, Access},
        teams,
    },
};
use std::collections::BTreeSet;
use tertulia_api::{
    conversation::{Conversation, Member},
    setting::Settings,
    team::TeamMember,
};
use tertulia_domain::{
    ConversationId, ConversationType, Domain, Handshake, Protocol, Role, RoleName, UserId,
};

/// The 1:1 of this id as the user sees it, if it is that of the user and a team mate and nothing of it is stored yet.
pub(crate) fn show(
    db: &Connection,
    domain: &Domain,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Conversation>, ApiError> {
    let Some((me, mate)) = find(db, domain, user, id)? else { return Ok(None) };
    let created_at = me.joined_at.max(mate.joined_at);
    let member = |TeamMember { user, handle, kind, .. }: TeamMember| Member {
        user,
        handle,
        role: RoleName::ADMIN,
        kind,
    };
    Ok(Some(Conversation {
        conversation: id,
        kind: ConversationType::OneToOne,
        members: vec![member(me), member(mate)],
        group_id: id.as_bytes().to_vec().into(),
        epoch: 0,
        protocol: Protocol::Mls,
        created_at,
        creator: None,
        team: None,
        access: BTreeSet::new(),
        access_roles: BTreeSet::new(),
        name: None,
        roles: Vec::new(),
        handshake: Handshake::Plaintext,
        subconversation: None,
        settings: Settings::default(),
        parent: None,
    }))
}

/// The 1:1 of this id as its delivery sees it, under the same conditions as [`show`]. Either of the two may send in it.
pub(super) fn access(
    db: &Connection,
    domain: &Domain,
    user: UserId,
    id: ConversationId,
) -> Result<Option<Access>, ApiError> {
    Ok(show(db, domain, user, id)?.map(|shown| Access {
        kind: shown.kind,
        protocol: shown.protocol,
        handshake: shown.handshake,
        group_id: shown.group_id.0,
        epoch: shown.epoch,
        role: Role::ADMIN,
        parent: None,
    }))
}

/// Stores the 1:1 of this id, with both in it, if [`show`] would show it.
pub(crate) fn store(
    tx: &WriteTx<'_>,
    domain: &Domain,
    user: UserId,
    id: ConversationId,
    now: i64,
) -> Result<(), ApiError> {
    match find(tx, domain, user, id)? {
        Some((me, mate)) => open(tx, id, me.user, mate.user, now),
        None => Ok(()),
    }
}

/// Puts both into their 1:1, which is created if there is none.
pub(super) fn open(
    tx: &WriteTx<'_>,
    id: ConversationId,
    a: UserId,
    b: UserId,
    now: i64,
) -> Result<(), ApiError> {
    conversations::create_one_to_one(tx, id, a, now)?;
    conversations::set_type(tx, id, ConversationType::OneToOne)?;
    for user in [a, b] {
        conversations::join(tx, id, user, &RoleName::ADMIN, now)?;
    }
    Ok(())
}

/// The user and the team mate whose 1:1 has this id, unless it is stored. A team is small enough to try all.
fn find(
    db: &Connection,
    domain: &Domain,
    user: UserId,
    id: ConversationId,
) -> Result<Option<(TeamMember, TeamMember)>, ApiError> {
    if conversations::exists(db, id)? {
        return Ok(None);
    }
    let Some((team, _)) = teams::of(db, user)? else { return Ok(None) };
    let Some(me) = teams::member_of(db, team, user)? else { return Ok(None) };
    let mate = teams::members(db, team)?.into_iter().find(|mate| {
        mate.user != user && ConversationId::one_to_one((&user, domain), (&mate.user, domain)).id == id
    });
    Ok(mate.map(|mate| (me, mate)))
}
