//! Who runs a hub.

use super::{Answer, Hub, tertulia};
use std::path::Path;

/// Runs an admin command on the hub's data.
pub(crate) fn admin(hub: &Hub, args: &[&str], paths: &[&Path]) -> Answer {
    let mut command = tertulia();
    command.args(["--json", "admin"]).args(args).args(paths).arg("--data").arg(hub.data());
    Answer::new("operator", args, command.output().expect("the binary was built"))
}

/// Sets the hub back to a backup, and starts it. What the restore answered.
pub(crate) fn set_back(hub: &mut Hub, backup: &Path) -> serde_json::Value {
    hub.kill();
    let restored = admin(hub, &["restore", "--replace"], &[backup]).one();
    hub.start_again();
    restored
}
