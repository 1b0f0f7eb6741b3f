//! `send` and `read`.

use std::collections::HashSet;

use futures::{StreamExt as _, stream::BoxStream};
use tertulia::{Client, ClientEvent, ConversationId, Message, MessageQuery, UserId};

use super::Session;
use crate::{
    args::{ReadArgs, SendArgs},
    error::CliError,
    output::{self, Transcript, view},
    progress::watched,
    shutdown::Shutdown,
};

/// Most messages that are printed, and marked as read, at once while following.
const PORTION: usize = 256;

pub(super) async fn send(session: &mut Session<'_>, args: &SendArgs) -> Result<(), CliError> {
    // The passphrase is before the text on standard input, so the home is opened first; and the text is there before the
    // network is touched, which a person who types it may keep waiting.
    let client = session.open().await?;
    let text = match &args.text {
        Some(text) => text.clone(),
        None => session.input.text()?,
    };
    if args.offline {
        let conversation = client.find(&args.target).await?;
        client.queue(conversation, &text).await?;
        return session.output.queued(&view::Queued { conversation, queued: true });
    }
    let sending = async {
        client.sync().await?;
        let conversation = client.find(&args.target).await?;
        client.send(conversation, &text).await
    };
    let message = watched("Sending", sending).await?;
    session.output.sent(&message.into())
}

pub(super) async fn read(session: &mut Session<'_>, args: &ReadArgs) -> Result<(), CliError> {
    let client = session.open_current(args.offline).await?;
    let conversation = client.find(&args.target).await?;
    // The signals before the first line is printed, for whoever has read it may stop the command; the events before the
    // home is read, so that what arrives in between is in both rather than in neither.
    let following = if args.follow {
        Some((Shutdown::listen().map_err(CliError::Process)?, client.events().boxed()))
    } else {
        None
    };

    let messages = client.messages(conversation, MessageQuery { after: None, limit: args.limit }).await?;
    let shown = messages.iter().map(|message| message.sequence).collect();
    let transcript = session.output.transcript(client.me().handle.clone());
    let mut reading = Reading { client, conversation, transcript, shown, offline: args.offline };
    reading.print(messages).await?;
    match following {
        Some((shutdown, events)) => reading.follow(shutdown, events).await,
        None => Ok(()),
    }
}

/// A conversation that is being read.
struct Reading {
    client: Client,
    conversation: ConversationId,
    transcript: Transcript,
    /// The sequence numbers of what was printed first.
    shown: HashSet<u64>,
    /// Whether the network is not to be used.
    offline: bool,
}

impl Reading {
    /// Prints, and only then marks the conversation as read.
    async fn print(&mut self, messages: Vec<Message>) -> Result<(), CliError> {
        let Some(last) = messages.iter().map(|message| message.sequence).max() else { return Ok(()) };
        self.transcript.print(&messages.into_iter().map(view::Message::from).collect::<Vec<_>>())?;
        if self.offline {
            return Ok(self.client.mark_read_offline(self.conversation, last).await?);
        }
        Ok(self.client.mark_read(self.conversation, last).await?)
    }

    /// Prints what arrives, until the person has read enough.
    async fn follow(
        &mut self,
        mut shutdown: Shutdown,
        events: BoxStream<'static, Result<ClientEvent, tertulia::Error>>,
    ) -> Result<(), CliError> {
        let mut portions = events.ready_chunks(PORTION);
        loop {
            let portion = tokio::select! {
                () = shutdown.requested() => return Ok(()),
                portion = portions.next() => portion.unwrap_or_default(),
            };
            if portion.is_empty() {
                return Ok(());
            }
            let mut arrived = Vec::new();
            let mut failure = None;
            for event in portion {
                match event {
                    Ok(ClientEvent::Message(message)) if self.is_new(&message) => arrived.push(message),
                    Ok(ClientEvent::Disconnected { reason }) => {
                        output::note(&format!(
                            "The hub is away, trying again: {}",
                            output::text::one_line(&reason)
                        ));
                    }
                    Ok(ClientEvent::Typing { conversation, user, typing: true })
                        if conversation == self.conversation =>
                    {
                        self.note_typing(user).await?;
                    }
                    Ok(ClientEvent::Suspicion(noticed)) => {
                        let what = noticed.suspicion.to_string();
                        output::note(&format!("warning: {}", output::text::one_line(&what)));
                    }
                    Ok(_) => {}
                    Err(error) => failure = Some(error),
                }
            }
            self.print(arrived).await?;
            if let Some(error) = failure {
                return Err(error.into());
            }
        }
    }

    async fn note_typing(&self, user: UserId) -> Result<(), CliError> {
        let members = self.client.conversation(self.conversation).await?.members;
        if let Some(member) = members.iter().find(|member| member.user == user) {
            let who =
                member.handle.as_ref().map_or_else(|| member.user.to_string(), |handle| format!("@{handle}"));
            output::note(&format!("{who} is typing…"));
        }
        Ok(())
    }

    fn is_new(&self, message: &Message) -> bool {
        message.conversation == self.conversation && !self.shown.contains(&message.sequence)
    }
}
