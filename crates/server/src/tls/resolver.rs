//! Which certificate a connection gets: the hub's, or the answer to what an authority asks of a name (RFC 8737).

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// The protocol over which an authority asks (RFC 8737, section 4).
pub(super) const ACME_TLS: &[u8] = b"acme-tls/1";

/// The certificates that are there at the moment.
#[derive(Default)]
pub(super) struct Resolver(RwLock<Certificates>);

#[derive(Default)]
struct Certificates {
    own: Option<Arc<CertifiedKey>>,
    /// What an authority is to find, by the name that it asks for.
    answers: HashMap<String, Arc<CertifiedKey>>,
}

impl Resolver {
    /// Gives new connections this certificate.
    pub(super) fn set(&self, certificate: CertifiedKey) {
        self.write(|certificates| certificates.own = Some(Arc::new(certificate)));
    }

    /// Answers an authority that asks for this name.
    pub(super) fn answer(&self, name: String, certificate: CertifiedKey) {
        self.write(|certificates| drop(certificates.answers.insert(name, Arc::new(certificate))));
    }

    /// Answers no more.
    pub(super) fn forget_answers(&self) {
        self.write(|certificates| certificates.answers.clear());
    }

    fn write(&self, change: impl FnOnce(&mut Certificates)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.read().unwrap_or_else(PoisonError::into_inner);
        // It offers this protocol and no other.
        let asks = client_hello.alpn().is_some_and(|mut offered| {
            offered.next().is_some_and(|first| first == ACME_TLS) && offered.next().is_none()
        });
        if asks {
            return client_hello.server_name().and_then(|name| certificates.answers.get(name)).cloned();
        }
        certificates.own.clone()
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}
