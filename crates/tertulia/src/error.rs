//! What the SDK's calls can fail with.

use crate::{own_types::TypeError, rules::Refusal};
use tertulia_api::Code;
use tertulia_content::{ContentError, InvalidContent};
use tertulia_conversation::{
    hint::HintError,
    inbox::{BundleError, InboxError},
    types::RegistryError,
    wire::WireError,
};
use tertulia_domain::{ConversationId, Handle, policy::Violation, settings::MessageTimerError};
use tertulia_mls::{EngineError, RejectReason};
use tertulia_ratchet::RatchetError;
use tertulia_store::StoreError;
use tertulia_transport::TransportError;
use url::Url;

/// The result of an SDK call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who can do something about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The call was wrong, or the rules forbid it as things are. Change the call, or tell the person.
    Misuse,
    /// The hub or another member sent what they must not send. Nothing was changed by it.
    Peer,
    /// The home on this device is missing, locked or damaged.
    LocalState,
    /// It can work later: the hub is away or busy.
    Transient,
}

/// An error of the SDK. [`Error::code`] is stable and meant for programs, the text for people.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The home belongs to an account already. Choose another home for another account.
    #[error("this home belongs to @{handle} already")]
    HomeInUse {
        /// Whose it is.
        handle: String,
    },
    /// Nobody has signed up or logged in with this home. Do one of them first.
    #[error("nobody is signed in here; sign up or log in first")]
    NotSignedIn,
    /// The home has no account, and this takes one at a hub. Offer to make one in another home: sign up or log in there.
    #[error("this takes an account at a hub, and this home has none; sign up or log in with another home")]
    NoAccount,
    /// The home has an account at a hub, and this is for homes without one. Make another home with `init` and a relay.
    #[error("this home has an account at a hub; make another home without an account for this")]
    HasAccount,
    /// There is nothing that could carry envelopes. Name at least one relay.
    #[error("there is no relay that could carry it; name at least one")]
    NoCarrier,
    /// None of the carriers has an order for all, so that nobody could decide between changes of a group. Name a relay.
    #[error("a group takes a relay that orders its changes; name one")]
    NoOrder,
    /// A Welcome is for another group than its invitation, or by somebody else. Drop it, as the SDK has done.
    #[error("a Welcome does not fit its invitation")]
    ForeignGroup,
    /// A Welcome leads into an epoch in which this device was before, or that is older. Drop it, as the SDK has done: whoever adds this device anew sends another.
    #[error("a Welcome leads back into an epoch that is over")]
    OldWelcome,
    /// A conversation of this type cannot have so many members. Make several.
    #[error("a conversation of this type has {max} members at most, and this would make {count}")]
    TooManyMembers {
        /// How many there would be.
        count: usize,
        /// The most.
        max: usize,
    },
    /// The conversation is of a type that this version does not know. Update the application.
    #[error("the conversation is of the type {number}, which this version does not know")]
    UnknownType {
        /// The type's number.
        number: u16,
    },
    /// A type of the application's own cannot be used. See the error inside.
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The application has not registered the type with this client. Call `with_type` before the home is opened.
    #[error("the type {title} is not registered with this client")]
    TypeNotRegistered {
        /// The type.
        title: &'static str,
    },
    /// The conversation is of another type. Send frames of its own type in it, and texts where it is of none of an application's own.
    #[error("the conversation is of the type {of}, and {got} is not said in it")]
    OtherType {
        /// The conversation.
        conversation: ConversationId,
        /// What it is.
        of: String,
        /// What was to be sent.
        got: String,
    },
    /// The frame is none that its own type reads, or is too long. Correct how the type writes it.
    #[error("the frame cannot be sent: {0}")]
    InvalidFrame(WireError),
    /// A conversation of this type has more members. Name more.
    #[error("a conversation of this type has {min} members at least, and this would make {count}")]
    TooFewMembers {
        /// How many there would be.
        count: usize,
        /// The fewest.
        min: usize,
    },
    /// It is no bundle, it was changed, or it has expired. Ask for a new one.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The invitation cannot be made. See the error inside.
    #[error(transparent)]
    Invitation(#[from] InboxError),
    /// The bundle is this home's own. Give it to somebody else, and take theirs.
    #[error("this is what you show of yourself; take what somebody else shows")]
    OwnBundle,
    /// Somebody else is called that here. Choose another name.
    #[error("@{handle} is somebody else here; choose another name")]
    NameTaken {
        /// The name.
        handle: Handle,
    },
    /// One does not ask whom one has blocked. Take the block back first.
    #[error("you have blocked @{handle}; unblock them first")]
    BlockedByYou {
        /// Who.
        handle: Handle,
    },
    /// The request was not answered in time. Ask yourself: `meet` with what they show.
    #[error("the request of @{handle} has expired; ask them, with what they show of themselves")]
    RequestExpired {
        /// Who has asked.
        handle: Handle,
    },
    /// The hints of a conversation do not allow it. See the error inside.
    #[error(transparent)]
    Hints(HintError),
    /// This device was removed from its account, or the account was deleted. Show what the home still holds, and tell the user
    /// that this home can be signed in with no more: another home can log in as a new device.
    #[error("this device was removed from the account; log in with another home to make a new device")]
    DeviceRemoved,
    /// The handle cannot be one. Tell the person what handles are made of.
    #[error("{0}")]
    InvalidHandle(#[from] tertulia_domain::ids::HandleError),
    /// The name cannot be a conversation's. Ask for another.
    #[error("{0}")]
    InvalidName(#[from] tertulia_domain::ConversationNameError),
    /// The name cannot be a subconversation's. Use another.
    #[error("{0}")]
    InvalidSubconversationName(#[from] tertulia_domain::subconversation::SubconversationNameError),
    /// No conversation is known by that id or name. Synchronise, or show the list of conversations.
    #[error("there is no conversation \"{target}\" here")]
    UnknownTarget {
        /// What was looked for.
        target: String,
    },
    /// Several conversations have that name. Use the id of one of them.
    #[error("{count} conversations are called \"{target}\"; use the id of one of them")]
    AmbiguousTarget {
        /// What was looked for.
        target: String,
        /// How many have that name.
        count: usize,
    },
    /// This device is no member of the conversation any more. Show what is kept of it; a member can add the user again.
    #[error("this device is not in that conversation any more")]
    NotAMember {
        /// The conversation.
        conversation: ConversationId,
    },
    /// The two users are not connected, as far as this home knows. Ask for a connection, or wait for the answer.
    #[error("you and @{handle} are not connected")]
    NotConnected {
        /// The other user.
        handle: Handle,
    },
    /// The named user is no member of the conversation. Show the members.
    #[error("@{handle} is not a member of that conversation")]
    NoSuchMember {
        /// The user.
        handle: Handle,
    },
    /// None of the user's devices can be added: none is registered, or their key packages have expired. Try again when one
    /// of them has synchronised.
    #[error("{} has no device that could be added", handle.as_ref().map_or_else(|| "that user".to_owned(), |handle| format!("@{handle}")))]
    NoDevices {
        /// The user, if known here.
        handle: Option<Handle>,
    },
    /// Only groups have members, roles and a name that can be changed. Do not offer it for this conversation.
    #[error("a conversation of this type has no members, roles or name to change")]
    NotAGroup,
    /// A group's protocol is chosen when it is made. Do not offer it for this conversation.
    #[error("only in a conversation of two can it be chosen that messages go from device to device")]
    NotAOneToOne,
    /// There is no role of that name in the conversation. Offer those that there are.
    #[error("there is no role \"{role}\"")]
    UnknownRole {
        /// What was asked for.
        role: String,
    },
    /// The conversation's rules do not allow this user to do that. Tell the person.
    #[error("{}", not_allowed(violation))]
    NotAllowed {
        /// The rule.
        violation: Violation,
    },
    /// This device keeps out of the conversation, since the hub has let something pass that its rules forbid. Show the person what
    /// [`Client::suspicions`](crate::Client::suspicions) has; [`Client::trust`](crate::Client::trust) goes back in.
    #[error("the hub has let a forbidden change of that conversation pass; this device keeps out of it")]
    Distrusted {
        /// The conversation.
        conversation: ConversationId,
    },
    /// The join link is into a conversation of another hub. Use an account there.
    #[error("the join link is of another hub, {hub}")]
    LinkOfOtherHub {
        /// Its address.
        hub: Url,
    },
    /// Another member has made a join link at the same time, and theirs took this one's place. Use theirs, or make another one.
    #[error("another member has made a join link of that conversation since, which took this one's place")]
    LinkReplaced {
        /// The conversation.
        conversation: ConversationId,
    },
    /// One leaves a conversation, one does not remove oneself from it. Call `leave`.
    #[error("one cannot remove oneself; leave the conversation instead")]
    LeaveInstead,
    /// Nobody was named whom the change is about. Name at least one user.
    #[error("name at least one user")]
    NobodyNamed,
    /// A text must have something in it. Do not send it.
    #[error("there is no text to send")]
    EmptyText,
    /// The text does not fit into one message. Send it in parts.
    #[error("the text has {size} bytes, the most is {max}")]
    TextTooLong {
        /// Its bytes.
        size: usize,
        /// The most.
        max: usize,
    },
    /// What the user's other devices are to know does not fit. Send less.
    #[error("what is for the user's other devices has {size} bytes, the most is {max}")]
    PayloadTooLong {
        /// Its bytes.
        size: usize,
        /// The most.
        max: usize,
    },
    /// The message is safe in this home and is sent by the next synchronisation. Do not send it again; show that it waits.
    #[error("the message is queued and will be sent as soon as the hub can be reached ({cause})")]
    Queued {
        /// Why it could not be sent now.
        cause: Box<Error>,
    },
    /// Another process of this home took the message from the outbox, and the hub refused it. Show that it was not sent;
    /// that process has the reason.
    #[error("another process of this home tried to send the message, and the hub refused it")]
    DeliveredElsewhere,
    /// Other devices kept changing the group first. Try again a little later.
    #[error("other devices changed the group first, {attempts} times in a row; try again")]
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
    /// The hub names another group than the one that belongs to the conversation. Do not go on with this hub; tell the user.
    #[error("the hub's answer does not fit the conversation: {what}")]
    UntrustworthyHub {
        /// What does not fit.
        what: &'static str,
    },
    /// The time for which messages are to stay is too short or too long. Choose one within the bounds.
    #[error(transparent)]
    InvalidTimer(#[from] MessageTimerError),
    /// A message asks to be deleted at a time that is more than a year off. Drop it, as the SDK has done.
    #[error("a message is to be deleted at a time that is more than a year off")]
    ImplausibleExpiry,
    /// What was decrypted names another author or another conversation than MLS does. Drop it, as the SDK has done.
    #[error("a message names an author or a conversation that is not its own")]
    MisattributedContent,
    /// A call to the hub failed, or the hub refused. The code says which and what to do; what is transient can be tried
    /// again.
    #[error(transparent)]
    Hub(TransportError),
    /// The hub refused a change of a group. The table of the hub's codes says what to do.
    #[error("{detail}")]
    Refused {
        /// The hub's stable code.
        code: String,
        /// Its sentence.
        detail: String,
    },
    /// The MLS engine failed. See the error inside.
    #[error(transparent)]
    Engine(EngineError),
    /// Devices of members are not in the MLS group, and have nothing with which they could be added. The conversation stays as it
    /// is; try again when they have synchronised, or when those that are not used any more were removed.
    #[error("{count} devices of members are not in the group yet; try again when they have synchronised")]
    DevicesOutside {
        /// How many.
        count: usize,
    },
    /// The pairwise sessions failed. See the error inside.
    #[error(transparent)]
    Ratchet(RatchetError),
    /// The store failed. See the error inside.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was decrypted is not a message. Show a gap: a later version may read it.
    #[error("a message is not in a form that this version can read")]
    Content(#[from] ContentError),
    /// The message cannot be written in the format. Change it before it is sent.
    #[error("the message cannot be put into the message format: {0}")]
    InvalidContent(#[from] InvalidContent),
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        match error.hub_code() {
            Some(Code::DeviceRemoved) => Self::DeviceRemoved,
            _ => Self::Hub(error),
        }
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => Self::Store(error),
            EngineError::CommitRejected(RejectReason::Refused { code, .. })
                if code == Code::DeviceRemoved.as_str() =>
            {
                Self::DeviceRemoved
            }
            EngineError::CommitRejected(RejectReason::Refused { code, detail }) => {
                Self::Refused { code, detail }
            }
            EngineError::AgainstTheRules(violation) => match violation.reason::<Refusal>() {
                Some(Refusal::Violation(violation)) => Self::NotAllowed { violation: violation.clone() },
                _ => Self::Engine(EngineError::AgainstTheRules(violation)),
            },
            other => Self::Engine(other),
        }
    }
}

impl From<RatchetError> for Error {
    fn from(error: RatchetError) -> Self {
        match error {
            RatchetError::Store(error) => Self::Store(error),
            other => Self::Ratchet(other),
        }
    }
}

impl Error {
    /// The stable code. For what the hub refused it is the hub's code.
    pub fn code(&self) -> &str {
        match self {
            Self::HomeInUse { .. } => "home-in-use",
            Self::NotSignedIn => "not-signed-in",
            Self::NoAccount => "no-account",
            Self::HasAccount => "has-account",
            Self::NoCarrier => "no-carrier",
            Self::NoOrder => "no-order",
            Self::ForeignGroup => "foreign-group",
            Self::OldWelcome => "old-welcome",
            Self::TooManyMembers { .. } => "too-many-members",
            Self::UnknownType { .. } => "unknown-type",
            Self::Type(error) => type_code(error),
            Self::TypeNotRegistered { .. } => "type-not-registered",
            Self::OtherType { .. } => "other-type",
            Self::InvalidFrame(_) => "invalid-frame",
            Self::TooFewMembers { .. } => "too-few-members",
            Self::Bundle(BundleError::Expired) => "expired-bundle",
            Self::Bundle(_) | Self::Invitation(_) => "invalid-bundle",
            Self::OwnBundle => "own-bundle",
            Self::NameTaken { .. } => "name-taken",
            Self::BlockedByYou { .. } => Code::BadConnectionUpdate.as_str(),
            Self::RequestExpired { .. } => "request-expired",
            Self::Hints(error) => hints_code(error),
            Self::DeviceRemoved => Code::DeviceRemoved.as_str(),
            Self::InvalidHandle(_) => Code::InvalidHandle.as_str(),
            Self::InvalidName(_) | Self::InvalidSubconversationName(_) => "invalid-name",
            Self::UnknownTarget { .. } => "unknown-target",
            Self::AmbiguousTarget { .. } => "ambiguous-target",
            Self::NotAMember { .. } => Code::NoConversation.as_str(),
            Self::NotConnected { .. } => Code::NotConnected.as_str(),
            Self::NoSuchMember { .. } => "no-such-member",
            Self::NoDevices { .. } => "no-devices",
            Self::NotAGroup | Self::NotAOneToOne => Code::InvalidOperation.as_str(),
            Self::UnknownRole { .. } => Code::UnknownRole.as_str(),
            Self::NotAllowed { violation } => match violation {
                Violation::ActionDenied { .. } => Code::ActionDenied.as_str(),
                Violation::RoleElevation { .. } => Code::RoleElevation.as_str(),
                Violation::LastAdmin => Code::LastAdmin.as_str(),
                _ => Code::InvalidCommit.as_str(),
            },
            Self::Distrusted { .. } => "distrusted",
            Self::LinkOfOtherHub { .. } => "link-of-other-hub",
            Self::LinkReplaced { .. } => "link-replaced",
            Self::LeaveInstead => "leave-instead",
            Self::NobodyNamed => "nobody-named",
            Self::EmptyText => "empty-text",
            Self::TextTooLong { .. } => "text-too-long",
            Self::PayloadTooLong { .. } => "payload-too-long",
            Self::Queued { .. } => "queued",
            Self::DeliveredElsewhere => "refused-elsewhere",
            Self::Contended { .. } => "contended",
            Self::UntrustworthyHub { .. } => "untrustworthy-hub",
            Self::Hub(error) => error.code(),
            Self::Refused { code, .. } => code,
            Self::Engine(error) => engine_code(error),
            Self::DevicesOutside { .. } => "devices-outside",
            Self::Ratchet(error) => ratchet_code(error),
            Self::Store(error) => error.code(),
            Self::InvalidTimer(_) => "invalid-timer",
            Self::ImplausibleExpiry => "implausible-expiry",
            Self::MisattributedContent => "misattributed-content",
            Self::Content(_) => "unreadable-content",
            Self::InvalidContent(_) => "invalid-content",
        }
    }

    /// Who can do something about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::HomeInUse { .. }
            | Self::NotSignedIn
            | Self::NoAccount
            | Self::HasAccount
            | Self::NoCarrier
            | Self::NoOrder
            | Self::TooManyMembers { .. }
            | Self::UnknownType { .. }
            | Self::Type(_)
            | Self::TypeNotRegistered { .. }
            | Self::OtherType { .. }
            | Self::InvalidFrame(_)
            | Self::TooFewMembers { .. }
            | Self::Bundle(_)
            | Self::Invitation(_)
            | Self::OwnBundle
            | Self::NameTaken { .. }
            | Self::BlockedByYou { .. }
            | Self::RequestExpired { .. }
            | Self::DeviceRemoved
            | Self::InvalidHandle(_)
            | Self::InvalidName(_)
            | Self::InvalidSubconversationName(_)
            | Self::UnknownTarget { .. }
            | Self::AmbiguousTarget { .. }
            | Self::NotAMember { .. }
            | Self::NotConnected { .. }
            | Self::NoSuchMember { .. }
            | Self::NoDevices { .. }
            | Self::NotAGroup
            | Self::NotAOneToOne
            | Self::UnknownRole { .. }
            | Self::NotAllowed { .. }
            | Self::LinkOfOtherHub { .. }
            | Self::LinkReplaced { .. }
            | Self::LeaveInstead
            | Self::NobodyNamed
            | Self::EmptyText
            | Self::TextTooLong { .. }
            | Self::PayloadTooLong { .. }
            | Self::InvalidTimer(_)
            | Self::DeliveredElsewhere
            | Self::Refused { .. }
            | Self::InvalidContent(_) => ErrorKind::Misuse,
            Self::UntrustworthyHub { .. }
            | Self::ForeignGroup
            | Self::OldWelcome
            | Self::Distrusted { .. }
            | Self::Content(_)
            | Self::ImplausibleExpiry
            | Self::MisattributedContent => ErrorKind::Peer,
            Self::Queued { .. } | Self::Contended { .. } | Self::DevicesOutside { .. } => {
                ErrorKind::Transient
            }
            Self::Ratchet(RatchetError::TooLong { .. }) => ErrorKind::Misuse,
            Self::Ratchet(RatchetError::Damaged { .. } | RatchetError::Signing(_)) => ErrorKind::LocalState,
            Self::Ratchet(RatchetError::NoKeys | RatchetError::NoSession) => ErrorKind::Transient,
            Self::Ratchet(_) => ErrorKind::Peer,
            Self::Hints(HintError::Frame(_)) => ErrorKind::Misuse,
            Self::Hints(HintError::Restored(_)) => ErrorKind::Transient,
            Self::Hints(_) => ErrorKind::LocalState,
            Self::Hub(error) if error.is_transient() => ErrorKind::Transient,
            Self::Hub(TransportError::Protocol { .. }) => ErrorKind::Peer,
            Self::Hub(_) => ErrorKind::Misuse,
            Self::Engine(error) => match error.kind() {
                tertulia_mls::ErrorKind::Misuse => ErrorKind::Misuse,
                tertulia_mls::ErrorKind::Peer => ErrorKind::Peer,
                tertulia_mls::ErrorKind::Transient => ErrorKind::Transient,
                _ => ErrorKind::LocalState,
            },
            Self::Store(error) => match error.kind() {
                tertulia_store::ErrorKind::Misuse => ErrorKind::Misuse,
                tertulia_store::ErrorKind::Transient => ErrorKind::Transient,
                _ => ErrorKind::LocalState,
            },
        }
    }

    /// What is stored of a request cannot be read.
    pub(crate) const fn damaged_request() -> Self {
        Self::Store(StoreError::Damaged { what: "a request" })
    }

    /// The hub's code, when it was the hub that refused.
    pub(crate) fn hub_code(&self) -> Option<Code> {
        match self {
            Self::Hub(error) => error.hub_code(),
            Self::DeviceRemoved => Some(Code::DeviceRemoved),
            Self::Refused { code, .. } => code.parse().ok(),
            _ => None,
        }
    }
}

/// What an application can tell apart of the errors of types; the rest is in the text.
const fn type_code(error: &TypeError) -> &'static str {
    match error {
        TypeError::Registry(RegistryError::Reserved { .. }) => "reserved-type",
        TypeError::Registry(RegistryError::Incomplete { .. }) => "incomplete-type",
        TypeError::Registry(_) => "type-taken",
        TypeError::NotCarried { .. } => "type-not-carried",
    }
}

/// What an application can tell apart of the errors of pairwise sessions; the rest is in the text.
const fn ratchet_code(error: &RatchetError) -> &'static str {
    match error {
        RatchetError::TooLong { .. } => "text-too-long",
        RatchetError::Damaged { .. } | RatchetError::Signing(_) => "damaged-sessions",
        RatchetError::NoKeys | RatchetError::NoSession => "no-session",
        RatchetError::UntrustedKey | RatchetError::KeysChanged | RatchetError::UnfitKey => "untrusted-device",
        _ => "invalid-message",
    }
}

/// What an application can tell apart of the errors of hints; the rest is in the text.
const fn hints_code(error: &HintError) -> &'static str {
    match error {
        HintError::Frame(_) => "text-too-long",
        HintError::Restored(_) => "home-restored",
        _ => "damaged-conversation",
    }
}

/// A rule as who is bound by it hears it.
fn not_allowed(violation: &Violation) -> String {
    match violation {
        Violation::ActionDenied { action, .. } => {
            format!("your role in this conversation does not allow {action}")
        }
        Violation::RoleElevation { granted, .. } => {
            format!("you cannot give the role {granted}: it allows more than yours, or it is for yourself")
        }
        Violation::LastAdmin => {
            "the last admin cannot go while others remain; make somebody else admin first".to_owned()
        }
        violation => format!("that is not allowed in this conversation: {violation}"),
    }
}

/// What an application can tell apart of the engine's errors; the rest is in the text.
fn engine_code(error: &EngineError) -> &'static str {
    match error.kind() {
        tertulia_mls::ErrorKind::Misuse => "engine-misuse",
        tertulia_mls::ErrorKind::Peer => "invalid-message",
        tertulia_mls::ErrorKind::Transient => "engine-busy",
        _ => "damaged-conversation",
    }
}
