//! Another process: this test binary, started for one of its own tests.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Lines},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

const HOME: &str = "TERTULIA_STORE_TEST_HOME";

/// Another process, which does not outlive this value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(test: &str, home: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(HOME, home);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    pub(crate) fn lines(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }

    /// Lets it end, and its lock with it.
    pub(crate) fn release(&mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }

    /// Kills it where it is: SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The home that this process was started for. None if it is the one that runs the scenarios.
pub(crate) fn home_of_this_process() -> Option<PathBuf> {
    env::var_os(HOME).map(PathBuf::from)
}

/// The number that the other process prints next. The test harness prints other lines.
pub(crate) fn next_number(lines: &mut impl Iterator<Item = io::Result<String>>) -> u64 {
    lines.find_map(|line| number(&line.unwrap())).expect("the process says how far it is")
}

pub(crate) fn number(line: &str) -> Option<u64> {
    line.strip_prefix('#')?.parse().ok()
}
