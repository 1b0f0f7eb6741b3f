//! Devices that are removed from an account.

use super::subconversations;
use crate::{
    error::ApiError,
    mls::Observer,
    storage::{WriteTx, devices, groups, removals},
};
use tertulia_api::UserDevice;
use tertulia_domain::ConversationType;

/// Removes a device: its sessions end, its key packages go, and it is to be proposed to [remove](crate::removals) it from every group
/// that it is in. `false` if the user has no such device.
pub(crate) fn remove(
    tx: &WriteTx<'_>,
    observer: &Observer,
    address: UserDevice,
    now: i64,
) -> Result<bool, ApiError> {
    if !devices::remove(tx, address, now)? {
        return Ok(false);
    }
    for (conversation, kind) in groups::of_device(tx, address)? {
        if kind == ConversationType::Subconversation {
            subconversations::take_out(tx, observer, conversation, address, now)?;
        } else {
            removals::insert(tx, conversation)?;
        }
    }
    // What it has proposed for itself, or somebody else for it, is void.
    for conversation in groups::with_proposals(tx, address.user)? {
        removals::insert(tx, conversation)?;
    }
    Ok(true)
}
