//! Stable error codes and the problem document that carries them (RFC 9457).

use crate::event::MissedEntries;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use tertulia_domain::{DeviceId, UserId};

/// Of what kind a client's remedy for an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The request is wrong as it stands; sending it again changes nothing.
    Correct,
    /// Log in again, then repeat.
    LogIn,
    /// Exchange the session's token for another, then repeat.
    Renew,
    /// Catch up with the event stream, make the change again on the new state, and repeat.
    CatchUp,
    /// Wait (as long as `Retry-After` says, where given) and repeat the same request.
    Wait,
    /// The rules forbid it for this user at this time.
    Accept,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $remedy:ident, $title:literal, $advice:literal;)*) => {
        /// A stable error code. The names never change their meaning; new ones may be added.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $title] $variant,)* }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// The HTTP status that this code comes with.
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status,)* } }

            /// What it means, a sentence for a person.
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)* } }

            /// Of what kind the remedy is.
            pub const fn remedy(self) -> Remedy { match self { $(Self::$variant => Remedy::$remedy,)* } }

            /// What a client does about it, a sentence or two for who writes one.
            pub const fn advice(self) -> &'static str { match self { $(Self::$variant => $advice,)* } }
        }
    };
}

codes! {
    BadRequest = "bad-request", 400, Correct, "The request is not of the documented form.",
        "Correct what the detail names, by the hub's OpenAPI document.";
    MalformedMls = "malformed-mls-message", 400, Correct, "The bytes are not the MLS messages that belong here.",
        "Send the MLS messages that the operation documents, each once.";
    UnsupportedMediaType = "unsupported-media-type", 415, Correct, "The body's media type is not the documented one.",
        "Send the body with the documented `Content-Type`.";
    PayloadTooLarge = "payload-too-large", 413, Correct, "The body is larger than this hub accepts.",
        "Send less at once; what is larger does not belong into one request.";
    NotFound = "not-found", 404, Correct, "There is nothing at this address.",
        "Look the address or the id up anew; repeating the request changes nothing.";
    MethodNotAllowed = "method-not-allowed", 405, Correct, "This address does not take that method.",
        "Use a method that the `Allow` header names.";
    Unauthenticated = "unauthenticated", 401, LogIn, "The request carries no valid session token.",
        "Log in again, then repeat the request.";
    TokenExpired = "token-expired", 401, Renew, "The session's token is too old; it can only be exchanged for another.",
        "Exchange the token for another (`POST /v1/sessions/current/token`), then repeat the request.";
    InvalidCredentials = "invalid-credentials", 401, Correct, "The handle or the password is wrong.",
        "Ask for handle and password again.";
    DeviceRemoved = "device-removed", 403, Accept, "This device was removed from its account, or the account was deleted.",
        "Stop; its home can be read and not used. Log in with another home to go on, if the account is still there.";
    NoDevice = "no-device", 403, Correct, "This session has not registered a device yet.",
        "Register a device for this session (`POST /v1/devices`), then repeat the request.";
    InvalidHandle = "invalid-handle", 400, Correct, "The handle has characters or a length that handles cannot have.",
        "Choose a handle of the documented form.";
    HandleTaken = "handle-taken", 409, Correct, "Somebody else has this handle.",
        "Choose another handle.";
    InvalidPassword = "invalid-password", 400, Correct, "The password is shorter or longer than this hub allows.",
        "Choose a password of the length that the detail names.";
    InvalidProfile = "invalid-profile", 400, Correct, "The display name or the locale cannot be one.",
        "Correct the display name or the locale that the detail names.";
    UnknownUser = "unknown-user", 404, Correct, "There is no such user.",
        "Check the handle or the id; the person may have deleted the account.";
    InvalidUser = "invalid-user", 400, Correct, "One cannot connect with this user: it is oneself, or nobody.",
        "Name somebody else.";
    InvalidName = "invalid-name", 400, Correct, "The name cannot be a channel's.",
        "Choose a name of 1 to 256 characters without control characters.";
    SameTeam = "same-team", 403, Accept, "Members of one team are always connected.",
        "Write to them without a connection; to part, one of the two leaves the team.";
    NoTeam = "no-team", 404, Accept, "The user is in no team.",
        "Make a team, or have somebody invite the user into theirs.";
    AlreadyInTeam = "already-in-team", 403, Accept, "The user is in a team, and can be in one only.",
        "Leave the present team before joining another.";
    GuestDenied = "guest-denied", 403, Accept, "A guest cannot do that; it takes an account.",
        "Sign up for an account, and come in with that.";
    GuestsOff = "guests-off", 403, Accept, "This hub takes no guests.",
        "Sign up for an account, or ask the operator to let guests in.";
    InvalidInvitation = "invalid-invitation", 404, Accept, "There is no such invitation, or it was used or has expired.",
        "Ask whoever invited for another code.";
    LastOwner = "last-owner", 403, Accept, "A team cannot be left without an owner.",
        "Make somebody else an owner first.";
    TeamLimit = "team-limit", 403, Accept, "The team has as many members, invitations, roles or channels as this hub allows.",
        "Make room by removing what is not needed any more, as the detail says.";
    BadConnectionUpdate = "bad-connection-update", 403, Accept, "The connection cannot change to that state from the one it is in.",
        "Fetch the connection, and offer only what its state allows; a block is lifted before anything else.";
    NotConnected = "not-connected", 403, Accept, "The two users are not connected.",
        "Connect with them first, or be in one team.";
    ConnectionLimit = "connection-limit", 403, Accept, "The user has as many connections and open requests as this hub allows.",
        "Cancel open requests or block people whom one does not write to, then repeat.";
    DeviceLimit = "device-limit", 403, Accept, "The user has as many devices as this hub allows.",
        "Remove a device that is not used any more, then register this one.";
    InvalidKeyPackage = "invalid-key-package", 400, Correct, "A key package is not valid for this device.",
        "Make another key package with this device's key, the hub's cipher suite and a shorter lifetime.";
    KeyPackageLimit = "key-package-limit", 403, Accept, "The device has as many key packages here as this hub keeps.",
        "Upload fewer, or replace those that there are.";
    InvalidPairwiseKey = "invalid-pairwise-key", 400, Correct, "A key for pairwise sessions is not one of this device's.",
        "Make the keys anew and sign them with this device's key.";
    PairwiseKeyLimit = "pairwise-key-limit", 403, Accept, "The device has as many one-time keys here as this hub keeps.",
        "Upload fewer; there are enough.";
    NoConversation = "no-conversation", 404, Accept, "There is no such conversation, or the user is not a member of it.",
        "Catch up with the events: the user has left it or was removed, unless the id is wrong.";
    ParentNotJoined = "parent-not-joined", 403, CatchUp, "The device is not in the group of the conversation that the subconversation belongs to.",
        "Join the parent's group with this device first, then repeat.";
    SubconversationLimit = "subconversation-limit", 403, Accept, "The conversation has as many subconversations as this hub allows.",
        "Use a name that the conversation has had before.";
    ActionDenied = "action-denied", 403, Accept, "The user's role in this conversation or team does not allow it.",
        "Ask somebody whose role allows it.";
    InvalidOperation = "invalid-operation", 403, Correct, "A conversation of this type cannot do that.",
        "Do not offer this for conversations of this type; the detail says what is possible instead.";
    NotAdmitted = "not-admitted", 403, Accept, "The conversation does not admit this user, or not in this way.",
        "Have an admin change who is admitted and in which way, or leave the user out.";
    NoConversationCode = "no-conversation-code", 404, Accept, "There is no such join link, or it has expired or was taken back.",
        "Ask a member for the present link.";
    InvalidConversationPassword = "invalid-conversation-password", 403, Correct, "The password of the join link is wrong or missing.",
        "Ask the person for the link's password again.";
    InvalidJoinProof = "invalid-join-proof", 400, Correct, "The signature does not prove that the caller has the join link.",
        "Sign the documented bytes with the key in the link, for this conversation and user.";
    WrongProtocol = "wrong-protocol", 409, CatchUp, "The conversation's protocol, which may have changed, does not take that.",
        "Catch up with the events, and send in the way that the conversation's protocol asks for.";
    InvalidProtocolTransition = "invalid-protocol-transition", 403, Accept, "The protocol goes from pairwise over mixed to mls, one step at a time and never back.",
        "Fetch the conversation, and take the next step only.";
    MemberLimit = "member-limit", 403, Accept, "The conversation would have more members than its protocol allows.",
        "Take the conversation to MLS, or add fewer.";
    LastAdmin = "last-admin", 403, Accept, "A conversation cannot be left without an admin.",
        "Make another member admin first, or name who follows where the operation takes a successor.";
    RoleElevation = "role-elevation", 403, Accept, "One cannot grant a role that may do more than one's own, nor change one's own.",
        "Give a role that allows no more than one's own, to somebody else.";
    UnknownRole = "unknown-role", 400, Correct, "There is no such role.",
        "Use `admin`, `member`, or a role that the conversation's team defines.";
    RoleExists = "role-exists", 409, Accept, "The team has a role of this name that allows something else.",
        "Choose another name, or delete the role first.";
    RoleInUse = "role-in-use", 409, Accept, "A member of a conversation of the team has the role.",
        "Give those who have it another role first.";
    StaleEpoch = "stale-epoch", 409, CatchUp, "The group has moved on to another epoch.",
        "Catch up with the events, make the message or commit again on the new state, and repeat.";
    DeviceMismatch = "device-mismatch", 409, CatchUp, "The change or the message does not cover all devices that it must.",
        "Claim the keys of the devices under `missing`, leave out the others that are named, and repeat.";
    ProposalNotFound = "proposal-not-found", 404, CatchUp, "The commit refers to a proposal that the hub does not hold.",
        "Catch up with the events: the proposal was withdrawn or is of another epoch. Commit again without it.";
    ProposalLimit = "proposal-limit", 409, CatchUp, "The group has as many pending proposals as this hub keeps; they are to be committed first.",
        "Commit what is pending, then propose again.";
    MissingProposals = "missing-proposals", 400, CatchUp, "The commit leaves out a pending proposal.",
        "Catch up with the events, and commit what they propose too.";
    InvalidCommit = "invalid-commit", 400, CatchUp, "The commit is not valid for the group.",
        "Catch up with the events, make the commit again on the new state, and repeat; if it is refused again, the detail says what is wrong with it.";
    InconsistentGroupInfo = "inconsistent-group-info", 400, Correct, "The group info does not describe the group after the commit.",
        "Give the `GroupInfo` that belongs to this very commit, signed by its sender.";
    EventsMissed = "events-missed", 410, CatchUp, "Events after this cursor are no longer kept, or the cursor is not one of this hub's.",
        "Fetch everything anew, and go on after the cursor in `resume`.";
    QuotaExceeded = "quota-exceeded", 403, Accept, "The user has as much on this hub as it allows.",
        "Tell the person what there is too much of, as `quota` says; less of it makes room.";
    UnknownTopic = "unknown-topic", 400, Correct, "The content topic is none of this protocol.",
        "Use the topic that follows from the inbox or the conversation, as the specification says.";
    NotAnEnvelope = "not-an-envelope", 400, Correct, "The bytes are not an envelope, and a relay keeps nothing else.",
        "Post an envelope in its canonical form, as the specification says, and nothing else.";
    StaleStamp = "stale-stamp", 403, CatchUp, "The envelope's stamp is not of this hour.",
        "Fetch the relay's terms (`GET /v1/relay`), make the stamp for the hour of its time, and post again.";
    TooLittleWork = "too-little-work", 403, CatchUp, "The envelope's stamp is less work than this relay asks for, or is for another envelope or topic.",
        "Fetch the relay's terms (`GET /v1/relay`), make the stamp with as many zero bits as they ask for, and post again.";
    RelayFull = "relay-full", 507, Wait, "The relay, or this topic at it, has as many bytes as it keeps.",
        "Wait and post the same envelope again: room comes as old ones go. Or use another relay beside it.";
    RateLimited = "rate-limited", 429, Wait, "Too many requests of this kind in a short time.",
        "Wait as long as `Retry-After` says, then repeat the same request.";
    StorageFull = "storage-full", 507, Wait, "The hub's storage is full.",
        "Wait and repeat the same request; the operator has to make room.";
    Unavailable = "unavailable", 503, Wait, "The hub cannot answer at the moment.",
        "Wait, as long as `Retry-After` says where it is given, and repeat the same request.";
    Internal = "internal", 500, Wait, "The hub failed; its operator finds the cause in its log.",
        "Wait and repeat the same request; if it stays so, tell the operator when it was.";
}

impl Code {
    /// Further statuses that this code comes with: the contract asks for 412 where a pairwise message leaves devices out, and
    /// for 409 where a commit does.
    pub const fn other_statuses(self) -> &'static [u16] {
        match self {
            Self::DeviceMismatch => &[412],
            _ => &[],
        }
    }

    /// Whether the same request can succeed later without being changed.
    pub const fn retryable(self) -> bool {
        matches!(self.remedy(), Remedy::Wait)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that is not a code known to this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code")]
pub struct UnknownCode;

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).ok_or(UnknownCode)
    }
}

/// A device of a user.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
pub struct UserDevice {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// One of the user's devices, 16 hexadecimal digits.
    #[schema(value_type = String, example = "00c0ffee00c0ffee")]
    pub device: DeviceId,
}

/// How much a user may have on a hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Quota {
    /// Of what: `stored-bytes`, `conversations` or `members-at-once`.
    #[schema(example = "conversations")]
    pub what: String,
    /// The most.
    pub limit: u64,
}

/// The body of every error answer, `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI reference for the kind of problem: `/errors#<code>` in the documentation.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the code means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong with this request, a sentence for a person.
    pub detail: String,
    /// The stable code.
    #[schema(example = "stale-epoch")]
    pub code: String,
    /// Whether the same request can succeed later without being changed.
    pub retryable: bool,
    /// `stale-epoch`: the group's current epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_epoch: Option<u64>,
    /// `device-mismatch`: the devices that the change or the message must cover too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<UserDevice>,
    /// `device-mismatch`: the devices of who is no member, and the sending device.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redundant: Vec<UserDevice>,
    /// `device-mismatch`: the devices that members do not have (any more).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<UserDevice>,
    /// `rate-limited`: after how many seconds to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// `quota-exceeded`: which quota.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// `events-missed`: the cursor to go on after, once everything was fetched anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// `events-missed`: what of conversations is not kept any more. What is kept comes after `resume`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<MissedEntries>,
}

impl Problem {
    /// The media type of a problem document.
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// A problem with this code; `detail` says what was wrong with this request.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors#{code}"),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            code: code.as_str().to_owned(),
            retryable: code.retryable(),
            current_epoch: None,
            missing: Vec::new(),
            redundant: Vec::new(),
            deleted: Vec::new(),
            retry_after: None,
            quota: None,
            resume: None,
            missed: Vec::new(),
        }
    }

    /// The code, if this version knows it.
    pub fn known_code(&self) -> Option<Code> {
        self.code.parse().ok()
    }
}

/// The table of all codes as Markdown, for the documentation.
pub fn table() -> String {
    use fmt::Write as _;
    let mut out = String::from("| code | status | meaning | what a client does |\n|---|---|---|---|\n");
    for code in Code::ALL {
        let mut statuses = code.status().to_string();
        for other in code.other_statuses() {
            write!(statuses, ", {other}").expect("writing to a string cannot fail");
        }
        writeln!(out, "| `{code}` | {statuses} | {} | {} |", code.title(), code.advice())
            .expect("writing to a string cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn a_problem_keeps_its_form() {
        let mut problem = Problem::new(Code::StaleEpoch, "The group is at epoch 7.");
        problem.current_epoch = Some(7);
        insta::assert_json_snapshot!(problem, @r###"
        {
          "type": "/errors#stale-epoch",
          "title": "The group has moved on to another epoch.",
          "status": 409,
          "detail": "The group is at epoch 7.",
          "code": "stale-epoch",
          "retryable": false,
          "current_epoch": 7
        }
        "###);
    }

    #[test]
    fn the_documented_table_is_the_one_in_the_source() {
        let documented = include_str!("../../../docs/errors.md");
        assert!(
            documented.contains(&table()),
            "docs/errors.md is out of date; it must contain:\n{}",
            table()
        );
    }
}
