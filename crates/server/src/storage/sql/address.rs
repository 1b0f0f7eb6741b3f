//! Where a PostgreSQL server is, and how the way to it is protected.

use super::{super::StorageError, postgres::Client};
use ::tokio_postgres::{
    Config, NoTls,
    config::{SslMode, TargetSessionAttrs},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{fmt, path::PathBuf, str::FromStr, sync::Arc, time::Duration};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the server may say nothing where it has to.
const SILENCE: Duration = Duration::from_secs(10);

/// Where a PostgreSQL server is, and as whom to connect: `postgres://user:password@host:port/database`. With
/// `?sslmode=verify-full` the connection is encrypted, and the server's certificate has to be for its host and from an authority that
/// the machine trusts, or one in the PEM file of `sslrootcert`. `require` is the same: who demands encryption wants to know with
/// whom. Of several hosts (`host,other`) it is the first that takes writes, unless `target_session_attrs` says otherwise. Its `Debug`
/// shows no password.
#[derive(Clone)]
pub struct DatabaseUrl {
    config: Arc<Config>,
    tls: Option<Arc<Trust>>,
}

/// Whose certificates are believed.
enum Trust {
    /// Those that the machine believes.
    Machine,
    /// Those of the authorities in a PEM file.
    File(PathBuf),
}

/// What is wrong about the parts of an address that say how the connection is protected.
#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error("`sslmode` is `disable`, `require` or `verify-full`")]
    Mode,
    #[error("`sslrootcert` is of no use without `sslmode=verify-full`")]
    RootWithoutMode,
    #[error("`sslrootcert` is not UTF-8")]
    NotUtf8,
    #[error("the certificates in {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("there is no certificate in {}", path.display())]
    Empty { path: PathBuf },
    #[error("this machine has no certificates of authorities; `sslrootcert` can name a file")]
    NoAuthorities,
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
}

impl FromStr for DatabaseUrl {
    type Err = StorageError;

    /// Reads `postgres://user:password@host:port/database`, or the `key=value` form.
    fn from_str(url: &str) -> Result<Self, StorageError> {
        let Parts { rest, mode, root } = Parts::of(url).map_err(unusable)?;
        let mut config: Config = rest.parse().map_err(unusable)?;
        let tls = match (mode.as_deref(), root) {
            (None, None) if config.get_ssl_mode() == SslMode::Require => Some(Trust::Machine),
            (None | Some("disable"), None) => None,
            (Some("require" | "verify-full"), None) => Some(Trust::Machine),
            (Some("require" | "verify-full"), Some(root)) => Some(Trust::File(root)),
            (None | Some("disable"), Some(_)) => return Err(unusable(TlsError::RootWithoutMode)),
            (Some(_), _) => return Err(unusable(TlsError::Mode)),
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        // Nothing is written at a standby, and who reads there may be behind.
        if !url.contains("target_session_attrs") {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("tertulia");
        }
        // A server that is gone without a word is noticed, unless the address says how.
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        Ok(Self { config: Arc::new(config), tls: tls.map(Arc::new) })
    }
}

impl DatabaseUrl {
    /// A connection.
    pub(super) fn connect(&self) -> Result<Client, StorageError> {
        Ok(match &self.tls {
            None => Client::connect(&self.config, NoTls)?,
            Some(trust) => Client::connect(&self.config, trust.connector().map_err(unusable)?)?,
        })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseUrl")
            .field("hosts", &self.config.get_hosts())
            .field("database", &self.config.get_dbname())
            .field("encrypted", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> StorageError {
    StorageError::Address(Arc::new(error))
}

/// An address without what the client does not know.
struct Parts {
    rest: String,
    mode: Option<String>,
    root: Option<PathBuf>,
}

impl Parts {
    fn of(url: &str) -> Result<Self, TlsError> {
        let (mut mode, mut root) = (None, None);
        let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
        let Some((rest, query)) = url.split_once('?').filter(|_| is_url) else {
            return Ok(Self { rest: url.to_owned(), mode, root });
        };
        let mut kept = Vec::new();
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value.to_owned()),
                Some(("sslrootcert", value)) => {
                    let path = percent_encoding::percent_decode_str(value).decode_utf8();
                    root = Some(path.map_err(|_| TlsError::NotUtf8)?.into_owned().into());
                }
                _ => kept.push(pair),
            }
        }
        let mut rest = rest.to_owned();
        if !kept.is_empty() {
            rest.push('?');
            rest.push_str(&kept.join("&"));
        }
        Ok(Self { rest, mode, root })
    }
}

impl Trust {
    fn connector(&self) -> Result<MakeRustlsConnect, TlsError> {
        let mut roots = RootCertStore::empty();
        match self {
            Self::Machine => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError::NoAuthorities);
                }
            }
            Self::File(path) => {
                let read = |source| TlsError::Read { path: path.clone(), source };
                for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
                    roots.add(certificate.map_err(read)?)?;
                }
                if roots.is_empty() {
                    return Err(TlsError::Empty { path: path.clone() });
                }
            }
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(MakeRustlsConnect::new(config))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(url: &str) -> DatabaseUrl {
        url.parse().unwrap()
    }

    #[test]
    fn an_address_says_whether_the_way_is_encrypted_and_whom_to_believe() {
        for plain in [
            "postgres://u:p@h/d",
            "postgres://u:p@h/d?sslmode=disable",
            "postgres://u@%2Ftmp%2Fpg/d",
            "host=h user=u sslmode=disable",
        ] {
            assert!(read(plain).tls.is_none(), "{plain}");
        }
        for machine in [
            "postgres://u:p@h/d?sslmode=require",
            "postgresql://u:p@h/d?connect_timeout=3&sslmode=verify-full",
            "host=h user=u sslmode=require",
        ] {
            assert!(matches!(read(machine).tls.as_deref(), Some(Trust::Machine)), "{machine}");
        }
        let file =
            read("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fa%20b.pem&connect_timeout=3");
        assert!(matches!(file.tls.as_deref(), Some(Trust::File(path)) if path.as_os_str() == "/etc/a b.pem"));
        assert_eq!(file.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert!(!format!("{file:?}").contains("\"p\""));
    }

    #[test]
    fn a_server_has_to_take_writes_unless_the_address_says_otherwise() {
        for (url, expected) in [
            ("postgres://u:p@a,b/d", TargetSessionAttrs::ReadWrite),
            ("postgres://u:p@a/d?sslmode=require", TargetSessionAttrs::ReadWrite),
            ("host=a,b user=u", TargetSessionAttrs::ReadWrite),
            ("postgres://u:p@a,b/d?target_session_attrs=any", TargetSessionAttrs::Any),
            ("host=a,b user=u target_session_attrs=any", TargetSessionAttrs::Any),
        ] {
            assert_eq!(read(url).config.get_target_session_attrs(), expected, "{url}");
        }
    }

    #[test]
    fn what_would_protect_less_than_it_seems_is_refused() {
        for wrong in [
            "postgres://u:sesame@h/d?sslmode=prefer",
            "postgres://u:sesame@h/d?sslmode=verify-ca",
            "postgres://u:sesame@h/d?sslmode=",
            "postgres://u:sesame@h/d?sslrootcert=a.pem",
            "postgres://u:sesame@h/d?sslmode=disable&sslrootcert=a.pem",
            "postgres://u:sesame@h/d?sslmode=verify-full&sslrootcert=%ff",
        ] {
            let error = wrong.parse::<DatabaseUrl>().unwrap_err();
            assert!(matches!(error, StorageError::Address(_)), "{wrong}: {error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
        let nowhere = read("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere.pem");
        let error = nowhere.connect().err().unwrap();
        assert!(error.to_string().contains("/nowhere.pem"), "{error}");
    }
}
