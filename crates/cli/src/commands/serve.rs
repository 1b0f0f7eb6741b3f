//! `serve`.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tertulia::Domain;
use tertulia_server::{Server, ServerConfig, ServerError};

use super::data_directory;
use crate::{
    args::{ServeArgs, ServingArgs, StartArgs, Switch},
    configuration::{self, Program},
    error::CliError,
    output::{self, Output},
    shutdown::{HangUp, Shutdown},
};

/// Runs a hub until it is asked to stop; asked once more while it finishes, it stops at once.
pub(super) async fn serve(args: &ServeArgs, output: Output) -> Result<(), CliError> {
    let data = data_of(&args.common, "hub")?;
    if args.start.print_config {
        return print_configuration(Program::Serve, &args.start, &data, output);
    }
    // From here on a signal ends the hub in good order, also one that comes before it is ready.
    let mut shutdown = Shutdown::listen().map_err(CliError::Process)?;

    let tls = args.common.tls();
    let mut hang_up = HangUp::listen(tls.is_some()).map_err(CliError::Process)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut config = ServerConfig::new(args.listen, &data);
    config.database.clone_from(&args.database);
    config.nats.clone_from(&args.nats);
    config.domain.clone_from(&args.domain);
    config.tls = tls;
    config.redirect_http = args.redirect_http;
    config.behind_proxy = args.common.behind_proxy;
    config.metrics = args.common.metrics;
    config.limits = args.limits.limits();
    config.limits.connections = args.common.connections();
    config.limits.database_bytes = args.max_storage.map(|size| size.as_u64());
    config.guest_lifetime = (args.guest_hours > 0).then(|| Duration::from_hours(args.guest_hours));
    config.limits.link_validity = args.link_expires.min(args.link_longest);
    config.limits.longest_link_validity = args.link_longest;
    config.relay = (args.relay == Switch::On).then(|| args.relay_limits.limits());
    let server = Server::bind(config).await?;

    let address = format!("{scheme}://{}", server.local_addr());
    let text = greeting(server.domain(), &address, &data, server.metrics_addr(), io::stdout().is_terminal());
    output::print_styled(&text)?;

    let reload = server.reload();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = Box::pin(server.run(async {
        // An error would mean that the other end is gone, and this function with it.
        let _ = stopped.await;
    }));
    until_asked(running, stop, &mut shutdown, &mut hang_up, || reload.now()).await
}

/// Where the data of a server of this name are to be.
pub(super) fn data_of(args: &ServingArgs, name: &str) -> Result<PathBuf, CliError> {
    match &args.data {
        Some(data) => Ok(data.clone()),
        None => Ok(data_directory()?.join(name)),
    }
}

/// Prints all settings of a server whose data are there.
pub(super) fn print_configuration(
    program: Program,
    start: &StartArgs,
    data: &Path,
    output: Output,
) -> Result<(), CliError> {
    let mut origins = start.origins.clone();
    origins.by_default("data", data.display().to_string());
    output::print_exactly(configuration::print(program, &origins, output).as_bytes())
}

/// Lets a server run until somebody asks it to stop, and then until it has ended in good order, or is asked once more.
pub(super) async fn until_asked(
    mut running: impl Future<Output = Result<(), ServerError>> + Unpin,
    stop: tokio::sync::oneshot::Sender<()>,
    shutdown: &mut Shutdown,
    hang_up: &mut HangUp,
    reload: impl Fn(),
) -> Result<(), CliError> {
    loop {
        tokio::select! {
            result = &mut running => return Ok(result?),
            () = hang_up.came() => reload(),
            () = shutdown.requested() => break,
        }
    }
    let _ = stop.send(());
    tokio::select! {
        result = &mut running => Ok(result?),
        () = shutdown.requested() => Ok(()),
    }
}

/// What standard output says once the hub takes requests. Programs read the first line; a person is told what to type.
fn greeting(
    domain: &Domain,
    address: &str,
    data: &Path,
    metrics: Option<SocketAddr>,
    for_person: bool,
) -> String {
    let mut text = format!("Tertulia hub for {domain}, listening on {address}\nData in {}\n", data.display());
    if let Some(metrics) = metrics {
        let _ = writeln!(text, "Numbers at http://{metrics}/metrics");
    }
    if for_person {
        let _ = write!(
            text,
            "\nIn another terminal:\n  tertulia signup alice --hub {address}\n\
             The API, to read: {address}/v1/docs\nCtrl-C stops the hub.\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_the_hub_is() {
        let text = greeting(
            &Domain::localhost(),
            "http://127.0.0.1:8440",
            Path::new("/var/lib/tertulia"),
            None,
            false,
        );
        assert_eq!(
            text,
            "Tertulia hub for localhost, listening on http://127.0.0.1:8440\nData in /var/lib/tertulia\n"
        );
    }

    #[test]
    fn a_person_is_told_what_to_type_next() {
        let text = greeting(
            &Domain::localhost(),
            "http://127.0.0.1:8440",
            Path::new("data"),
            Some(([127, 0, 0, 1], 9464).into()),
            true,
        );
        assert!(text.contains("Numbers at http://127.0.0.1:9464/metrics\n"));
        assert!(text.starts_with("Tertulia hub for localhost, listening on http://127.0.0.1:8440\n"));
        assert!(text.contains("tertulia signup alice --hub http://127.0.0.1:8440\n"));
    }
}
