//! Policies as they stand in a group's context, and bytes that are none.

use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use tertulia_api::policy::{PolicyFormatError, decode, encode};
use tertulia_conversation::inbox::KEY_DOMAIN;
use tertulia_domain::{
    ConversationId, ConversationType, ReceiptMode, Role, UserId,
    policy::{AddPermission, Pair, Policy},
    role::{Action, ActionSet},
    signing::sign_content,
};

pub const CONVERSATION: ConversationId = ConversationId::from_bytes([9; 16]);
pub const ANA: UserId = UserId::from_bytes([1; 16]);
pub const BRUNO: UserId = UserId::from_bytes([2; 16]);
pub const CARLA: UserId = UserId::from_bytes([3; 16]);
pub const DAVI: UserId = UserId::from_bytes([4; 16]);

/// All of them.
pub fn policies() -> Value {
    json!({ "policies": written(), "refused": refused(), "commits": super::commits::commits() })
}

/// The key of a join link.
pub fn link() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

/// What proves that somebody has the link.
pub fn proof(user: UserId) -> [u8; 64] {
    let statement = [CONVERSATION.as_bytes(), user.as_bytes(), KEY_DOMAIN.as_bytes()].concat();
    link().sign(&sign_content("join link 1", &statement)).to_bytes()
}

pub fn scribe() -> Role {
    let actions = ActionSet::of(&[Action::AddMember, Action::ModifyName, Action::Leave]);
    Role::defined("scribe".parse().unwrap(), actions).unwrap()
}

/// Ana, who is an admin, Bruno and Carla, by a relay.
pub fn of_three() -> Policy {
    Policy::new(CONVERSATION, ConversationType::Group, ANA)
        .unwrap()
        .with_members([BRUNO, CARLA], &Role::MEMBER)
        .with_carriers(vec!["https://relay.example/".to_owned()])
}

pub fn of_two() -> Policy {
    let pair = Pair { continues: ConversationId::from_bytes([8; 16]), times: 2 };
    let policy = Policy::of_two(CONVERSATION, pair, [BRUNO, ANA]).unwrap();
    policy.with_carriers(vec!["https://relay.example/".to_owned(), "queue".to_owned()])
}

pub fn hex_of(user: UserId) -> String {
    hex::encode(user.as_bytes())
}

fn written() -> Vec<Value> {
    let with_a_link = of_three().with_link(Some(link().verifying_key().to_bytes()));
    let policies = [
        ("of a hub", of_three().with_carriers(Vec::new()).with_role(CARLA, &scribe())),
        ("of a hub, open", of_three().with_carriers(Vec::new()).with_open(true)),
        ("of a group", of_three()),
        ("of a group whose members add others", of_three().with_add_permission(AddPermission::Everyone)),
        ("of a group with a role of its own", of_three().with_role(BRUNO, &scribe())),
        ("of a group with a join link", with_a_link.clone()),
        ("of a group into which somebody comes by the link", {
            with_a_link.with_members([DAVI], &Role::MEMBER).with_admitted([(DAVI, proof(DAVI))])
        }),
        ("of a group with receipts", of_three().with_receipt_mode(ReceiptMode::On)),
        ("of two", of_two()),
    ];
    let written = policies.iter().map(|(what, policy)| {
        let bytes = encode(policy);
        assert_eq!(decode(Some(&bytes)).as_ref(), Ok(policy));
        let members: Vec<_> =
            policy.members().map(|(user, role)| json!([hex_of(user), role.to_string()])).collect();
        let entrance = policy.entrance();
        json!({
            "what": what,
            "bytes": hex::encode(&bytes),
            "conversation": hex::encode(policy.conversation().as_bytes()),
            "conversation_type": policy.conversation_type().to_string(),
            "add_permission": policy.add_permission().to_string(),
            "members": members,
            "roles": policy.roles().iter().map(|(name, actions)| json!([name.to_string(), actions.bits()])).collect::<Vec<_>>(),
            "link": entrance.link.map(hex::encode),
            "open": entrance.open,
            "admitted": entrance.admitted.keys().map(|user| hex_of(*user)).collect::<Vec<_>>(),
            "carriers": policy.carriers(),
            "continues": policy.pair().map(|pair| hex::encode(pair.continues.as_bytes())),
            "times": policy.pair().map(|pair| pair.times),
            "receipt_mode": policy.receipt_mode().to_string(),
        })
    });
    written.collect()
}

/// Bytes that are no policy that a reader of these pages enters a group with.
fn refused() -> Vec<Value> {
    let good = encode(&of_three());
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|window| window == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    let mut later = good.clone();
    later[1] = 5;
    let mut lower = good.clone();
    lower[1] = 1;
    let twice = encode(&of_three().with_role(BRUNO, &Role::ADMIN));
    let twice = {
        let mut bytes = twice;
        let at = bytes.windows(16).position(|window| window == [2; 16]).unwrap();
        bytes[at..at + 16].copy_from_slice(&[1; 16]);
        bytes
    };
    let cases = [
        ("empty", Vec::new()),
        ("of a later version", later),
        ("of a lower version than it has to be", lower),
        ("cut", good[..good.len() - 1].to_vec()),
        ("with something behind it", [&good[..], &[0]].concat()),
        ("a version in more bytes than it needs", replaced(&[0x88, 3], &[0x88, 0x18, 3])),
        ("an array of indefinite length", [&[0x9f][..], &good[1..], &[0xff]].concat()),
        ("an element too many", [&[0x89][..], &good[1..], &[0xf6]].concat()),
        ("a type that has no policy", replaced(b"\x65group", b"\x64self")),
        ("a permission that there is not", replaced(b"\x66admins", b"\x66nobody")),
        ("a role that nobody has described", replaced(b"\x66member", b"\x66scribe")),
        ("a role by another name", replaced(b"\x65admin\x82", b"\x6awire_admin\x82")),
        ("a user twice", twice),
        ("nine carriers", encode(&of_three().with_carriers(vec!["https://relay.example/".to_owned(); 9]))),
        ("a carrier of 513 bytes", encode(&of_three().with_carriers(vec!["x".repeat(513)]))),
    ];
    let cases = cases.map(|(what, bytes)| {
        let refused = decode(Some(&bytes)).expect_err(what);
        let is_later = matches!(refused, PolicyFormatError::Version(_));
        assert_eq!(is_later, what == "of a later version");
        json!({ "what": what, "bytes": hex::encode(bytes) })
    });
    cases.into()
}
