//! `completions`, `man`, `reference`: what is made from the command line itself.

use std::{fs, path::Path};

use clap_complete::Shell;
use clap_mangen::Man;

use crate::{args, error::CliError, output::print_exactly};

pub(super) fn completions(shell: Shell) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut args::command(), "tertulia", &mut script);
    print_exactly(&script)
}

pub(super) fn man(dir: Option<&Path>) -> Result<(), CliError> {
    let command = args::command_for_manual();
    let Some(dir) = dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(CliError::output)?;
        return print_exactly(&page);
    };
    fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(command, dir))
        .map_err(|cause| CliError::Write { path: dir.to_owned(), cause })
}

pub(super) fn reference() -> Result<(), CliError> {
    print_exactly(args::reference().as_bytes())
}
