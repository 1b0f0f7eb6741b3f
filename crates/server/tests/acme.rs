//! Certificates from an authority: a real one, that speaks ACME and asks the hub itself.
#![allow(clippy::unwrap_used)]

use std::{net::Ipv4Addr, path::Path, time::Duration};
use support::hub::Hub;
use tertulia_server::Acme;
use tertulia_testkit::{
    pebble::{Authority, Options},
    ports,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

mod support;

const NAME: &str = "hub.example";
const AN_HOUR: Duration = Duration::from_hours(1);

fn authority(tls_port: u16, validity: Duration) -> Authority {
    Authority::start(Options { tls_port, validity }).unwrap()
}

async fn hub(port: u16, authority: &Authority, dir: tempfile::TempDir) -> Hub {
    Hub::start_with(dir, |config| {
        let acme = Acme::new([NAME.parse().unwrap()]);
        config.listen = (Ipv4Addr::LOCALHOST, port).into();
        config.tls = Some(
            Acme {
                directory: authority.directory(),
                root: Some(authority.own_root()),
                retry: Duration::from_millis(200),
                ..acme
            }
            .into(),
        );
    })
    .await
}

/// The root of what the authority issues.
async fn issued_root(authority: &Authority) -> reqwest::Certificate {
    let own = reqwest::Certificate::from_pem(&std::fs::read(authority.own_root()).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([own]).build().unwrap();
    let root = client.get(authority.issued_root()).send().await.unwrap().bytes().await.unwrap();
    reqwest::Certificate::from_pem(&root).unwrap()
}

/// The certificate that somebody gets who comes new to the hub, by its name, and trusts the root alone. Comes until there is one.
async fn certificate(port: u16, root: &reqwest::Certificate) -> Vec<u8> {
    loop {
        let client = reqwest::Client::builder()
            .tls_certs_only([root.clone()])
            .resolve(NAME, (Ipv4Addr::LOCALHOST, port).into())
            .tls_info(true)
            .build()
            .unwrap();
        let Ok(answer) = client.get(format!("https://{NAME}:{port}/healthz")).send().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
        let certificate = info.peer_certificate().unwrap().to_vec();
        assert_eq!(answer.text().await.unwrap(), "ok\n");
        return certificate;
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_certificate_is_issued_and_renewed_while_the_hub_runs() {
    let port = ports::free();
    let authority = authority(port, Duration::from_secs(10));
    let hub = hub(port, &authority, tempfile::tempdir().unwrap()).await;
    let root = issued_root(&authority).await;
    let first = certificate(port, &root).await;
    while certificate(port, &root).await == first {}
    hub.stop().await;
}

#[tokio::test]
async fn what_was_issued_is_kept_for_the_hub_alone_and_outlives_a_restart_without_the_authority() {
    let port = ports::free();
    let authority = authority(port, AN_HOUR);
    let first = hub(port, &authority, tempfile::tempdir().unwrap()).await;
    let root = issued_root(&authority).await;
    let issued = certificate(port, &root).await;
    let dir = first.stop().await;
    #[cfg(unix)]
    for (file, expected) in [("", 0o700), ("certificate.pem", 0o600), ("account.json", 0o600)] {
        assert_eq!(mode(&dir.path().join("acme").join(file)), expected, "{file}");
    }

    let again = hub(port, &authority, dir).await;
    assert_eq!(certificate(port, &root).await, issued);
    let dir = again.stop().await;
    // Damaged, it is issued anew.
    std::fs::write(dir.path().join("acme/certificate.pem"), "no certificate").unwrap();
    let anew = hub(port, &authority, dir).await;
    assert_ne!(certificate(port, &root).await, issued);
    anew.stop().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_written_is_used_and_written_later_without_another_one() {
    let port = ports::free();
    let authority = authority(port, AN_HOUR);
    let dir = tempfile::tempdir().unwrap();
    // Where the file is to be, there is a directory.
    let file = dir.path().join("acme/certificate.pem");
    std::fs::create_dir_all(&file).unwrap();
    let first = hub(port, &authority, dir).await;
    let root = issued_root(&authority).await;
    let issued = certificate(port, &root).await;
    std::fs::remove_dir(&file).unwrap();
    while !file.is_file() {
        tokio::time::sleep(Duration::from_millis(20)).await; // nothing tells
    }
    assert_eq!(certificate(port, &root).await, issued);
    // What was written is what was issued first.
    let again = hub(port, &authority, first.stop().await).await;
    assert_eq!(certificate(port, &root).await, issued);
    again.stop().await;
}

#[tokio::test]
async fn a_hub_that_the_authority_does_not_reach_under_its_name_tries_again() {
    let (port, public) = (ports::free(), ports::free());
    let authority = authority(public, AN_HOUR);
    let hub = hub(port, &authority, tempfile::tempdir().unwrap()).await;
    let root = issued_root(&authority).await;
    // The first to knock at the public port, where nobody answers over TLS, is the authority.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, public)).await.unwrap();
    drop(listener.accept().await.unwrap());
    // From now on it leads to the hub.
    let leading = tokio::spawn(async move {
        loop {
            let (mut outer, _) = listener.accept().await.unwrap();
            let mut inner = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut outer, &mut inner).await });
        }
    });
    certificate(port, &root).await;
    leading.abort();
    hub.stop().await;
}
