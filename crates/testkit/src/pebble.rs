//! A certificate authority that speaks ACME: Pebble, which is made for tests, with a DNS server that leads every name here.

use crate::{Error, ports};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long it may take until it answers.
const START: Duration = Duration::from_mins(1);

/// An authority of one's own. It ends with this value, and nothing stays.
pub struct Authority {
    files: TempDir,
    port: u16,
    management: u16,
    processes: Vec<Child>,
}

/// How an authority issues.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where it asks whoever wants a certificate, over TLS: otherwise it would be 443.
    pub tls_port: u16,
    /// For how long certificates hold.
    pub validity: Duration,
}

impl Authority {
    /// Starts one of one's own.
    pub fn start(options: Options) -> Result<Self, Error> {
        let files = tempfile::Builder::new().prefix("acme").tempdir().map_err(crate::io("a directory"))?;
        let (port, management) = (ports::free(), ports::free());
        let mut authority = Self { files, port, management, processes: Vec::new() };
        authority.make_own_certificate()?;
        let dns = authority.start_dns()?;
        authority.start_pebble(options, dns)?;
        Ok(authority)
    }

    /// The address of its directory.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// Where the root of what it issues can be read: over HTTPS, as the [root](Self::own_root) of its own address has it.
    pub fn issued_root(&self) -> String {
        format!("https://localhost:{}/roots/0", self.management)
    }

    /// The root certificate for its own address, PEM.
    pub fn own_root(&self) -> PathBuf {
        self.file("root.pem")
    }

    fn make_own_certificate(&self) -> Result<(), Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let own = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &root)?;
        self.write("root.pem", root.pem())?;
        self.write("own.pem", own.pem())?;
        self.write("own-key.pem", key.serialize_pem())
    }

    fn start_dns(&mut self) -> Result<u16, Error> {
        let (port, management) = (ports::free(), ports::free());
        let mut command = Command::new("pebble-challtestsrv");
        command.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        command.args(["-dns01", &format!("127.0.0.1:{port}")]);
        command.args(["-management", &format!("127.0.0.1:{management}")]);
        self.launch("pebble-challtestsrv", command, management)?;
        Ok(port)
    }

    fn start_pebble(&mut self, options: Options, dns: u16) -> Result<(), Error> {
        let path = |name| self.file(name).display().to_string();
        let config = format!(
            r#"{{"pebble": {{
                "listenAddress": "127.0.0.1:{}", "managementListenAddress": "127.0.0.1:{}",
                "certificate": "{}", "privateKey": "{}", "httpPort": 1, "tlsPort": {},
                "ocspResponderURL": "", "externalAccountBindingRequired": false,
                "certificateValidityPeriod": {}
            }}}}"#,
            self.port,
            self.management,
            path("own.pem"),
            path("own-key.pem"),
            options.tls_port,
            options.validity.as_secs(),
        );
        self.write("pebble.json", config)?;
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.file("pebble.json"));
        command.args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
        command.env("PEBBLE_VA_NOSLEEP", "1"); // it waits at random otherwise
        self.launch("pebble", command, self.management)?;
        self.wait("pebble", self.port)
    }

    fn launch(&mut self, program: &'static str, mut command: Command, port: u16) -> Result<(), Error> {
        let log = File::create(self.log(program)).map_err(crate::io("a log"))?;
        let other = log.try_clone().map_err(crate::io("a log"))?;
        let spawned = command.stdin(Stdio::null()).stdout(log).stderr(other).spawn();
        let process = spawned.map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing { program, package: "pebble" },
            _ => crate::io(program)(source),
        })?;
        self.processes.push(process);
        self.wait(program, port)
    }

    /// It has no other way to say that it is ready than to answer.
    fn wait(&mut self, program: &'static str, port: u16) -> Result<(), Error> {
        let deadline = Instant::now() + START;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let log = fs::read_to_string(self.log(program)).unwrap_or_default();
            let ended = self.processes.last_mut().and_then(|process| process.try_wait().ok().flatten());
            if let Some(status) = ended {
                return Err(Error::Ended { program, status, log });
            }
            if Instant::now() > deadline {
                return Err(Error::Silent { program, log });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn log(&self, program: &str) -> PathBuf {
        self.file(&format!("{program}.log"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<(), Error> {
        let path: &Path = &self.file(name);
        fs::write(path, text).map_err(crate::io("a file of the authority"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
