//! `relay`.

use std::{fmt::Write as _, io, net::SocketAddr, path::Path};

use tertulia_server::{RelayConfig, RelayServer};

use super::serve::{data_of, print_configuration, until_asked};
use crate::{
    args::RelayArgs,
    configuration::Program,
    error::CliError,
    output::{self, Output},
    shutdown::{HangUp, Shutdown},
};

/// Runs a relay until it is asked to stop; asked once more while it finishes, it stops at once.
pub(super) async fn relay(args: &RelayArgs, output: Output) -> Result<(), CliError> {
    let data = data_of(&args.common, "relay")?;
    if args.start.print_config {
        return print_configuration(Program::Relay, &args.start, &data, output);
    }
    // From here on a signal ends the relay in good order, also one that comes before it is ready.
    let mut shutdown = Shutdown::listen().map_err(CliError::Process)?;

    let tls = args.common.tls();
    let mut hang_up = HangUp::listen(tls.is_some()).map_err(CliError::Process)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut config = RelayConfig::new(args.listen, &data);
    config.tls = tls;
    config.behind_proxy = args.common.behind_proxy;
    config.metrics = args.common.metrics;
    config.connections = args.common.connections();
    config.limits = args.limits.limits();
    let server = RelayServer::bind(config).await?;

    let address = format!("{scheme}://{}", server.local_addr());
    let for_person = io::IsTerminal::is_terminal(&io::stdout());
    output::print_styled(&greeting(&address, &data, server.metrics_addr(), for_person))?;

    let reload = server.reload();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = Box::pin(server.run(async {
        // An error would mean that the other end is gone, and this function with it.
        let _ = stopped.await;
    }));
    until_asked(running, stop, &mut shutdown, &mut hang_up, || reload.now()).await
}

/// What standard output says once the relay takes requests. Programs read the first line.
fn greeting(address: &str, data: &Path, metrics: Option<SocketAddr>, for_person: bool) -> String {
    let mut text = format!("Tertulia relay, listening on {address}\nData in {}\n", data.display());
    if let Some(metrics) = metrics {
        let _ = writeln!(text, "Numbers at http://{metrics}/metrics");
    }
    if for_person {
        let _ = write!(text, "\nThe API, to read: {address}/v1/docs\nCtrl-C stops the relay.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_where_the_relay_is() {
        let metrics = Some(([127, 0, 0, 1], 9464).into());
        let text = greeting("http://127.0.0.1:8441", Path::new("data"), metrics, false);
        assert_eq!(
            text,
            "Tertulia relay, listening on http://127.0.0.1:8441\nData in data\nNumbers at http://127.0.0.1:9464/metrics\n"
        );
    }
}
