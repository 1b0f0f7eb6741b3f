//! `role` and its commands.

use clap::Subcommand;
use tertulia::{Action, RoleName};

#[derive(Subcommand)]
pub(crate) enum RoleCommand {
    /// Define a role for the groups of your team
    ///
    /// What a role allows does not change. A member gets it by `tertulia group role`, from somebody who may do all of it.
    Create {
        /// What it is called: 2 to 128 of a-z, 0-9 and '_'
        name: RoleName,
        /// What it allows, such as `modify_name`
        #[arg(value_name = "ACTION")]
        actions: Vec<Action>,
    },
    /// List the roles of your team
    List,
    /// Delete a role that nobody has
    Delete {
        /// Which
        name: RoleName,
    },
}
