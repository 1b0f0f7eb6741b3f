//! Who is to be added, checked before a commit is made.

use std::collections::HashSet;

use mls_rs::{MlsMessage, group::proposal::Proposal, time::MlsTime};

use crate::{
    ClientId, EngineError, KeyPackage, Result, SessionConfig, conversation::ciphersuite,
    identity::client_id_of, provider::MlsGroup, rules::is_carried_out,
};

/// Refuses, each with an error of its own, key packages of another ciphersuite, expired or too long-lived ones, clients that
/// are members and not to be removed, and a client that would be added twice: it is named twice, or the pending proposals,
/// which go along, add it. The rest is the library's to check.
pub(super) fn check(
    config: &SessionConfig,
    group: &MlsGroup,
    add: &[KeyPackage],
    remove: &[ClientId],
) -> Result<Vec<MlsMessage>> {
    let policy = &*config.client_id_policy;
    let suite = ciphersuite(group)?;
    let now = MlsTime::now().seconds_since_epoch();
    let removed = remove.iter().map(|client| policy.canonical(client)).collect::<Result<HashSet<_>, _>>()?;
    let mut seen = HashSet::with_capacity(add.len());
    for cached in group.get_cached_proposals() {
        if let Proposal::Add(proposed) = cached.proposal()
            && is_carried_out(config.group_rules.as_deref(), group, cached.proposal(), *cached.sender())
        {
            seen.extend(
                client_id_of(proposed.signing_identity()).and_then(|client| policy.canonical(&client)),
            );
        }
    }
    let mut messages = Vec::with_capacity(add.len());
    for package in add {
        package.ciphersuite().check_is(suite)?;
        messages.push(package.checked_message(now)?);
        let client = policy.canonical(package.client_id())?;
        if !removed.contains(&client) && group.member_with_identity(client.as_bytes()).is_ok() {
            return Err(EngineError::AlreadyMember(package.client_id().clone()));
        }
        if !seen.insert(client) {
            return Err(EngineError::AddedTwice(package.client_id().clone()));
        }
    }
    Ok(messages)
}
