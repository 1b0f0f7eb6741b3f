use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid, uuid};

use super::{ConversationId, Domain, UserId};

/// The namespace of the ids of 1:1 conversations.
const NAMESPACE: Uuid = uuid!("95589dd5-b045-40dc-a6aa-dd9c4fad1c2f");

/// A 1:1 conversation as both users derive it offline: its id, and the hub that keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OneToOne {
    /// The conversation.
    pub id: ConversationId,
    /// The domain of the hub that owns it, one of the two users'.
    pub owner: Domain,
}

impl ConversationId {
    /// The 1:1 conversation of two different users, the same whichever is named first.
    ///
    /// Both are ordered by `(domain, user id)`. SHA-256 runs over the namespace's 16 bytes, then for each user the id as
    /// 36 lower-case characters and the domain. The first 16 bytes, with version 5 and the RFC 9562 variant set, are
    /// the id; the top bit of the byte after them chooses the owner, 0 for the first user's hub and 1 for the second's.
    ///
    /// A user's conversation with themselves is another one, [`ConversationId::self_of`]; what is derived here from
    /// the same user twice names no conversation.
    pub fn one_to_one(a: (&UserId, &Domain), b: (&UserId, &Domain)) -> OneToOne {
        let key = |(user, domain): (&UserId, &Domain)| (domain.clone(), *user);
        let mut users = [key(a), key(b)];
        users.sort();

        let mut hash = Sha256::new_with_prefix(NAMESPACE.as_bytes());
        for (domain, user) in &users {
            hash.update(user.to_string());
            hash.update(domain.as_str());
        }
        let digest: [u8; 32] = hash.finalize().into();

        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = Builder::from_sha1_bytes(bytes).into_uuid(); // sets version 5 and the variant, hashes nothing
        let [(first, _), (second, _)] = users;
        let owner = if digest[16] & 0x80 == 0 { first } else { second };
        OneToOne { id: Self::new(id), owner }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_published_vector() {
        let (a, b) = (
            "11111111-1111-4111-8111-111111111111".parse().unwrap(),
            "22222222-2222-4222-8222-222222222222".parse().unwrap(),
        );
        let (at, bt) = ("a.example.com".parse().unwrap(), "b.example.com".parse().unwrap());
        let expected = OneToOne {
            id: "7b8fe68c-48c6-5944-9e5b-e236e4bf891d".parse().unwrap(),
            owner: "a.example.com".parse().unwrap(),
        };
        assert_eq!(ConversationId::one_to_one((&a, &at), (&b, &bt)), expected);
        assert_eq!(ConversationId::one_to_one((&b, &bt), (&a, &at)), expected);
    }

    #[test]
    fn either_hub_may_own_and_both_sides_agree() {
        let (a, b) = ("a.example".parse().unwrap(), "b.example".parse().unwrap());
        let mut owners = std::collections::BTreeSet::new();
        for n in 0..64_u8 {
            let (x, y) = (UserId::from_bytes([n; 16]), UserId::from_bytes([n ^ 0xff; 16]));
            let seen_by_x = ConversationId::one_to_one((&x, &a), (&y, &b));
            assert_eq!(seen_by_x, ConversationId::one_to_one((&y, &b), (&x, &a)));
            assert_eq!(seen_by_x.id.as_uuid().get_version_num(), 5);
            assert_eq!(seen_by_x.id.as_uuid().get_variant(), uuid::Variant::RFC4122);
            owners.insert(seen_by_x.owner);
        }
        assert_eq!(owners.len(), 2);
    }

    #[test]
    fn on_one_hub_the_order_is_that_of_the_users() {
        let hub = Domain::localhost();
        let (x, y) = (UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let one = ConversationId::one_to_one((&x, &hub), (&y, &hub));
        assert_eq!(one, ConversationId::one_to_one((&y, &hub), (&x, &hub)));
        assert_eq!(one.owner, hub);
    }
}
