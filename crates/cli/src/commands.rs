//! The commands, each a few calls to the SDK and one to the output.

mod account;
mod admin;
mod channel;
mod connections;
mod conversations;
mod documents;
mod home;
mod intro;
mod link;
mod messages;
mod people;
mod relay;
mod serve;
mod sub;
mod team;

use std::{io::StdinLock, path::PathBuf};

use etcetera::BaseStrategy as _;
use tertulia::{Client, ClientBuilder, OwnSetting};

use self::connections::Change;
use crate::{
    args::{Command, GlobalArgs},
    error::CliError,
    output::{Output, note},
    progress::watched,
    secret_input::Input,
};

/// Does what the command line says.
pub(crate) async fn run(global: &GlobalArgs, command: &Command) -> Result<(), CliError> {
    let mut session = Session::new(global);
    let session = &mut session;
    match command {
        Command::Serve(args) => serve::serve(args, session.output).await,
        Command::Relay(args) => relay::relay(args, session.output).await,
        Command::Admin(args) => admin::admin(session, args).await,
        Command::SignUp(args) => account::sign_up(session, args).await,
        Command::Guest(args) => account::guest(session, args).await,
        Command::LogIn(args) => account::log_in(session, args).await,
        Command::Init(args) => intro::init(session, args).await,
        Command::Whoami => account::whoami(session).await,
        Command::Device(command) => account::device(session, command).await,
        Command::Session(command) => account::sessions(session, command).await,
        Command::Password(args) => account::password(session, args).await,
        Command::Profile(args) => people::profile(session, args).await,
        Command::Account(command) => account::account(session, command).await,
        Command::Search(args) => people::search(session, args).await,
        Command::Sync => account::sync(session).await,
        Command::Home(command) => home::home(session, command).await,
        Command::Intro(args) => intro::intro(session, args).await,
        Command::Meet(args) => intro::meet(session, args).await,
        Command::Requests(args) => intro::requests(session, args).await,
        Command::Connect(args) => connections::change(session, args, Change::Connect).await,
        Command::Accept(args) => connections::accept(session, args).await,
        Command::Ignore(args) => connections::ignore(session, args).await,
        Command::Block(args) => connections::change(session, args, Change::Block).await,
        Command::Unblock(args) => connections::change(session, args, Change::Unblock).await,
        Command::Cancel(args) => connections::change(session, args, Change::Cancel).await,
        Command::Connections(args) => connections::list(session, args).await,
        Command::Role(command) => team::role(session, command).await,
        Command::Team(command) => team::team(session, command).await,
        Command::List(args) => conversations::list(session, args).await,
        Command::Mute(args) => conversations::set_own(session, args, OwnSetting::Muted).await,
        Command::Archive(args) => conversations::set_own(session, args, OwnSetting::Archived).await,
        Command::Hide(args) => conversations::set_own(session, args, OwnSetting::Hidden).await,
        Command::Group(group) => conversations::group(session, group).await,
        Command::Channel(command) => channel::channel(session, command).await,
        Command::Link(command) => link::link(session, command).await,
        Command::Join(args) => link::join(session, args).await,
        Command::Direct(command) => conversations::direct(session, command).await,
        Command::Sub(command) => sub::sub(session, command).await,
        Command::Warnings(args) => account::warnings(session, args).await,
        Command::Send(args) => messages::send(session, args).await,
        Command::Read(args) => messages::read(session, args).await,
        Command::Types => session.output.types(tertulia_conversation::types::Registry::built_in().iter()),
        Command::Completions { shell } => documents::completions(*shell),
        Command::Man { dir } => documents::man(dir.as_deref()),
        Command::Reference => documents::reference(),
    }
}

/// What client commands share: the home, standard input, the form of the answer.
struct Session<'a> {
    global: &'a GlobalArgs,
    input: Input<StdinLock<'static>>,
    output: Output,
}

impl<'a> Session<'a> {
    fn new(global: &'a GlobalArgs) -> Self {
        let output = if global.json { Output::Json } else { Output::Human };
        Self { global, input: Input::stdin(), output }
    }

    /// The home, with its passphrase if it has one. `new`: it is about to be made.
    fn builder(&mut self, new: bool) -> Result<ClientBuilder, CliError> {
        let home = match &self.global.home {
            Some(home) => home.clone(),
            None => data_directory()?.join("home"),
        };
        let builder = Client::builder(home);
        Ok(if self.global.passphrase_stdin {
            builder.passphrase(self.input.passphrase(new)?)
        } else {
            builder
        })
    }

    /// The client of this home.
    async fn open(&mut self) -> Result<Client, CliError> {
        Ok(self.builder(false)?.open().await?)
    }

    /// The client of this home, brought up to date unless it is to work with what it has.
    async fn open_current(&mut self, offline: bool) -> Result<Client, CliError> {
        let builder = self.builder(false)?;
        self.current(builder, offline).await
    }

    /// The same, of a home whose passphrase was read already.
    async fn current(&self, builder: ClientBuilder, offline: bool) -> Result<Client, CliError> {
        let client = builder.open().await?;
        if !offline {
            let report = watched("Bringing this home up to date", client.sync()).await?;
            if report.refused > 0 {
                note(&format!(
                    "warning: the hub refused {} of the queued messages, which are dropped",
                    report.refused
                ));
            }
            if report.suspicious > 0 {
                note("warning: the hub did something that it should not; `tertulia warnings` shows what");
            }
        }
        Ok(client)
    }
}

/// Where the platform keeps the data of applications of this user.
fn data_directory() -> Result<PathBuf, CliError> {
    let strategy = etcetera::base_strategy::choose_native_strategy().map_err(CliError::NoDataDirectory)?;
    Ok(strategy.data_dir().join("tertulia"))
}
