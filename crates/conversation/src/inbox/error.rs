use crate::wire::{Unsupported, WireError};

/// Why there is no bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text does not begin as bundles do. Ask for a text that begins with `tertulia_intro_1_`.
    #[error("a bundle is a text that begins with tertulia_intro_1_")]
    Prefix,
    /// The text is of a later version. Update this program to use it.
    #[error("this is a bundle of the version {version}, which this program does not know")]
    Version {
        /// The version.
        version: u32,
    },
    /// The text was cut or changed. Copy it again, as a whole.
    #[error("the text of the bundle is not Base64: it was cut or changed")]
    Base64,
    /// The bytes are not a bundle. Ask for it again.
    #[error("not a bundle: {0}")]
    Malformed(#[from] WireError),
    /// The bundle has something that a later version understands. Update this program to use it.
    #[error("this program is too old for the bundle: {0}")]
    Unsupported(#[from] Unsupported),
    /// A signature in it is not that of the key that it should be of. Do not use it: somebody has changed it.
    #[error("the {what} is not signed by the {by}")]
    Signature {
        /// What is signed.
        what: &'static str,
        /// Who should have signed it.
        by: &'static str,
    },
    /// The inbox address is not the one of the identity. Do not use it: it would lead to somebody else.
    #[error("the inbox address does not belong to the identity key")]
    InboxAddress,
    /// It has expired. Ask for a new one.
    #[error("the bundle has expired")]
    Expired,
    /// It has no device, or more than a user can have. Make it with 1 to 8.
    #[error("a bundle has 1 to {max} devices, got {got}")]
    Devices {
        /// How many it has.
        got: usize,
        /// The most.
        max: usize,
    },
    /// A device has more one-time keys than a bundle takes. Give it fewer.
    #[error("a device has at most {max} one-time keys in a bundle, got {got}")]
    OneTimeKeys {
        /// How many it has.
        got: usize,
        /// The most.
        max: usize,
    },
    /// The key did not sign. See what it says.
    #[error("a key could not sign")]
    Signing,
    /// It is too long for a QR code. Give it fewer one-time keys or no key package, or hand out its text.
    #[error("a QR code has room for {max} characters, and the bundle has {got}")]
    TooLongForQr {
        /// Characters of the bundle's text.
        got: usize,
        /// The most.
        max: usize,
    },
}

/// Why an invitation is not sent, or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InboxError {
    /// The sender's or the receiver's bundle is not in order. See the error inside; drop what came.
    #[error("the bundle is not in order: {0}")]
    Bundle(#[from] BundleError),
    /// The bundle has no such device. Name one that it has.
    #[error("the bundle has no device {index}")]
    NoDevice {
        /// The device that was named.
        index: usize,
    },
    /// The envelope or its content is not in order. Drop it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The invitation was not signed by the device of the sender's bundle, or for somebody else. Drop it.
    #[error("the invitation is not signed by its sender for this receiver")]
    Signature,
    /// It has expired. Drop it.
    #[error("the invitation has expired")]
    Expired,
    /// It would be valid for longer than any may be. Drop what came; give it at most 30 days.
    #[error("the invitation would be valid for {seconds} seconds, the most is {max}")]
    TooLong {
        /// How long, from now on.
        seconds: u64,
        /// The most.
        max: u64,
    },
    /// It has come before, or so many of its sender have come meanwhile that this cannot be told. Drop it.
    #[error("the invitation has come before")]
    Replayed,
    /// A key of the receiver is not fit for use. Ask for another bundle.
    #[error("a key of the receiver is not fit for use")]
    UnfitKey,
}
