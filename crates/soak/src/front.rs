//! One address for all nodes, as a load balancer gives it: a new connection goes to a node that is there. Now and then it
//! loses an answer.

use crate::Outcome;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// How probable it is that a piece of an answer is lost, and its connection with it.
const LOSS: f64 = 1.0 / 400.0;

/// The address, and where it leads.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<Vec<Option<SocketAddr>>>,
    turn: AtomicU64,
    random: Mutex<StdRng>,
    is_lossy: AtomicBool,
    lost: AtomicU64,
}

impl Front {
    /// Takes connections from now on. They lead nowhere at first.
    pub(crate) async fn open(nodes: usize, seed: u64) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            nodes: Mutex::new(vec![None; nodes]),
            turn: AtomicU64::new(0),
            random: Mutex::new(StdRng::seed_from_u64(seed)),
            is_lossy: AtomicBool::new(false),
            lost: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&serving).carry(client));
            }
        });
        Ok(Self { address, shared })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where this node is, if it is there.
    pub(crate) fn lead(&self, node: usize, to: Option<SocketAddr>) {
        self.shared.nodes.lock().unwrap_or_else(PoisonError::into_inner)[node] = to;
    }

    /// Begins to lose answers.
    pub(crate) fn begin_to_lose(&self) {
        self.shared.is_lossy.store(true, Ordering::Relaxed);
    }

    /// Answers that were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Carries one connection until one side ends it.
    async fn carry(self: Arc<Self>, client: TcpStream) {
        let Some(node) = self.next_node() else { return };
        let Ok(server) = TcpStream::connect(node).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client, to_client) = client.into_split();
        let (server, to_server) = server.into_split();
        // Whichever ends first: the other is of no use then.
        tokio::select! {
            _ = pass(client, to_server, || false) => {}
            _ = pass(server, to_client, || self.loses()) => {}
        }
    }

    fn next_node(&self) -> Option<SocketAddr> {
        let nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let there: Vec<_> = nodes.iter().flatten().copied().collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = usize::try_from(turn).unwrap_or_default().checked_rem(there.len())?;
        there.get(index).copied()
    }

    fn loses(&self) -> bool {
        if !self.is_lossy.load(Ordering::Relaxed) {
            return false;
        }
        let loses = self.random.lock().unwrap_or_else(PoisonError::into_inner).random_bool(LOSS);
        self.lost.fetch_add(loses.into(), Ordering::Relaxed);
        loses
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, loses: impl Fn() -> bool) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 || loses() {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
