//! How strangers reach somebody: the bundle that is given out, and the inbox that it leads to.
//!
//! A [`Bundle`] is what a person publishes, or shows as a QR code: who they are, their devices' keys, and where their inbox is. Who has it writes
//! an [`Invitation`] with [`invite`], once for each of the devices. The receiver's [`Inbox`] opens it, checks who has sent it, that it
//! has not expired, and that it has not come before.

mod address;
mod bundle;
mod contact;
mod error;
mod identity;
mod key;
mod qr;
mod replay;
mod text;

pub use address::{ClientAddress, InboxAddress};
pub use bundle::{Bundle, BundleContent, BundleDevice, BundleKey, MAX_BUNDLE, Signer};
pub use contact::{Contact, Inbox, Invitation, MAX_INVITATION_LIFETIME, NewInvitation, invite};
pub use error::{BundleError, InboxError};
pub use identity::{IdentityKey, KEY_DOMAIN, device_address, device_id, user_id};
pub use key::InboxKey;
pub use qr::QrCode;
pub use replay::Replays;
pub use text::PREFIX;

#[cfg(test)]
pub(crate) use address::{ADDRESS_LABEL, IDENTITY_LABEL, INBOX_ID_LABEL};

pub use crate::wire::InvitesTo;
