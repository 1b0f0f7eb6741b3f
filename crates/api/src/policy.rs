//! How a conversation's [`Policy`] stands in its MLS group's signed context: CBOR (RFC 8949) in the one form that this module
//! writes, so that equal policies are equal bytes.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use tertulia_domain::{
    ConversationId, ConversationType, ReceiptMode, RoleName, UserId,
    policy::{AddPermission, Entrance, Pair, Policy, PolicyError},
    role::ActionSet,
};

/// The type of the extension of the group's context that holds it. Of the range for private use (RFC 9420, section 17.3).
pub const EXTENSION_TYPE: u16 = 0xf7e1;

/// The type of the extension of a group's context that says that its handshake messages are encrypted. It has no content; a
/// group without it has them readable.
pub const ENCRYPTED_HANDSHAKE_EXTENSION_TYPE: u16 = 0xf7e2;

/// The version without an entrance: whom nobody invites does not come in. So it is written wherever it can be.
const CLOSED: u16 = 1;
/// The version with an entrance. A program that knows the other only says so, and does not take it for a forgery.
const WITH_ENTRANCE: u16 = 2;
/// The version with carriers, for what no hub carries.
const WITH_CARRIERS: u16 = 3;
/// The version with what is set for what no hub carries, and with what two people's conversation goes on with.
const WITH_SETTINGS: u16 = 4;
/// Most carriers.
const MOST_CARRIERS: usize = 8;
/// The longest name of one, in bytes.
const LONGEST_CARRIER: usize = 512;

/// Why bytes are not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFormatError {
    /// The group has none. A group or channel of a hub has one from its first epoch on.
    #[error("the group has no policy")]
    Missing,
    /// It is of a later version. Update the program.
    #[error("the policy is of version {0}, which this program does not know")]
    Version(u16),
    /// It is damaged or forged.
    #[error("the bytes are not a policy")]
    Malformed,
    /// What it says cannot be.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct Wire {
    #[n(0)]
    version: u16,
    #[cbor(n(1), with = "minicbor::bytes")]
    conversation: [u8; 16],
    #[n(2)]
    conversation_type: String,
    #[n(3)]
    add_permission: String,
    #[n(4)]
    members: Vec<WireMember>,
    #[n(5)]
    roles: Vec<WireRole>,
    #[n(6)]
    entrance: Option<WireEntrance>,
    #[n(7)]
    carriers: Option<Vec<String>>,
    #[n(8)]
    pair: Option<WirePair>,
    #[n(9)]
    receipt_mode: Option<String>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WirePair {
    #[cbor(n(0), with = "minicbor::bytes")]
    continues: [u8; 16],
    #[n(1)]
    times: u32,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WireEntrance {
    #[cbor(n(0), with = "minicbor::bytes")]
    link: Option<[u8; 32]>,
    #[n(1)]
    open: bool,
    #[n(2)]
    admitted: Vec<WireAdmitted>,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WireAdmitted {
    #[cbor(n(0), with = "minicbor::bytes")]
    user: [u8; 16],
    #[cbor(n(1), with = "minicbor::bytes")]
    proof: [u8; 64],
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WireMember {
    #[cbor(n(0), with = "minicbor::bytes")]
    user: [u8; 16],
    #[n(1)]
    role: String,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct WireRole {
    #[n(0)]
    name: String,
    /// [`ActionSet::bits`].
    #[n(1)]
    actions: u16,
}

/// The bytes of a policy.
pub fn encode(policy: &Policy) -> Vec<u8> {
    let entrance = policy.entrance();
    let is_closed = *entrance == Entrance::default();
    let is_plain = policy.pair().is_none() && policy.receipt_mode() == ReceiptMode::default();
    let wire = Wire {
        version: match (policy.carriers(), is_closed) {
            _ if !is_plain => WITH_SETTINGS,
            ([], true) => CLOSED,
            ([], false) => WITH_ENTRANCE,
            _ => WITH_CARRIERS,
        },
        conversation: *policy.conversation().as_bytes(),
        conversation_type: policy.conversation_type().to_string(),
        add_permission: policy.add_permission().to_string(),
        members: policy
            .members()
            .map(|(user, role)| WireMember { user: *user.as_bytes(), role: role.to_string() })
            .collect(),
        roles: policy
            .roles()
            .iter()
            .map(|(name, actions)| WireRole { name: name.to_string(), actions: actions.bits() })
            .collect(),
        entrance: (!is_closed).then(|| WireEntrance {
            link: entrance.link,
            open: entrance.open,
            admitted: entrance
                .admitted
                .iter()
                .map(|(user, proof)| WireAdmitted { user: *user.as_bytes(), proof: *proof })
                .collect(),
        }),
        carriers: Some(policy.carriers().to_vec()).filter(|carriers| !carriers.is_empty()),
        pair: policy
            .pair()
            .map(|Pair { continues, times }| WirePair { continues: *continues.as_bytes(), times }),
        receipt_mode: Some(policy.receipt_mode())
            .filter(|mode| *mode != ReceiptMode::default())
            .map(|mode| mode.to_string()),
    };
    minicbor::to_vec(&wire).expect("writing to memory cannot fail")
}

/// Reads the policy of a group.
///
/// # Errors
///
/// [`PolicyFormatError`]; what is not exactly as [`encode`] writes it is refused.
pub fn decode(bytes: Option<&[u8]>) -> Result<Policy, PolicyFormatError> {
    let bytes = bytes.ok_or(PolicyFormatError::Missing)?;
    let mut version = minicbor::Decoder::new(bytes);
    match version.array().and_then(|_| version.u16()) {
        Ok(CLOSED | WITH_ENTRANCE | WITH_CARRIERS | WITH_SETTINGS) => {}
        Ok(other) => return Err(PolicyFormatError::Version(other)),
        Err(_) => return Err(PolicyFormatError::Malformed),
    }
    let policy = read(bytes)?;
    if encode(&policy) == bytes { Ok(policy) } else { Err(PolicyFormatError::Malformed) }
}

fn read(bytes: &[u8]) -> Result<Policy, PolicyFormatError> {
    let malformed = PolicyFormatError::Malformed;
    let wire: Wire = minicbor::decode(bytes).map_err(|_| malformed.clone())?;
    let conversation_type: ConversationType =
        wire.conversation_type.parse().map_err(|_| malformed.clone())?;
    let add_permission: AddPermission = wire.add_permission.parse().map_err(|_| malformed.clone())?;
    let mut members = Vec::with_capacity(wire.members.len());
    for WireMember { user, role } in wire.members {
        let role: RoleName = role.parse().map_err(|_| malformed.clone())?;
        members.push((UserId::from_bytes(user), role));
    }
    let mut roles = BTreeMap::new();
    for WireRole { name, actions } in wire.roles {
        let name: RoleName = name.parse().map_err(|_| malformed.clone())?;
        let actions = ActionSet::from_bits(actions).ok_or(malformed.clone())?;
        roles.insert(name, actions);
    }
    let conversation = ConversationId::from_bytes(wire.conversation);
    let carriers = wire.carriers.unwrap_or_default();
    if carriers.len() > MOST_CARRIERS || carriers.iter().any(|name| name.len() > LONGEST_CARRIER) {
        return Err(malformed);
    }
    let policy = match wire.pair {
        // Whatever else it says is not written again, and so no policy.
        Some(WirePair { continues, times }) => {
            let users = members.into_iter().map(|(user, _)| user).collect::<Vec<_>>();
            let users = users.try_into().map_err(|_| malformed.clone())?;
            let continues = ConversationId::from_bytes(continues);
            Policy::of_two(conversation, Pair { continues, times }, users)?
        }
        None => Policy::of(conversation, conversation_type, add_permission, members, roles)?,
    };
    let receipt_mode = wire.receipt_mode.map(|mode| mode.parse()).transpose().map_err(|_| malformed)?;
    let policy = policy.with_carriers(carriers).with_receipt_mode(receipt_mode.unwrap_or_default());
    let Some(WireEntrance { link, open, admitted }) = wire.entrance else { return Ok(policy) };
    let admitted =
        admitted.into_iter().map(|WireAdmitted { user, proof }| (UserId::from_bytes(user), proof)).collect();
    Ok(policy.with_entrance(Entrance { link, open, admitted }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::role::{Action, Role};

    fn policy() -> Policy {
        let [ana, bruno, carla] = [1, 2, 3].map(|byte| UserId::from_bytes([byte; 16]));
        let scribe =
            Role::defined("scribe".parse().unwrap(), ActionSet::of(&[Action::ModifyName, Action::Leave]));
        Policy::new(ConversationId::from_bytes([9; 16]), ConversationType::Group, ana)
            .unwrap()
            .with_members([bruno], &Role::MEMBER)
            .with_members([carla], &scribe.unwrap())
            .with_add_permission(AddPermission::Everyone)
    }

    #[test]
    fn the_form_is_the_released_one() {
        let bytes = encode(&policy());
        insta::assert_snapshot!(hex::encode(&bytes));
        assert_eq!(decode(Some(&bytes)), Ok(policy()));
    }

    #[test]
    fn the_form_with_carriers_is_the_released_one() {
        let carried = policy().with_carriers(vec!["https://relay.example/".to_owned()]);
        let bytes = encode(&carried);
        insta::assert_snapshot!(hex::encode(&bytes));
        assert_eq!(decode(Some(&bytes)), Ok(carried));
        let too_many = policy().with_carriers(vec!["https://relay.example/".to_owned(); MOST_CARRIERS + 1]);
        assert_eq!(decode(Some(&encode(&too_many))), Err(PolicyFormatError::Malformed));
    }

    #[test]
    fn the_form_with_settings_and_of_two_is_the_released_one() {
        let [ana, bruno] = [1, 2].map(|byte| UserId::from_bytes([byte; 16]));
        let carriers = vec!["https://relay.example/".to_owned()];
        let pair = Pair { continues: ConversationId::from_bytes([8; 16]), times: 2 };
        let of_two = Policy::of_two(ConversationId::from_bytes([9; 16]), pair, [ana, bruno]).unwrap();
        let policies = [
            of_two.with_carriers(carriers.clone()),
            policy().with_carriers(carriers).with_receipt_mode(ReceiptMode::On),
        ];
        for policy in &policies {
            assert_eq!(decode(Some(&encode(policy))).as_ref(), Ok(policy));
        }
        insta::assert_snapshot!(policies.clone().map(|policy| hex::encode(encode(&policy))).join("\n"));
        // Of two there are two, with nothing else to be said of them.
        let malformed = Err(PolicyFormatError::Malformed);
        let mut wire: Wire = minicbor::decode(&encode(&policies[0])).unwrap();
        wire.conversation_type = "group".to_owned();
        assert_eq!(decode(Some(&minicbor::to_vec(&wire).unwrap())), malformed);
        let mut wire: Wire = minicbor::decode(&encode(&policies[0])).unwrap();
        wire.members[0].role = "member".to_owned();
        assert_eq!(decode(Some(&minicbor::to_vec(&wire).unwrap())), malformed);
        wire.members.pop();
        assert_eq!(decode(Some(&minicbor::to_vec(&wire).unwrap())), malformed);
    }

    #[test]
    fn the_form_with_an_entrance_is_the_released_one() {
        let user = UserId::from_bytes([4; 16]);
        let policies = [
            policy().with_link(Some([5; 32])),
            policy().with_open(true),
            policy().with_link(Some([5; 32])).with_admitted([(user, [6; 64])]),
        ];
        for policy in &policies {
            assert_eq!(decode(Some(&encode(policy))).as_ref(), Ok(policy));
        }
        insta::assert_snapshot!(policies.map(|policy| hex::encode(encode(&policy))).join("\n"));
        // An entrance through which nobody comes is not written.
        let mut wire: Wire = minicbor::decode(&encode(&policy())).unwrap();
        wire.entrance = Some(WireEntrance { link: None, open: false, admitted: Vec::new() });
        for version in [CLOSED, WITH_ENTRANCE] {
            wire.version = version;
            let bytes = minicbor::to_vec(&wire).unwrap();
            assert_eq!(decode(Some(&bytes)), Err(PolicyFormatError::Malformed));
        }
    }

    #[test]
    fn a_large_group_has_25_bytes_a_member() {
        let users = (0..10_000_u128).map(|n| UserId::from_bytes(n.to_be_bytes()));
        let policy = policy().with_members(users, &Role::MEMBER);
        let bytes = encode(&policy);
        assert!((250_000..251_000).contains(&bytes.len()), "{}", bytes.len());
        assert_eq!(decode(Some(&bytes)), Ok(policy));
    }

    #[test]
    fn what_is_not_exactly_a_policy_is_refused() {
        assert_eq!(decode(None), Err(PolicyFormatError::Missing));
        let bytes = encode(&policy());
        for len in 0..bytes.len() {
            assert_eq!(decode(Some(&bytes[..len])), Err(PolicyFormatError::Malformed), "{len}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(Some(&longer)), Err(PolicyFormatError::Malformed));
        // Every byte counts: what can be read at all is another policy.
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[place] ^= 1 << bit;
                assert_ne!(decode(Some(&other)), Ok(policy()), "{place}");
            }
        }
        let mut later = bytes.clone();
        later[1] = 5;
        assert_eq!(decode(Some(&later)), Err(PolicyFormatError::Version(5)));
    }

    #[test]
    fn a_policy_names_the_roles_that_its_members_have_and_no_user_twice() {
        let mut wire: Wire = minicbor::decode(&encode(&policy())).unwrap();
        wire.roles.clear();
        let bytes = minicbor::to_vec(&wire).unwrap();
        assert_eq!(decode(Some(&bytes)), Err(PolicyFormatError::Policy(PolicyError::Roles)));
        let mut wire: Wire = minicbor::decode(&encode(&policy())).unwrap();
        wire.members[1].user = wire.members[0].user;
        let bytes = minicbor::to_vec(&wire).unwrap();
        assert_eq!(decode(Some(&bytes)), Err(PolicyFormatError::Policy(PolicyError::MemberTwice)));
        let mut wire: Wire = minicbor::decode(&encode(&policy())).unwrap();
        wire.conversation_type = "one_to_one".to_owned();
        let bytes = minicbor::to_vec(&wire).unwrap();
        let refused = PolicyFormatError::Policy(PolicyError::Type(ConversationType::OneToOne));
        assert_eq!(decode(Some(&bytes)), Err(refused));
    }
}
