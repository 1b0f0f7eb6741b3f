//! The hub of the tests over TCP, so that it outlives the process that talks to it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tertulia_mls::{
    CommitOutcome, ConversationId, MlsCommitBundle, MlsGroupInfoBundle, MlsGroupInfoEncryptionType,
    MlsRatchetTreeType, MlsTransport, RejectReason,
};

use crate::common::Hub;

/// The points of the network, which are the application's: the engine knows a transport only.
pub(crate) const POINTS: [&str; 3] = [REQUEST, SENT, ANSWERED];
/// Nothing is sent yet.
const REQUEST: &str = "network/request";
/// All is sent, and the hub may have done it or not.
const SENT: &str = "network/sent";
/// The hub has done it and said so.
const ANSWERED: &str = "network/answered";

#[derive(Serialize, Deserialize)]
enum Request {
    Commit {
        welcome: Option<Vec<u8>>,
        commit: Vec<u8>,
        group_info: Vec<u8>,
        encrypted_message: Option<Vec<u8>>,
    },
    Post(Vec<u8>),
    Entry(usize),
    Epoch,
    GroupInfo,
    Welcome,
}

#[derive(Debug, Serialize, Deserialize)]
enum Response {
    Accepted,
    StaleEpoch(Option<u64>),
    Refused { code: String, detail: String },
    Unknown(String),
    Place(usize),
    Entry(Option<Vec<u8>>),
    Epoch(u64),
    GroupInfo(Vec<u8>),
    Welcome(Option<(Vec<u8>, usize)>),
}

/// Serves one connection after the other, so that what a process sent before it was killed is done before the next one is
/// heard.
pub(crate) fn serve(hub: Hub) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let lines = BufReader::new(connection.try_clone().unwrap()).lines();
            // A connection that breaks, and a request that is cut off, end with the process that made them.
            for line in lines.map_while(Result::ok) {
                let Ok((id, request)) = serde_json::from_str::<(Vec<u8>, Request)>(&line) else { break };
                let response = runtime.block_on(answer(&hub, &ConversationId::from(id), request));
                let mut line = serde_json::to_vec(&response).unwrap();
                line.push(b'\n');
                drop(connection.write_all(&line));
            }
        }
    });
    address
}

async fn answer(hub: &Hub, id: &ConversationId, request: Request) -> Response {
    match request {
        Request::Commit { welcome, commit, group_info, encrypted_message } => {
            let group_info = MlsGroupInfoBundle {
                encryption_type: MlsGroupInfoEncryptionType::Plaintext,
                ratchet_tree_type: MlsRatchetTreeType::Full,
                payload: group_info,
            };
            let bundle = MlsCommitBundle { welcome, commit, group_info, encrypted_message };
            match hub.send_commit_bundle(id, bundle).await {
                CommitOutcome::Accepted => Response::Accepted,
                CommitOutcome::Rejected(RejectReason::StaleEpoch { current }) => {
                    Response::StaleEpoch(current)
                }
                CommitOutcome::Rejected(RejectReason::Refused { code, detail }) => {
                    Response::Refused { code, detail }
                }
                CommitOutcome::Rejected(other) => panic!("the hub does not say {other}"),
                CommitOutcome::Unknown { detail } => Response::Unknown(detail),
            }
        }
        Request::Post(message) => {
            hub.post(id, message);
            Response::Place(hub.log_len(id) - 1)
        }
        Request::Entry(place) => Response::Entry(hub.log_entry(id, place)),
        Request::Epoch => Response::Epoch(hub.epoch(id)),
        Request::GroupInfo => Response::GroupInfo(hub.group_info(id)),
        Request::Welcome => Response::Welcome(hub.newest_welcome(id)),
    }
}

/// The hub as the device that dies reaches it.
pub(crate) struct Remote(Mutex<BufReader<TcpStream>>);

impl Remote {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self(Mutex::new(BufReader::new(TcpStream::connect(address).unwrap())))
    }

    fn call(&self, id: &ConversationId, request: &Request) -> Response {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut line = serde_json::to_vec(&(id.as_bytes(), request)).unwrap();
        line.push(b'\n');
        fail::fail_point!(REQUEST);
        connection.get_mut().write_all(&line).unwrap();
        fail::fail_point!(SENT);
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        fail::fail_point!(ANSWERED);
        serde_json::from_str(&line).unwrap()
    }

    /// Appends a message to the log, and says where it is there.
    pub(crate) fn post(&self, id: &ConversationId, message: Vec<u8>) -> usize {
        match self.call(id, &Request::Post(message)) {
            Response::Place(place) => place,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn entry(&self, id: &ConversationId, place: usize) -> Option<Vec<u8>> {
        match self.call(id, &Request::Entry(place)) {
            Response::Entry(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn epoch(&self, id: &ConversationId) -> u64 {
        match self.call(id, &Request::Epoch) {
            Response::Epoch(epoch) => epoch,
            other => panic!("{other:?}"),
        }
    }

    /// None before the first commit.
    pub(crate) fn group_info(&self, id: &ConversationId) -> Option<Vec<u8>> {
        match self.call(id, &Request::GroupInfo) {
            Response::GroupInfo(info) => (!info.is_empty()).then_some(info),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn welcome(&self, id: &ConversationId) -> Option<(Vec<u8>, usize)> {
        match self.call(id, &Request::Welcome) {
            Response::Welcome(welcome) => welcome,
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl MlsTransport for Remote {
    async fn send_commit_bundle(&self, id: &ConversationId, bundle: MlsCommitBundle) -> CommitOutcome {
        let MlsCommitBundle { welcome, commit, group_info, encrypted_message } = bundle;
        let group_info = group_info.payload;
        match self.call(id, &Request::Commit { welcome, commit, group_info, encrypted_message }) {
            Response::Accepted => CommitOutcome::Accepted,
            Response::StaleEpoch(current) => CommitOutcome::Rejected(RejectReason::StaleEpoch { current }),
            Response::Refused { code, detail } => {
                CommitOutcome::Rejected(RejectReason::Refused { code, detail })
            }
            Response::Unknown(detail) => CommitOutcome::Unknown { detail },
            other => panic!("{other:?}"),
        }
    }
}
