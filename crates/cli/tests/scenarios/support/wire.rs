//! The wire between the devices and the hub: it keeps its address while the hub comes and goes, records what it carries,
//! and loses answers when asked to.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

/// What the wire does to the next request whose first line contains a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The hub gets the request, and the device never gets an answer: the connection breaks instead.
    LoseAnswer,
    /// Nothing is lost, but the test is told once the hub has been given the request.
    Tell,
}

/// The wire. Its threads end with the process.
pub(crate) struct Wire {
    address: SocketAddr,
    shared: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Where the hub listens at the moment.
    hub: Option<SocketAddr>,
    /// What went one way over one connection, each apart, so that what belongs together stays together.
    recorded: Vec<Vec<u8>>,
    planned: Vec<Planned>,
}

struct Planned {
    part: String,
    fault: Fault,
    happened: Sender<()>,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Mutex::new(State::default()));
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            for device in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                thread::spawn(move || carry(device, &state));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The hub is here now, or nowhere.
    pub(crate) fn lead_to(&self, hub: Option<SocketAddr>) {
        lock(&self.shared).hub = hub;
    }

    /// Everything that was carried so far.
    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        lock(&self.shared).recorded.clone()
    }

    /// Plans a fault for one request that contains `part`. The receiver hears of it when it happens.
    pub(crate) fn plan(&self, part: &str, fault: Fault) -> Receiver<()> {
        let (happened, receiver) = mpsc::channel();
        lock(&self.shared).planned.push(Planned { part: part.to_owned(), fault, happened });
        receiver
    }
}

/// Carries one connection, both ways, until either side ends it.
fn carry(device: TcpStream, state: &Arc<Mutex<State>>) {
    let Some(hub) = lock(state).hub.and_then(|hub| TcpStream::connect(hub).ok()) else {
        return; // dropped: to the device, the hub is not there
    };
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor is free");
    let lose_answer = Arc::new(Mutex::new(false));

    let there = (copy(&device), copy(&hub), Arc::clone(state), Arc::clone(&lose_answer));
    let requests = thread::spawn(move || {
        let (mut from, mut to, state, lose_answer) = there;
        transfer(&mut from, &mut to, &state, |bytes| {
            let mut planned = None;
            let mut guard = lock(&state);
            if let Some(at) =
                guard.planned.iter().position(|planned| contains(bytes, planned.part.as_bytes()))
            {
                let Planned { fault, happened, .. } = guard.planned.remove(at);
                *lock(&lose_answer) = fault == Fault::LoseAnswer;
                planned = Some(happened);
            }
            (true, planned)
        });
    });
    let (mut from, mut to) = (hub, device);
    transfer(&mut from, &mut to, state, |_| (!*lock(&lose_answer), None));
    // Whatever ended one way ends the other.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
    let _ = requests.join();
}

/// Copies one way. `look` sees each piece before it goes on: whether it may, and whom to tell when it has.
fn transfer(
    from: &mut TcpStream,
    to: &mut TcpStream,
    state: &Mutex<State>,
    mut look: impl FnMut(&[u8]) -> (bool, Option<Sender<()>>),
) {
    let stream = {
        let mut state = lock(state);
        state.recorded.push(Vec::new());
        state.recorded.len() - 1
    };
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        lock(state).recorded[stream].extend_from_slice(bytes);
        let (goes_on, tell) = look(bytes);
        if !goes_on || to.write_all(bytes).is_err() {
            break;
        }
        if let Some(tell) = tell {
            // A test that does not wait for it has dropped the receiver.
            let _ = tell.send(());
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A test that panicked while it held the lock has failed already.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
