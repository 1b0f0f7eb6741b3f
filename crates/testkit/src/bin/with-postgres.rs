//! `with-postgres COMMAND…`: runs a command that finds a PostgreSQL server of its own by `TERTULIA_TEST_POSTGRES`.
#![allow(clippy::print_stderr)]

use std::{
    env,
    process::{Command, ExitCode},
};
use tertulia_testkit::postgres::{SERVER, Server};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("with-postgres COMMAND [ARGUMENT]…");
        return ExitCode::from(2);
    };
    let server = match Server::start() {
        Ok(server) => server,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match Command::new(&program).args(arguments).env(SERVER, server.socket()).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", program.display());
            ExitCode::FAILURE
        }
    }
}
