//! A path through a network that fails on purpose, and keeps a record of all that went over it.
//!
//! A [`Path`] is what stands between two sides: its [`Weather`] says for each direction whether
//! bytes pass, wait or are slow. Any number of listeners may lead over one path; each connection
//! has two pump threads and a [`Link`], its record. Bytes that wait are kept and go on when the weather allows
//! it, also when their sender has left meanwhile: as on a real network, a request may arrive after
//! its sender has given it up, or has died.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use super::clock::{At, now};
use crate::support::sys;

/// How often the weather is looked at while something waits for it.
const LOOK: Duration = Duration::from_millis(4);
const REST: Duration = Duration::from_secs(60);

/// Towards the server, or back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Way {
    Up,
    Down,
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    pub holds_up: bool,
    pub holds_down: bool,
    pub delay: Duration,
    /// New connections are closed at once.
    pub refuses: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    Close,
    Reset,
}

/// Bytes that were read together.
pub struct Chunk {
    pub read: At,
    /// When the other side's socket had taken them; never, if it had left before.
    pub passed: Option<At>,
    /// How many bytes had gone this way with them.
    pub end: usize,
    pub bytes: Vec<u8>,
}

#[derive(Default)]
pub struct Record {
    pub up: Vec<Chunk>,
    pub down: Vec<Chunk>,
    /// When the client's end was seen, the server's, and the test's own cut.
    pub client_left: Option<At>,
    pub server_left: Option<At>,
    pub cut: Option<At>,
}

impl Record {
    fn way(&mut self, way: Way) -> &mut Vec<Chunk> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    /// What was seen first is why it ended.
    fn is_over(&self) -> bool {
        self.client_left.is_some() || self.server_left.is_some() || self.cut.is_some()
    }
}

/// What is known of one connection.
pub type Link = Arc<Mutex<Record>>;

/// One connection while it is open.
struct Open {
    record: Link,
    near: TcpStream,
    far: UnixStream,
    is_cut: AtomicBool,
    resets: AtomicBool,
}

impl Open {
    fn has_client(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(self.near.as_fd(), &mut byte, flags) {
            Ok((n, _)) => n > 0,
            Err(e) => e == rustix::io::Errno::AGAIN || e == rustix::io::Errno::INTR,
        }
    }

    fn note_end(&self, way: Way) {
        let mut record = self.record.lock().unwrap();
        if !record.is_over() {
            match way {
                Way::Up => record.client_left = Some(now()),
                Way::Down => record.server_left = Some(now()),
            }
        }
    }

    fn cut(&self, how: Cut) {
        self.is_cut.store(true, Ordering::SeqCst);
        {
            let mut record = self.record.lock().unwrap();
            if !record.is_over() {
                record.cut = Some(now());
            }
        }
        let side = match how {
            Cut::Close => Shutdown::Both,
            Cut::Reset => {
                // The last close of this socket, when both pumps have ended, is the reset; no FIN
                // may go before it.
                self.resets.store(true, Ordering::SeqCst);
                sys::reset_at_close(&self.near);
                Shutdown::Read
            }
        };
        let _ = self.near.shutdown(side);
        let _ = self.far.shutdown(Shutdown::Both);
    }

    /// Reads what is there. False at the end.
    fn take(&self, way: Way) -> bool {
        let mut buffer = [0; 16 * 1024];
        let got = match way {
            Way::Up => (&self.near).read(&mut buffer),
            Way::Down => (&self.far).read(&mut buffer),
        };
        match got {
            Ok(n @ 1..) => {
                let mut record = self.record.lock().unwrap();
                let chunks = record.way(way);
                let end = chunks.last().map_or(0, |chunk| chunk.end) + n;
                chunks.push(Chunk {
                    read: now(),
                    passed: None,
                    end,
                    bytes: buffer[..n].to_vec(),
                });
                true
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => true,
            _ => {
                self.note_end(way);
                false
            }
        }
    }

    /// Hands on a chunk, and notes when that was done.
    fn pass(&self, way: Way, number: usize, keeps: bool) {
        let bytes = {
            let chunk = &mut self.record.lock().unwrap();
            let bytes = &mut chunk.way(way)[number].bytes;
            match keeps {
                true => bytes.clone(),
                false => std::mem::take(bytes),
            }
        };
        if way == Way::Down && !self.has_client() {
            return self.note_end(Way::Up);
        }
        let sent = match way {
            Way::Up => (&self.far).write_all(&bytes),
            Way::Down => (&self.near).write_all(&bytes),
        };
        if sent.is_ok() {
            self.record.lock().unwrap().way(way)[number].passed = Some(now());
        }
    }

    /// The end of one side is the end of the other, when all has been handed on.
    fn close(&self, way: Way) {
        let _ = self.far.shutdown(Shutdown::Both);
        if way == Way::Down && !self.resets.load(Ordering::SeqCst) {
            let _ = self.near.shutdown(Shutdown::Both);
        }
    }
}

/// See the module's header.
pub struct Path {
    weather: Mutex<Weather>,
    /// Those that are open.
    open: Mutex<Vec<Arc<Open>>>,
    keeps: bool,
}

impl Path {
    /// `keeps`: the record holds the bytes too.
    pub fn new(keeps: bool) -> Arc<Path> {
        Arc::new(Path {
            weather: Mutex::default(),
            open: Mutex::default(),
            keeps,
        })
    }

    pub fn set(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
    }

    /// Ends all connections that are open, and what waits in them is lost.
    pub fn cut(&self, how: Cut) {
        for open in self.open.lock().unwrap().drain(..) {
            open.cut(how);
        }
    }

    /// Listens at a port of its own. `connect` opens the far side of each connection, and
    /// `opened` is told of it.
    pub fn listen<F>(
        self: &Arc<Path>,
        connect: impl Fn() -> io::Result<(UnixStream, F)> + Send + 'static,
        opened: impl Fn(Link, F) + Send + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket on loopback");
        let addr = listener.local_addr().expect("an address");
        let path = self.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if path.weather.lock().unwrap().refuses {
                    sys::reset(near);
                } else if let Ok((far, more)) = connect() {
                    opened(path.link(near, far), more);
                }
            }
        });
        addr
    }

    fn link(self: &Arc<Path>, near: TcpStream, far: UnixStream) -> Link {
        let _ = near.set_nodelay(true);
        let record = Link::default();
        let open = Arc::new(Open {
            record: record.clone(),
            near,
            far,
            is_cut: AtomicBool::new(false),
            resets: AtomicBool::new(false),
        });
        self.open.lock().unwrap().push(open.clone());
        for way in [Way::Up, Way::Down] {
            let (path, open) = (self.clone(), open.clone());
            thread::spawn(move || path.pump(&open, way));
        }
        record
    }

    /// Whether bytes that were read at this time may go on.
    fn may_pass(&self, way: Way, read: At) -> bool {
        let weather = *self.weather.lock().unwrap();
        let holds = match way {
            Way::Up => weather.holds_up,
            Way::Down => weather.holds_down,
        };
        !holds && now() >= read + weather.delay
    }

    fn pump(&self, open: &Arc<Open>, way: Way) {
        let mut next = 0;
        let mut ended = None;
        while !open.is_cut.load(Ordering::SeqCst) {
            let chunk = {
                let mut record = open.record.lock().unwrap();
                record.way(way).get(next).map(|chunk| chunk.read)
            };
            match chunk.or(ended) {
                Some(read) if self.may_pass(way, read) => {
                    if chunk.is_none() {
                        break;
                    }
                    open.pass(way, next, self.keeps);
                    next += 1;
                }
                // The end waits as bytes do. The weather is looked at again and again.
                Some(_) if ended.is_some() => thread::sleep(LOOK),
                waiting => {
                    let limit = waiting.map_or(REST, |_| LOOK);
                    let is_readable = match way {
                        Way::Up => wait_readable(&open.near, limit),
                        Way::Down => wait_readable(&open.far, limit),
                    };
                    if is_readable && !open.take(way) {
                        ended = Some(now());
                    }
                }
            }
        }
        open.close(way);
        self.open.lock().unwrap().retain(|o| !Arc::ptr_eq(o, open));
    }
}

fn wait_readable(fd: impl AsFd, limit: Duration) -> bool {
    let time = Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: limit.subsec_nanos().into(),
    };
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    matches!(poll(&mut fds, Some(&time)), Ok(1..))
}
