//! A loopback TCP proxy that stands before Redis and behaves like a bad network.
//!
//! [`Proxy`] owns its listening socket and two threads a connection. A connection that has
//! been black-holed stays so for good, as its lost bytes will never come; new ones follow
//! the mode of their hour.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use super::sys;

pub struct Proxy {
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// New connections forward nothing.
    hole: AtomicBool,
    links: Mutex<Vec<Link>>,
}

/// One connection: both its sides, whether it forwards nothing, and how many bytes of answers it
/// keeps back.
struct Link {
    near: TcpStream,
    far: UnixStream,
    hole: Arc<AtomicBool>,
    swallow: Arc<AtomicUsize>,
}

impl Proxy {
    /// Forwards to the Unix socket at this path.
    pub fn before(socket: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket on loopback");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let (shared, socket) = (state.clone(), socket.to_owned());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                // A connection that finds nobody behind the proxy is closed.
                if let Ok(far) = UnixStream::connect(&socket) {
                    shared.link(near, far);
                }
            }
        });
        Proxy { addr, state }
    }

    /// From now on nothing is forwarded, on old and new connections; all stay open.
    pub fn black_hole(&self) {
        self.state.hole.store(true, Ordering::SeqCst);
        for link in self.state.links.lock().unwrap().iter() {
            link.hole.store(true, Ordering::SeqCst);
        }
    }

    /// New connections are forwarded again.
    pub fn pass(&self) {
        self.state.hole.store(false, Ordering::SeqCst);
    }

    /// Says this to the server in the name of who is connected at `local`, a port of ours, and
    /// keeps back so many bytes of what the server says next.
    pub fn say_for(&self, local: u16, bytes: &[u8], swallow: usize) {
        let links = self.state.links.lock().unwrap();
        let link = links
            .iter()
            .find(|link| link.near.peer_addr().is_ok_and(|peer| peer.port() == local));
        let link = link.expect("a connection from this port");
        link.swallow.store(swallow, Ordering::SeqCst);
        (&link.far).write_all(bytes).expect("an open connection");
    }

    /// The ports from which connections stand, oldest first.
    pub fn ports(&self) -> Vec<u16> {
        let links = self.state.links.lock().unwrap();
        let ports = links.iter().filter_map(|link| link.near.peer_addr().ok());
        ports.map(|peer| peer.port()).collect()
    }

    /// Resets every connection.
    pub fn cut(&self) {
        for link in self.state.links.lock().unwrap().drain(..) {
            if let Ok(same) = link.near.try_clone() {
                sys::reset(same);
            }
            // With SO_LINGER 0 the last close resets. The pumps hold the other handles and
            // give them up when their reads end; no FIN may go before the reset.
            link.hole.store(true, Ordering::SeqCst);
            let _ = link.near.shutdown(Shutdown::Read);
        }
    }
}

impl State {
    fn link(&self, near: TcpStream, far: UnixStream) {
        let hole = Arc::new(AtomicBool::new(self.hole.load(Ordering::SeqCst)));
        let _ = near.set_nodelay(true);
        let (Ok(near2), Ok(near3), Ok(far2), Ok(far3)) = (
            near.try_clone(),
            near.try_clone(),
            far.try_clone(),
            far.try_clone(),
        ) else {
            return;
        };
        let (up, down) = (hole.clone(), hole.clone());
        let swallow = Arc::new(AtomicUsize::new(0));
        self.links.lock().unwrap().push(Link {
            near: near3,
            far: far3,
            hole,
            swallow: swallow.clone(),
        });
        thread::spawn(move || {
            pump(near, &far, &up, &AtomicUsize::new(0));
            let _ = far.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            pump(far2, &near2, &down, &swallow);
            // Behind a black hole nobody hears that the other side has gone.
            if !down.load(Ordering::SeqCst) {
                let _ = near2.shutdown(Shutdown::Both);
            }
        });
    }
}

fn pump(mut from: impl Read, mut to: impl Write, hole: &AtomicBool, swallow: &AtomicUsize) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let kept = swallow.load(Ordering::SeqCst).min(n);
        swallow.fetch_sub(kept, Ordering::SeqCst);
        if !hole.load(Ordering::SeqCst) && to.write_all(&buffer[kept..n]).is_err() {
            break;
        }
    }
}
