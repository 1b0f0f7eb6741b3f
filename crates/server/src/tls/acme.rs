//! Certificates from an authority: the one that is in use, and its successors in time.

use super::{
    HTTP,
    issuing::{self, IssuingError},
    resolver::{ACME_TLS, Resolver},
};
use crate::{ServerError, config::Acme, files, shutdown::Shutdown};
use axum_server::tls_rustls::RustlsConfig;
use backon::{ExponentialBuilder, Retryable as _};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};
use tertulia_domain::Domain;
use x509_parser::prelude::{ASN1Time, FromDer as _, GeneralName, X509Certificate};
use zeroize::Zeroizing;

/// How often the time is compared, which may have been set anew meanwhile.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// After a failure it is tried again ever more seldom, but so often at least. An authority may take no more than a few failures
/// an hour.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);

/// After so many times the shortest pause, an hour by default, another one is ordered if a certificate was due when it was issued: the
/// clock is wrong, or the authority issues for a very short time.
const RESTS: u32 = 30;

/// Certificates that an authority issues.
pub(crate) struct Certificate {
    acme: Acme,
    /// Where certificate and account are kept.
    directory: PathBuf,
    resolver: Arc<Resolver>,
    config: RustlsConfig,
    /// The one in use, in PEM, as long as it could not be written.
    unwritten: Option<Zeroizing<String>>,
    /// When the next one is due; at once without one.
    due: SystemTime,
}

/// How long no other certificate is ordered after one was issued: an authority issues so many a week.
fn rest(due: SystemTime, now: SystemTime, retry: Duration) -> Duration {
    if due > now { retry } else { retry.saturating_mul(RESTS) }
}

/// A certificate that can be used, and when the next one is due.
struct Issued {
    certificate: CertifiedKey,
    names: Vec<Domain>,
    due: SystemTime,
}

impl Certificate {
    /// Reads what was issued before.
    pub(super) fn open(acme: Acme, data: &Path) -> Result<Self, ServerError> {
        let directory = data.join("acme");
        files::create_private_dir(&directory)
            .map_err(|source| ServerError::File { path: directory.clone(), source })?;
        let resolver = Arc::<Resolver>::default();
        let mut config = super::builder()?.with_cert_resolver(Arc::clone(&resolver) as Arc<_>);
        config.alpn_protocols = vec![HTTP.to_vec(), ACME_TLS.to_vec()];
        let config = RustlsConfig::from_config(Arc::new(config));

        let due = SystemTime::UNIX_EPOCH;
        let mut opened = Self { acme, directory, resolver, config, unwritten: None, due };
        if let Some(issued) = opened.issued_before() {
            opened.take(issued);
        }
        Ok(opened)
    }

    /// What connections are accepted with; it follows the certificate.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Has a certificate issued whenever one is due, until the hub is to stop.
    pub(super) async fn keep_current(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.renew_in_time() => {}
            () = shutdown.requested() => {}
        }
    }

    async fn renew_in_time(&mut self) {
        loop {
            self.write();
            let left = self.due.duration_since(SystemTime::now()).unwrap_or_default();
            if !left.is_zero() {
                let pause = if self.unwritten.is_some() { self.acme.retry } else { LOOK_EVERY };
                tokio::time::sleep(left.min(pause)).await;
                continue;
            }
            let pauses = ExponentialBuilder::default()
                .with_factor(3.0)
                .with_min_delay(self.acme.retry)
                .with_max_delay(LONGEST_PAUSE)
                .with_jitter()
                .without_max_times();
            let issued = (|| self.issue()).retry(pauses).notify(|error, pause| {
                tracing::warn!(%error, again_in = ?pause, "no certificate was issued");
            });
            match issued.await {
                Ok((issued, pem)) => {
                    tracing::info!(names = ?issued.names, "a new certificate is in use");
                    self.take(issued);
                    self.unwritten = Some(pem);
                    self.write();
                    let rest = rest(self.due, SystemTime::now(), self.acme.retry);
                    if rest > self.acme.retry {
                        tracing::warn!(
                            next_in = ?rest,
                            "the certificate that was just issued is due for renewal already: look at this machine's clock"
                        );
                    }
                    tokio::time::sleep(rest).await;
                }
                Err(error) => tracing::warn!(%error, "no certificate was issued"),
            }
        }
    }

    /// Has a certificate issued: what can be used, and what is to be kept.
    async fn issue(&self) -> Result<(Issued, Zeroizing<String>), IssuingError> {
        let pem = issuing::issue(&self.acme, &self.directory, &self.resolver).await?;
        let issued = Issued::read(pem.as_bytes()).ok_or(IssuingError::Unusable)?;
        Ok((issued, pem))
    }

    /// Writes the certificate in use, if that is not done yet. If it fails, no other one is ordered for that: an authority issues the
    /// same a few times a week.
    fn write(&mut self) {
        let Some(pem) = &self.unwritten else { return };
        let path = self.file();
        match files::write_private(&path, pem.as_bytes()) {
            Ok(()) => self.unwritten = None,
            Err(error) => {
                let (path, again_in) = (path.display(), self.acme.retry);
                tracing::warn!(%path, %error, ?again_in, "the certificate is in use, and cannot be written");
            }
        }
    }

    /// What was issued by the same authority, for the same names. Whatever cannot be read is issued anew.
    fn issued_before(&self) -> Option<Issued> {
        if !issuing::is_of(&self.acme, &self.directory) {
            return None;
        }
        let pem = Zeroizing::new(std::fs::read(self.file()).ok()?);
        Issued::read(&pem).filter(|issued| self.acme.names.iter().all(|name| issued.names.contains(name)))
    }

    fn take(&mut self, issued: Issued) {
        self.due = issued.due;
        self.resolver.set(issued.certificate);
    }

    fn file(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }
}

impl Issued {
    /// Reads a key and the chain of its certificate. None if they cannot be used.
    fn read(pem: &[u8]) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
        let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
        let names = leaf.subject_alternative_name().ok()??.value.general_names.iter();
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => name.parse().ok(),
            _ => None,
        });
        let names = names.collect();
        let second = |time: ASN1Time| u64::try_from(time.timestamp()).ok().map(Duration::from_secs);
        let (begin, end) = (second(leaf.validity.not_before)?, second(leaf.validity.not_after)?);
        // With a third of its time left, so that an authority that is away for days does no harm.
        let due = SystemTime::UNIX_EPOCH + end.saturating_sub(end.saturating_sub(begin) / 3);
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certificate = CertifiedKey::from_der(chain, key, &provider).ok()?;
        Some(Self { certificate, names, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_due_when_it_is_issued_is_not_renewed_at_once() {
        let (now, retry) = (SystemTime::now(), Acme::new([]).retry);
        let hour = Duration::from_hours(1);
        assert_eq!(rest(now + hour, now, retry), retry);
        assert_eq!(rest(now, now, retry), hour);
        assert_eq!(rest(SystemTime::UNIX_EPOCH, now, retry), hour);
    }
}
