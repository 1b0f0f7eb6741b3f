//! PostgreSQL.

use crate::{Error, io, ports};
use postgres::{Client, Config, NoTls};
use std::{
    env, fs,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The address of a server that is there for the whole run of the tests, instead of one for each of them.
pub const SERVER: &str = "TERTULIA_TEST_POSTGRES";

/// How long a server may take until it answers.
const START: Duration = Duration::from_mins(1);

/// A server of one's own. It ends with this value, and nothing stays.
pub struct Server {
    process: Option<Child>,
    place: Place,
}

/// Where the server's things are.
enum Place {
    Own {
        directory: TempDir,
        bin: PathBuf,
        /// Where it listens beside its socket, with TLS.
        tls_port: Option<u16>,
    },
    /// Somebody else's.
    Given(PathBuf),
}

/// How a server is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// As by `pg_ctl stop -m fast`: transactions are undone and connections closed, then it ends in good order.
    Fast,
    /// As by `pg_ctl stop -m immediate`: all its processes end at once, and the next start is a recovery.
    Immediate,
}

/// A database on a server, empty at first. It goes when the server does.
#[derive(Debug, Clone)]
pub struct Database {
    url: String,
}

impl Database {
    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// A connection to it.
    pub fn connect(&self) -> Result<Client, Error> {
        Ok(Client::connect(&self.url, NoTls)?)
    }
}

impl Server {
    /// The server that [`SERVER`] names or, without it, one of one's own.
    pub fn for_tests() -> Result<Self, Error> {
        match env::var_os(SERVER) {
            Some(socket) => Ok(Self { process: None, place: Place::Given(socket.into()) }),
            None => Self::start(),
        }
    }

    /// Starts one of one's own.
    pub fn start() -> Result<Self, Error> {
        let mut server = Self::new(None)?;
        server.launch()?;
        Ok(server)
    }

    /// Starts one of one's own that is also reached over TLS, with a certificate and its key in PEM.
    pub fn start_with_tls(certificate: &str, key: &str) -> Result<Self, Error> {
        let mut server = Self::new(Some(ports::free()))?;
        let data = server.socket().join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).map_err(io(name))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io(name))?;
            if let Some((user, group)) = unprivileged() {
                chown(&path, Some(user), Some(group)).map_err(io(name))?;
            }
        }
        server.launch()?;
        Ok(server)
    }

    /// The port at which it takes TLS, if it does.
    pub fn tls_port(&self) -> Option<u16> {
        match self.place {
            Place::Own { tls_port, .. } => tls_port,
            Place::Given(_) => None,
        }
    }

    fn new(tls_port: Option<u16>) -> Result<Self, Error> {
        let bin = programs()?;
        let directory = tempfile::Builder::new().prefix("pg").tempdir().map_err(io("a directory"))?;
        let server = Self { process: None, place: Place::Own { directory, bin, tls_port } };
        server.initialise()?;
        Ok(server)
    }

    /// The directory of its socket, for [`SERVER`].
    pub fn socket(&self) -> &Path {
        match &self.place {
            Place::Own { directory, .. } => directory.path(),
            Place::Given(socket) => socket,
        }
    }

    /// A new database.
    pub fn create_database(&self) -> Result<Database, Error> {
        // The numbers of processes come again while the server of a long run still has the databases of earlier ones.
        let name = format!("t{:032x}", rand::random::<u128>());
        self.admin()?.batch_execute(&format!("CREATE DATABASE {name}"))?;
        let socket = self.socket().display().to_string().replace('/', "%2F");
        // The socket is named after the port.
        let port = self.tls_port().map(|port| format!(":{port}")).unwrap_or_default();
        Ok(Database { url: format!("postgres://postgres@{socket}{port}/{name}") })
    }

    /// Writes one moment of a database into a file, as its users do: with `pg_dump`.
    pub fn dump(&self, database: &Database, to: &Path) -> Result<(), Error> {
        let mut command = client("pg_dump")?;
        command.arg("--format=custom").arg("--file").arg(to).arg(database.url());
        run("pg_dump", &mut command)
    }

    /// Brings a database back to what was [dumped](Self::dump), whoever is connected with it: drops it, makes it anew, and fills it with
    /// `pg_restore`.
    pub fn restore(&self, database: &Database, from: &Path) -> Result<(), Error> {
        let (mut admin, name) = (self.admin()?, database.name());
        admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))?;
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0"))?;
        let mut command = client("pg_restore")?;
        command.args(["--exit-on-error", "--single-transaction", "--dbname", database.url()]).arg(from);
        run("pg_restore", &mut command)
    }

    /// Ends the server, and waits until it has. Only of one's own; [`start_again`](Self::start_again) brings it back.
    pub fn stop(&mut self, how: Shutdown) -> Result<(), Error> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let signal = match how {
            Shutdown::Fast => "INT",
            Shutdown::Immediate => "QUIT",
        };
        let kill = format!("kill -{signal} {}", process.id());
        let status = Command::new("sh").args(["-c", &kill]).status().map_err(io("a signal"))?;
        if !status.success() {
            return Err(Error::Ended { program: "kill", status, log: String::new() });
        }
        process.wait().map_err(io("postgres"))?;
        Ok(())
    }

    /// Starts the server on the data that is there. Only of one's own.
    pub fn start_again(&mut self) -> Result<(), Error> {
        self.launch()
    }

    /// Ends the server as a crash would, and starts it again. Only of one's own.
    pub fn crash_and_restart(&mut self) -> Result<(), Error> {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        // The postmaster's children notice that it is gone, and end. Until they have, no other starts.
        let deadline = Instant::now() + START;
        loop {
            match self.launch() {
                Err(Error::Ended { .. }) if Instant::now() < deadline => {
                    thread::sleep(Duration::from_millis(50));
                }
                done => return done,
            }
        }
    }

    /// Ends the server in good order, with whoever is connected, and starts it again. Only of one's own.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop(Shutdown::Fast)?;
        self.launch()
    }

    fn admin(&self) -> Result<Client, postgres::Error> {
        let mut config = Config::new();
        config.host_path(self.socket()).user("postgres").dbname("postgres");
        if let Some(port) = self.tls_port() {
            config.port(port);
        }
        config.connect(NoTls)
    }

    /// The program, as the user who may run it: it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let Place::Own { directory, bin, .. } = &self.place else { return Command::new(program) };
        let mut command = Command::new(bin.join(program));
        command.current_dir(directory.path()).env("LC_ALL", "C.UTF-8");
        if let Some((user, group)) = unprivileged() {
            command.uid(user).gid(group);
        }
        command
    }

    fn initialise(&self) -> Result<(), Error> {
        let directory = self.socket();
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).map_err(io("permissions"))?;
        if let Some((user, group)) = unprivileged() {
            chown(directory, Some(user), Some(group)).map_err(io("the directory's owner"))?;
        }
        let mut initdb = self.command("initdb");
        initdb.args([
            "--pgdata=data",
            "--username=postgres",
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        run("initdb", &mut initdb)
    }

    fn launch(&mut self) -> Result<(), Error> {
        let log = self.socket().join("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).map_err(io("the log"))?;
        let mut command = self.command("postgres");
        match self.tls_port() {
            // Over the socket alone.
            None => command.args(["-c", "listen_addresses="]),
            Some(port) => {
                command.args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on", "-p", &port.to_string()])
            }
        };
        // Durable, as a hub needs it.
        command
            .args(["-D", "data", "-c", "max_connections=200", "-k"])
            .arg(self.socket()) // whole, because the server goes into its data directory
            .args(["-c", "shared_buffers=128MB", "-c", "max_wal_size=2GB"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file);
        let mut process = command.spawn().map_err(io("postgres"))?;
        let deadline = Instant::now() + START;
        // It has no other way to say that it is ready than to answer.
        while self.admin().is_err() {
            if let Some(status) = process.try_wait().map_err(io("postgres"))? {
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::Ended { program: "postgres", status, log });
            }
            if Instant::now() > deadline {
                let _ = process.kill();
                let log = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::Silent { program: "postgres", log });
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A program that talks to a server, as anybody may run it.
fn client(program: &str) -> Result<Command, Error> {
    let mut command = Command::new(programs()?.join(program));
    command.env("LC_ALL", "C.UTF-8");
    Ok(command)
}

/// Runs a program to its end, which has to be a good one.
fn run(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let output = command.output().map_err(io(program))?;
    if output.status.success() {
        return Ok(());
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Error::Ended { program, status: output.status, log })
}

/// Where PostgreSQL's programs are: Debian keeps them out of the path, by version.
fn programs() -> Result<PathBuf, Error> {
    let mut places: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    places.sort(); // the latest version last
    let path = env::var_os("PATH").unwrap_or_default();
    let in_path = env::split_paths(&path).map(|place| {
        fs::canonicalize(place.join("postgres"))
            .ok()
            .and_then(|found| Some(found.parent()?.to_owned()))
            .unwrap_or(place)
    });
    let mut all = places.into_iter().rev().chain(in_path);
    all.find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
        .ok_or(Error::Missing { program: "PostgreSQL", package: "postgresql" })
}

/// Whose the server is to be, if one's own user is root: that of the file `/etc/passwd` that is called `postgres`, or nobody.
fn unprivileged() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    named("postgres").or_else(|| named("nobody"))
}
