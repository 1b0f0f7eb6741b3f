//! `team` and its commands.

use clap::{Subcommand, value_parser};
use tertulia::{DisplayName, Handle, TeamRole};

#[derive(Subcommand)]
pub(crate) enum TeamCommand {
    /// Make a team, with you as its owner
    Create {
        /// What the team is called
        name: DisplayName,
    },
    /// Show the team that you are in
    Show,
    /// Make an invitation, which one person can accept
    ///
    /// Whoever has the code can join: give it to the person who is meant, in a way that you trust.
    Invite {
        /// For how many days it can be accepted
        #[arg(long, value_name = "N", default_value_t = 7, value_parser = value_parser!(u64).range(1..=30))]
        days: u64,
    },
    /// Accept an invitation
    ///
    /// You are connected with everybody in a team. Connections, requests and blocks that there were with them end, and do
    /// not come back when you leave.
    Join {
        /// The code of the invitation
        #[arg(allow_hyphen_values = true)] // one in 64 begins with a hyphen
        code: String,
    },
    /// List the members with their roles
    Members,
    /// Give a member another role in the team
    Role {
        /// Whose role
        handle: Handle,
        /// The new role
        #[arg(value_parser = ["owner", "admin", "member"])]
        role: String,
    },
    /// Remove a member, who leaves all conversations of the team
    Remove {
        /// Whom to remove
        handle: Handle,
    },
    /// Leave the team and all its conversations
    Leave,
}

/// A role as clap has let it through.
pub(crate) fn team_role(name: &str) -> TeamRole {
    name.parse().expect("the command line takes the names of roles only")
}
