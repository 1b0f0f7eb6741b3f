//! The conversation around the device that dies.

use std::{net::SocketAddr, path::PathBuf};

use tempfile::TempDir;
use tertulia_mls::{ClientId, ConversationId};

use crate::{
    application::{Action, Application, NAME},
    common::{Device, Fault as HubFault, Hub, client_id, conversation},
    network,
    process::{self, End, Fault},
    state::state,
};

/// What bob does, or what happens to him.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    CommitAdd,
    CommitRemove,
    CommitUpdate,
    CommitWithMessage,
    CommitProposals,
    AnswerLost,
    CommitLost,
    CommitRefused,
    CommitTooLate,
    ExternalJoin,
    ExternalRejoin,
    Welcome,
    Create,
    Send,
    ReceiveMessages,
    ReceiveCommit,
    ReceiveRemoval,
}

/// Alice and carol, who stay; dave, who comes and goes; and bob, who dies.
pub(crate) struct World {
    hub: Hub,
    address: SocketAddr,
    id: ConversationId,
    alice: Device,
    carol: Device,
    dave: Device,
    home: TempDir,
    /// Bob, while he is alive in this process.
    bob: Option<Application>,
    /// Texts so far, which are numbers.
    texts: usize,
    /// All that bob has to have read, in this order.
    to_bob: Vec<String>,
    /// All that alice and carol have read of bob's.
    of_bob: [Vec<String>; 2],
    /// The text that bob is about to send, and the hub's epoch before.
    sending: Option<String>,
    epoch_before: u64,
}

impl World {
    pub(crate) async fn new() -> Self {
        let hub = Hub::new();
        let address = network::serve(hub.clone());
        let home = crate::common::temporary();
        let mut alice = Device::new(&hub, "alice").await;
        let mut carol = Device::new(&hub, "carol").await;
        let dave = Device::new(&hub, "dave").await;
        let id = conversation();
        alice.create(&id).await;
        alice.add(&id, &mut [&mut carol]).await;
        Application::install(&home.path().join("home"), address).await;
        Self {
            hub,
            address,
            id,
            alice,
            carol,
            dave,
            home,
            bob: None,
            texts: 0,
            to_bob: Vec::new(),
            of_bob: Default::default(),
            sending: None,
            epoch_before: 0,
        }
    }

    fn home(&self) -> PathBuf {
        self.home.path().join("home")
    }

    /// Bob, alive in this process.
    async fn bob(&mut self) -> &Application {
        if self.bob.is_none() {
            self.bob = Some(Application::open(&self.home(), self.address, &self.id).await);
        }
        self.bob.as_ref().expect("he was just opened")
    }

    pub(crate) fn hub_epoch(&self) -> u64 {
        self.hub.epoch(&self.id)
    }

    pub(crate) async fn bob_epoch(&mut self) -> Option<u64> {
        self.bob().await.state().map(|state| state.epoch)
    }

    /// Lets bob act in a process of his own.
    pub(crate) fn run(&mut self, action: Action, fault: Fault) -> End {
        self.bob = None;
        process::run(self.home(), self.address, &self.id, action, fault)
    }

    /// Brings everybody to where the scenario begins, and says what bob is to do.
    pub(crate) async fn prepare(&mut self, scenario: Scenario) -> Action {
        self.sending = None;
        let bob_is_in = !matches!(scenario, Scenario::ExternalJoin | Scenario::Welcome);
        let dave_is_in = matches!(scenario, Scenario::CommitRemove | Scenario::CommitProposals);
        if scenario == Scenario::Create {
            self.move_on();
            return Action::Create;
        }
        self.place_bob(bob_is_in).await;
        self.place_dave(dave_is_in).await;
        self.catch_up(bob_is_in).await;
        self.epoch_before = self.hub_epoch();
        match scenario {
            Scenario::CommitAdd => return Action::Add(self.dave.key_package().await.into_bytes()),
            Scenario::CommitRemove => return Action::Remove(client_id("dave").as_bytes().to_vec()),
            Scenario::CommitUpdate => return Action::Update,
            Scenario::CommitWithMessage => {
                self.sending = Some(self.text());
                return Action::UpdateWithMessage(self.sending.clone().unwrap());
            }
            Scenario::CommitProposals => self.hub.propose_removal(&self.id, &client_id("dave")),
            Scenario::AnswerLost => {
                self.hub.fail_next(HubFault::LoseAnswer);
                return Action::Update;
            }
            Scenario::CommitLost => {
                self.hub.fail_next(HubFault::LoseCommit);
                return Action::Update;
            }
            Scenario::CommitRefused => {
                self.hub.fail_next(HubFault::Refuse);
                return Action::Update;
            }
            Scenario::CommitTooLate => {
                self.tell_bob().await;
                self.alice.update(&self.id).await.unwrap();
                self.tell_bob().await;
                return Action::Update;
            }
            Scenario::ExternalJoin | Scenario::ExternalRejoin => return Action::Join,
            Scenario::Welcome => {
                let package = self.bob().await.key_package().await;
                self.alice.change(&self.id, vec![package], &[]).await.unwrap();
                self.tell_bob().await;
            }
            Scenario::Send => {
                self.sending = Some(self.text());
                return Action::Send(self.sending.clone().unwrap());
            }
            Scenario::ReceiveMessages => {
                self.tell_bob().await;
                self.tell_bob().await;
            }
            Scenario::ReceiveCommit => {
                self.tell_bob().await;
                self.alice.update(&self.id).await.unwrap();
                self.tell_bob().await;
            }
            Scenario::ReceiveRemoval => {
                self.tell_bob().await;
                self.alice.change(&self.id, vec![], &[client_id(NAME)]).await.unwrap();
            }
            Scenario::Create => {}
        }
        Action::Recover
    }

    /// After the fault: bob recovers, and then everything has to be as it should.
    pub(crate) async fn check(&mut self, scenario: Scenario) {
        self.hub.heal();
        let next = self.text();
        let bob = self.bob().await;
        bob.recover().await.unwrap();
        bob.send(&next).await.unwrap();
        if scenario == Scenario::Create {
            self.alice.join_externally(&self.id).await.unwrap();
            self.carol.join_externally(&self.id).await.unwrap();
        }
        let read = self.catch_up(true).await;
        if scenario != Scenario::Create {
            assert_eq!(
                read.iter().filter(|text| **text == next).count(),
                1,
                "bob's next message is read once"
            );
        }
        self.tell_bob().await;
        self.catch_up(true).await;

        let expected = state(&self.alice.session, &self.id);
        assert_eq!(expected.epoch, self.hub_epoch());
        assert_eq!(self.bob().await.state().as_ref(), Some(&expected));
        assert_eq!(state(&self.carol.session, &self.id), expected);
        let dave_is_in = expected.roster.contains(&client_id("dave"));
        assert_eq!(self.dave.session.conversation_exists(&self.id).unwrap(), dave_is_in);
        if dave_is_in {
            assert_eq!(state(&self.dave.session, &self.id), expected);
        }
        // Nothing was lost, nothing was read twice.
        let (read, sent) = self.bob().await.texts();
        assert_eq!(read, self.to_bob, "what bob has read");
        let [by_alice, by_carol] = &self.of_bob;
        assert_eq!(by_alice, by_carol);
        for text in &sent {
            let times = by_alice.iter().filter(|read| *read == text).count();
            assert!(times == 1 || scenario == Scenario::Create, "{text} was read {times} times");
        }
        if let Some(text) = &self.sending {
            let is_out = sent.contains(text)
                || scenario == Scenario::CommitWithMessage && self.hub_epoch() > self.epoch_before;
            assert_eq!(by_alice.iter().filter(|read| *read == text).count(), usize::from(is_out));
        }
    }

    fn text(&mut self) -> String {
        self.texts += 1;
        self.texts.to_string()
    }

    /// A message of alice's.
    async fn tell_bob(&mut self) {
        let text = self.text();
        self.alice.send(&self.id, &text).await;
        self.to_bob.push(text);
    }

    async fn place_bob(&mut self, is_in: bool) {
        let bob = self.bob().await;
        if is_in {
            bob.recover().await.unwrap();
        } else if bob.state().is_some() {
            self.alice.sync(&self.id).await;
            self.alice.change(&self.id, vec![], &[client_id(NAME)]).await.unwrap();
            // He reads that he is out, and does not come back by himself.
            let bob = self.bob().await;
            bob.sync().await.unwrap();
            assert_eq!(bob.state(), None);
        }
    }

    async fn place_dave(&mut self, is_in: bool) {
        self.alice.sync(&self.id).await;
        let dave = client_id("dave");
        let members = self.alice.members(&self.id);
        if is_in && !members.contains(&dave) {
            let Self { id, alice, dave, .. } = self;
            alice.add(id, &mut [dave]).await;
        } else if !is_in && members.contains(&dave) {
            self.alice.change(&self.id, vec![], &[dave]).await.unwrap();
        }
    }

    /// Everybody reads the log to its end. What alice has read of others.
    async fn catch_up(&mut self, with_bob: bool) -> Vec<String> {
        if with_bob {
            self.bob().await.sync().await.unwrap();
        }
        let read = self.alice.read(&self.id).await;
        self.of_bob[0].extend(read.clone());
        let by_carol = self.carol.read(&self.id).await;
        // Alice is the other one who sends.
        self.of_bob[1].extend(by_carol.into_iter().filter(|text| !self.to_bob.contains(text)));
        if self.dave.session.conversation_exists(&self.id).unwrap() {
            self.dave.sync(&self.id).await;
        } else if self.members_now().contains(&client_id("dave")) {
            self.dave.welcome(&self.id).await;
            self.dave.sync(&self.id).await;
        }
        read
    }

    fn members_now(&self) -> Vec<ClientId> {
        self.alice.members(&self.id)
    }

    /// To a conversation that is not there yet.
    fn move_on(&mut self) {
        self.texts += 1;
        self.bob = None;
        self.id = ConversationId::from(format!("conv-{}", self.texts));
        self.to_bob.clear();
        self.of_bob = Default::default();
    }
}
