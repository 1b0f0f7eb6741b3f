//! The join link: a secret that never reaches the hub, and what follows from it.
//!
//! A hub that could read the link could let in whomever it likes. So the link has its secret in the fragment, which no client
//! sends, and two things are derived from it with HKDF (RFC 5869) under labels of their own: the [code](JoinLink::code) by which
//! the hub finds the conversation, and an Ed25519 key. Its public half stands in the conversation's policy, which the members
//! have signed; with the other half who has the link [proves](JoinLink::prove) to the members that they have it. From the code
//! the key does not follow.

use crate::bytes::Base64;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeSet, fmt, str::FromStr};
use tertulia_domain::{
    ConversationId, Domain, UserId,
    policy::{JoinProof, LinkKey, Policy},
    signing::sign_content,
};
use url::Url;
use zeroize::Zeroizing;

/// Bytes of the secret.
const SECRET_BYTES: usize = 32;
/// The salt of both derivations, so that what follows from the secret here follows from it nowhere else.
const SALT: &[u8] = b"Tertulia join link 1";
const CODE: &[u8] = b"code";
const KEY: &[u8] = b"signing key";
/// The label of the proof: see [`sign_content`].
const LABEL: &str = "join link 1";
/// The last part of the link's path.
const PATH: &str = "join";

/// A link with which one comes into a conversation. Whoever has it can use it: it is a secret, printed by `Display` and nowhere
/// else.
///
/// ```
/// use tertulia_api::join_link::{JoinLink, proves};
/// use tertulia_domain::{ConversationId, UserId};
///
/// let link = JoinLink::new("https://hub.example".parse()?, ConversationId::random());
/// let read: JoinLink = link.to_string().parse()?;
///
/// // Who has it proves so, for themselves and this conversation.
/// let (bruno, domain) = (UserId::random(), "hub.example".parse()?);
/// let proof = read.prove(bruno, &domain);
/// assert!(proves(&proof, &link.public_key(), link.conversation(), bruno, &domain));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct JoinLink {
    hub: Url,
    conversation: ConversationId,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

/// A text is not a join link. Look whether all of it was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinLinkError {
    /// It is no URL of a hub that ends in `/join#…`. Look whether the beginning was copied.
    #[error("this is no join link: one looks like https://hub.example/join#…")]
    Form,
    /// What stands behind the `#` is not whole. Look whether the end was copied.
    #[error("the join link is not whole: what stands behind the # was cut or changed")]
    Fragment,
}

impl JoinLink {
    /// A new link into a conversation of the hub at this address.
    pub fn new(mut hub: Url, conversation: ConversationId) -> Self {
        if !hub.path().ends_with('/') {
            let path = format!("{}/", hub.path());
            hub.set_path(&path);
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        rand::Rng::fill_bytes(&mut rand::rng(), secret.as_mut_slice());
        Self { hub, conversation, secret }
    }

    /// The address of the hub.
    pub const fn hub(&self) -> &Url {
        &self.hub
    }

    /// The conversation.
    pub const fn conversation(&self) -> ConversationId {
        self.conversation
    }

    /// By what the hub finds the conversation. It is shown to the hub by who comes in.
    pub fn code(&self) -> Base64 {
        Base64(self.derive(CODE).to_vec())
    }

    /// What the hub keeps of the code.
    pub fn code_hash(&self) -> [u8; 32] {
        hash_of_code(self.derive(CODE).as_slice())
    }

    /// The public key that the conversation's policy has.
    pub fn public_key(&self) -> LinkKey {
        self.signing_key().verifying_key().to_bytes()
    }

    /// The proof that this user has the link.
    pub fn prove(&self, user: UserId, domain: &Domain) -> JoinProof {
        self.signing_key().sign(&statement(self.conversation, user, domain)).to_bytes()
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey::from_bytes(&self.derive(KEY))
    }

    fn derive(&self, what: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut derived = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(Some(SALT), self.secret.as_slice())
            .expand(what, derived.as_mut_slice())
            .expect("32 bytes are less than HKDF with SHA-256 can give");
        derived
    }
}

/// What a hub keeps of a link's code. The code has 256 bits that nobody can guess, so a plain hash is as good as a slow one.
pub fn hash_of_code(code: &[u8]) -> [u8; 32] {
    Sha256::digest(code).into()
}

/// Whether this proves that the user has the link whose public key this is, into this conversation. One that is not of the form of
/// a key or a signature proves nothing; nor does a key with which anything could be proved.
pub fn proves(
    proof: &JoinProof,
    link: &LinkKey,
    conversation: ConversationId,
    user: UserId,
    domain: &Domain,
) -> bool {
    let statement = statement(conversation, user, domain);
    VerifyingKey::from_bytes(link)
        .is_ok_and(|key| key.verify_strict(&statement, &Signature::from_bytes(proof)).is_ok())
}

/// Of those who are added, of whom the policy after a commit has a proof that they have the link of the policy before it: what hub
/// and members put into [`Change::by_link`](tertulia_domain::policy::Change::by_link).
pub fn by_link(
    before: &Policy,
    after: &Policy,
    added: impl IntoIterator<Item = UserId>,
    domain: &Domain,
) -> BTreeSet<UserId> {
    let Some(link) = &before.entrance().link else { return BTreeSet::new() };
    let has_proof = |user: &UserId| {
        let proof = after.entrance().admitted.get(user);
        proof.is_some_and(|proof| proves(proof, link, before.conversation(), *user, domain))
    };
    // Each user once, however many devices come in.
    let added: BTreeSet<UserId> = added.into_iter().collect();
    added.into_iter().filter(has_proof).collect()
}

/// What is signed: the conversation and the user, 16 bytes each, and the user's domain.
fn statement(conversation: ConversationId, user: UserId, domain: &Domain) -> Vec<u8> {
    let content = [conversation.as_bytes().as_slice(), user.as_bytes(), domain.as_str().as_bytes()].concat();
    sign_content(LABEL, &content)
}

impl fmt::Display for JoinLink {
    /// The link itself, with its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hub = self.hub.as_str().trim_end_matches('/');
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.as_slice()));
        write!(f, "{hub}/{PATH}#{}.{}", self.conversation, secret.as_str())
    }
}

impl fmt::Debug for JoinLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinLink").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}

impl FromStr for JoinLink {
    type Err = JoinLinkError;

    fn from_str(text: &str) -> Result<Self, JoinLinkError> {
        let (address, fragment) = text.trim().split_once('#').ok_or(JoinLinkError::Form)?;
        let hub = address.trim_end_matches('/').strip_suffix(PATH).ok_or(JoinLinkError::Form)?;
        let hub: Url = hub.parse().map_err(|_| JoinLinkError::Form)?;
        let is_address =
            matches!(hub.scheme(), "http" | "https") && hub.has_host() && hub.path().ends_with('/');
        let has_more = hub.query().is_some() || !hub.username().is_empty() || hub.password().is_some();
        if !is_address || has_more {
            return Err(JoinLinkError::Form);
        }
        let (conversation, secret) = fragment.split_once('.').ok_or(JoinLinkError::Fragment)?;
        let conversation = conversation.parse().map_err(|_| JoinLinkError::Fragment)?;
        let bytes =
            URL_SAFE_NO_PAD.decode(secret).map(Zeroizing::new).map_err(|_| JoinLinkError::Fragment)?;
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        if bytes.len() != SECRET_BYTES {
            return Err(JoinLinkError::Fragment);
        }
        secret.copy_from_slice(&bytes);
        Ok(Self { hub, conversation, secret })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tertulia_domain::{ConversationType, Role};

    fn link() -> JoinLink {
        JoinLink {
            hub: "https://hub.example/chat/".parse().unwrap(),
            conversation: ConversationId::from_bytes([9; 16]),
            secret: Zeroizing::new([7; 32]),
        }
    }

    fn domain() -> Domain {
        "hub.example".parse().unwrap()
    }

    #[test]
    fn what_follows_from_a_link_is_the_released_thing() {
        let link = link();
        let user = UserId::from_bytes([1; 16]);
        insta::assert_snapshot!(
            [
                link.to_string(),
                hex::encode(link.code().0),
                hex::encode(link.code_hash()),
                hex::encode(link.public_key()),
                hex::encode(link.prove(user, &domain())),
            ]
            .join("\n")
        );
    }

    #[test]
    fn a_link_is_read_as_it_was_written_and_nothing_else_is() {
        let text = link().to_string();
        assert_eq!(text.parse(), Ok(link()));
        assert_eq!(format!(" {text}\n").parse(), Ok(link()));
        let below = JoinLink::new("https://hub.example/chat".parse().unwrap(), link().conversation);
        assert_eq!(below.to_string().parse(), Ok(below));
        assert_ne!(JoinLink::new(link().hub, link().conversation), link());
        for (wrong, error) in [
            ("", JoinLinkError::Form),
            ("https://hub.example/join", JoinLinkError::Form),
            ("hub.example/join#x", JoinLinkError::Form),
            ("https://hub.example/other#x", JoinLinkError::Form),
            ("https://hub.example/myjoin#x", JoinLinkError::Form),
            ("ftp://hub.example/join#x", JoinLinkError::Form),
            ("https://hub.example/?join#x", JoinLinkError::Form),
            ("https://ana@hub.example/join#x", JoinLinkError::Form),
            ("https://hub.example/join#x", JoinLinkError::Fragment),
            ("https://hub.example/join#x.y", JoinLinkError::Fragment),
        ] {
            assert_eq!(wrong.parse::<JoinLink>(), Err(error), "{wrong}");
        }
        let fragment = text.find('#').unwrap() + 1;
        for end in fragment..text.len() {
            assert_eq!(text[..end].parse::<JoinLink>(), Err(JoinLinkError::Fragment), "{end}");
        }
        assert_eq!(format!("{text}A").parse::<JoinLink>(), Err(JoinLinkError::Fragment));
    }

    #[test]
    fn a_link_is_not_in_a_log() {
        let printed = format!("{:?}", link());
        assert!(!printed.contains("BwcH") && !printed.contains('7'), "{printed}");
    }

    #[test]
    fn a_proof_is_of_one_user_one_domain_one_conversation_and_one_link() {
        let (link, ana, bruno) = (link(), UserId::from_bytes([1; 16]), UserId::from_bytes([2; 16]));
        let (id, key) = (link.conversation, link.public_key());
        let proof = link.prove(ana, &domain());
        assert!(proves(&proof, &key, id, ana, &domain()));
        assert!(!proves(&proof, &key, id, bruno, &domain()));
        assert!(!proves(&proof, &key, id, ana, &"other.example".parse().unwrap()));
        assert!(!proves(&proof, &key, ConversationId::from_bytes([8; 16]), ana, &domain()));
        let other = JoinLink::new(link.hub.clone(), id);
        assert!(!proves(&proof, &other.public_key(), id, ana, &domain()));
        for bit in 0..64 * 8 {
            let mut changed = proof;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!proves(&changed, &key, id, ana, &domain()), "bit {bit}");
        }
    }

    #[test]
    fn a_key_with_which_anything_could_be_proved_proves_nothing() {
        // The neutral element and a point of order 2, with signatures that a lax verifier takes for any statement.
        let (ana, id) = (UserId::from_bytes([1; 16]), ConversationId::from_bytes([9; 16]));
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut proof = [0; 64];
        proof[0] = 1;
        assert!(!proves(&proof, &neutral, id, ana, &domain()));
        assert!(!proves(&[0; 64], &[0; 32], id, ana, &domain()));
        assert!(!proves(&[0xff; 64], &[0xff; 32], id, ana, &domain()));
    }

    #[test]
    fn who_comes_by_the_link_is_whose_proof_is_of_the_link_before() {
        let (link, ana) = (link(), UserId::from_bytes([1; 16]));
        let (bruno, carla) = (UserId::from_bytes([2; 16]), UserId::from_bytes([3; 16]));
        let before = Policy::new(link.conversation, ConversationType::Group, ana).unwrap();
        let proofs = [(bruno, link.prove(bruno, &domain())), (carla, link.prove(bruno, &domain()))];
        let after = |before: &Policy| {
            before.clone().with_members([bruno, carla], &Role::MEMBER).with_admitted(proofs)
        };
        assert_eq!(
            by_link(&before, &after(&before), [bruno, carla], &domain()),
            BTreeSet::new(),
            "there is no link"
        );
        let with_link = before.clone().with_link(Some(link.public_key()));
        let of = |added: &[UserId]| by_link(&with_link, &after(&with_link), added.to_vec(), &domain());
        assert_eq!(of(&[bruno, bruno, carla]), BTreeSet::from([bruno]));
        assert_eq!(of(&[carla]), BTreeSet::new());
        let brought_along = after(&before).with_link(Some(link.public_key()));
        assert_eq!(
            by_link(&before, &brought_along, [bruno], &domain()),
            BTreeSet::new(),
            "nobody brings their own"
        );
    }
}
