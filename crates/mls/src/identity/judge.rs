//! Who may come in with which certificate.
//!
//! | what comes in | judged | when it is bad, under [`Enforce`](CertificatePolicy::Enforce) |
//! |---|---|---|
//! | key package to add | before the commit is made | the call is refused |
//! | proposal | when it is received | it is refused |
//! | proposal, gone bad meanwhile | when this device commits | it is left out of the commit |
//! | commit: adds, updates, the committer's new leaf | when it is received | it is refused |
//! | Welcome, group info: all members | when this device joins | the join is refused, but not for expiry |
//! | own credential | when it comes into a conversation or a key package | the call is refused |
//!
//! A leaf with the credential that its member had before brings nothing in.
//!
//! How long key packages live is judged here too, whatever the policy is, when this device adds: one that lives longer than
//! the existing clients accept (RFC 9420, section 7.2, has applications set a bound) is refused in its own calls, and left out
//! of its commits when others have proposed it. The proposal is stored all the same, and a commit of others is followed. They
//! may know no bound, or another one, and the hub has ordered their commit: who refuses it, or does not know the proposal that
//! it refers to, is left behind for good, for a key package that is no danger by itself.

use mls_rs::{
    group::{
        CommitEffect, CommitMessageDescription, ProposalMessageDescription, ProposalSender, Sender,
        proposal::{AddProposal, Proposal},
    },
    identity::SigningIdentity,
};

use super::{CertificatePolicy, ClientIdPolicy, chain_of, client_id_of};
use crate::{
    CertificateError, ClientId, NewCrlDistributionPoints, Result, SessionConfig, key_package::Lifetime,
    overlay::Overlay, provider::MlsGroup, x509::Verdict,
};

/// Judges what comes in with one message, and collects the distribution points in it.
pub(crate) struct Judge<'a> {
    overlay: &'a Overlay,
    clients: &'a dyn ClientIdPolicy,
    enforces: bool,
    points: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(overlay: &'a Overlay, config: &'a SessionConfig) -> Self {
        let enforces = config.certificate_policy == CertificatePolicy::Enforce;
        Self { overlay, clients: &*config.client_id_policy, enforces, points: Vec::new() }
    }

    /// The distribution points in what came in for which no revocation list is registered. Those that nobody vouches for
    /// are not among them: who could make up a certificate could make everybody fetch a URL.
    pub(crate) fn new_points(mut self) -> NewCrlDistributionPoints {
        self.points.sort_unstable();
        self.points.dedup();
        (!self.points.is_empty()).then_some(self.points)
    }

    /// Somebody comes in, perhaps in the place of another leaf of the same client.
    pub(crate) fn newcomer(
        &mut self,
        identity: &SigningIdentity,
        predecessor: Option<&SigningIdentity>,
    ) -> Result<()> {
        if predecessor.is_some_and(|before| before.credential == identity.credential) {
            return Ok(());
        }
        let is_downgrade = predecessor.is_some_and(|before| chain_of(before).is_some());
        match self.verdict(identity)? {
            _ if !self.enforces => Ok(()),
            None if is_downgrade => Err(CertificateError::Downgrade.into()),
            None | Some(Verdict::Valid) => Ok(()),
            Some(bad) => Err(reason(bad).into()),
        }
    }

    /// Somebody is there already when this device comes in.
    fn resident(&mut self, identity: &SigningIdentity) -> Result<()> {
        match self.verdict(identity)? {
            _ if !self.enforces => Ok(()),
            None | Some(Verdict::Valid | Verdict::Expired) => Ok(()),
            Some(bad) => Err(reason(bad).into()),
        }
    }

    /// All members of a conversation that this device comes into.
    pub(crate) fn residents(&mut self, group: &MlsGroup) -> Result<()> {
        group.roster().members_iter().try_for_each(|member| self.resident(&member.signing_identity))
    }

    /// A key package that is to be added to a group, while the leaves of `removed` go.
    pub(crate) fn key_package(&mut self, identity: &SigningIdentity, group: &MlsGroup) -> Result<()> {
        let client = self.canonical(identity)?;
        let before = group.member_with_identity(client.as_bytes()).ok();
        self.newcomer(identity, before.as_ref().map(|member| &member.signing_identity))
    }

    /// A commit that was applied.
    pub(crate) fn commit(&mut self, after: &MlsGroup, commit: &CommitMessageDescription) -> Result<()> {
        let CommitEffect::NewEpoch(new_epoch) = &commit.effect else { return Ok(()) };
        let before = new_epoch.prior_state();
        // Basic credentials in whose place somebody else comes are of no interest.
        let mut removed = Vec::new();
        for info in new_epoch.applied_proposals() {
            if let Proposal::Remove(remove) = &info.proposal
                && let Some(member) = before.member_at_index(remove.to_remove())
                && chain_of(&member.signing_identity).is_some()
            {
                removed.push((self.canonical(&member.signing_identity)?, member.signing_identity));
            }
        }
        for info in new_epoch.applied_proposals() {
            match (&info.proposal, &info.sender) {
                (Proposal::Add(add), _) => self.in_place_of(add.signing_identity(), &removed)?,
                (Proposal::Update(update), Sender::Member(index)) => {
                    let member = before.member_at_index(*index);
                    self.newcomer(
                        update.signing_identity(),
                        member.as_ref().map(|member| &member.signing_identity),
                    )?;
                }
                _ => {}
            }
        }
        let Some(committer) = after.member_at_index(commit.committer) else { return Ok(()) };
        if commit.is_external {
            return self.in_place_of(&committer.signing_identity, &removed);
        }
        let member = before.member_at_index(commit.committer);
        self.newcomer(&committer.signing_identity, member.as_ref().map(|member| &member.signing_identity))
    }

    /// A proposal that was received.
    pub(crate) fn proposal(
        &mut self,
        group: &MlsGroup,
        description: &ProposalMessageDescription,
    ) -> Result<()> {
        let sender = match description.sender {
            ProposalSender::Member(index) => Some(index),
            _ => None,
        };
        // The library looks at a proposal's identity when it is committed, and no earlier.
        if let Proposal::Add(add) = &description.proposal {
            self.canonical(add.signing_identity())?;
        }
        if let Proposal::Update(update) = &description.proposal {
            self.canonical(update.signing_identity())?;
        }
        self.proposed(group, &description.proposal, sender)
    }

    /// Who of the pending proposals' newcomers is to be left out of a commit.
    pub(crate) fn gone_bad(&mut self, group: &MlsGroup) -> Result<Vec<SigningIdentity>> {
        let mut bad = Vec::new();
        for cached in group.get_cached_proposals() {
            let sender = match cached.sender() {
                Sender::Member(index) => Some(*index),
                _ => None,
            };
            let newcomer = match cached.proposal() {
                Proposal::Add(add) if lives_too_long(add) => {
                    bad.push(add.signing_identity().clone());
                    continue;
                }
                _ if !self.enforces => continue,
                Proposal::Add(add) => add.signing_identity(),
                Proposal::Update(update) => update.signing_identity(),
                _ => continue,
            };
            match self.proposed(group, cached.proposal(), sender) {
                Ok(()) => {}
                Err(crate::EngineError::InvalidCertificate(_)) => bad.push(newcomer.clone()),
                Err(error) => return Err(error),
            }
        }
        Ok(bad)
    }

    fn proposed(&mut self, group: &MlsGroup, proposal: &Proposal, sender: Option<u32>) -> Result<()> {
        match proposal {
            Proposal::Add(add) => self.newcomer(add.signing_identity(), None),
            Proposal::Update(update) => {
                let member = sender.and_then(|index| group.member_at_index(index));
                self.newcomer(
                    update.signing_identity(),
                    member.as_ref().map(|member| &member.signing_identity),
                )
            }
            _ => Ok(()),
        }
    }

    /// Somebody comes in with a commit that removes others, of which one may be the same client.
    fn in_place_of(
        &mut self,
        identity: &SigningIdentity,
        removed: &[(ClientId, SigningIdentity)],
    ) -> Result<()> {
        if removed.is_empty() {
            return self.newcomer(identity, None);
        }
        let client = self.canonical(identity)?;
        let predecessor =
            removed.iter().find(|(removed, _)| *removed == client).map(|(_, identity)| identity);
        self.newcomer(identity, predecessor)
    }

    /// What the certificate of somebody is worth; none for a basic credential.
    fn verdict(&mut self, identity: &SigningIdentity) -> Result<Option<Verdict>> {
        let Some(chain) = chain_of(identity) else { return Ok(None) };
        let pki = self.overlay.pki()?;
        let verdict = pki.verdict(chain, self.overlay.trust().at());
        if !matches!(verdict, Verdict::Untrusted | Verdict::NotYetValid { .. }) {
            self.points.extend(pki.unknown_points(chain));
        }
        Ok(Some(verdict))
    }

    fn canonical(&self, identity: &SigningIdentity) -> Result<ClientId> {
        Ok(self.clients.canonical(&client_id_of(identity)?)?)
    }
}

/// Whether a key package is valid for longer than the existing clients accept. One without a lifetime the library refuses.
fn lives_too_long(add: &AddProposal) -> bool {
    Lifetime::of(add.key_package()).is_ok_and(Lifetime::is_too_long)
}

fn reason(bad: Verdict) -> CertificateError {
    match bad {
        Verdict::Expired => CertificateError::Expired,
        Verdict::Revoked => CertificateError::Revoked,
        Verdict::NotYetValid { not_before } => CertificateError::NotYetValid { not_before },
        Verdict::Untrusted | Verdict::Valid => CertificateError::Untrusted,
    }
}
