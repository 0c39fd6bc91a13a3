//! A receiver: listens, and plays its scripts to whoever connects.
//!
//! [`Receiver`] owns its sockets and threads: all end when the case is over. Connection n gets
//! script n, and all further ones the last. What happened is kept in order, to be judged and
//! to be shown when the case fails.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use super::case::{Case, duration};
use super::progress::Progress;
use super::script::{Close, Connection, Read, ReadWhat, Step, Wait};
use super::sockets::{Closed, listen};
use super::wire::{Handshake, LIMIT, Seen, Wire};

/// A receiver that answers a connection nobody wrote a script for would hide what it is for.
const MAX_CONNECTIONS: usize = 64;

/// Of each thing that was sent or read, so much is shown.
const SHOWN: usize = 160;

pub struct Receiver {
    pub port: u16,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    addresses: Vec<SocketAddr>,
    /// What is only there to refuse connections, or to drop them.
    _closed: Closed,
}

struct Shared {
    case: Arc<Case>,
    tls: Option<Arc<ServerConfig>>,
    progress: Arc<Progress>,
    begun: Instant,
    log: Mutex<Log>,
}

/// What a receiver saw.
#[derive(Default)]
pub struct Log {
    pub connections: usize,
    pub requests: Vec<Seen>,
    pub handshakes: Vec<Handshake>,
    pub transcript: Vec<String>,
    /// Handles of what is open, by connection.
    open: BTreeMap<usize, TcpStream>,
}

impl Receiver {
    pub fn start(
        case: Arc<Case>,
        tls: Option<Arc<ServerConfig>>,
        progress: Arc<Progress>,
    ) -> io::Result<Receiver> {
        let (port, listeners, closed) = listen(&case)?;
        let addresses: Vec<_> = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<Result<_, _>>()?;
        let shared = Arc::new(Shared {
            case,
            tls,
            progress,
            begun: Instant::now(),
            log: Mutex::default(),
        });
        let threads = listeners.into_iter().map(|listener| {
            let shared = shared.clone();
            thread::spawn(move || shared.accept(&listener))
        });
        Ok(Receiver {
            port,
            threads: threads.collect(),
            shared,
            addresses,
            _closed: closed,
        })
    }

    /// Ends it, and gives what it saw.
    pub fn end(mut self) -> Log {
        self.shared.progress.end();
        let mut log = std::mem::take(&mut *self.shared.log());
        for stream in std::mem::take(&mut log.open).into_values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Each acceptor ends with the next connection that it takes.
        for address in &self.addresses {
            let _ = TcpStream::connect_timeout(address, LIMIT);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        log
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.progress.is_over() {
                return;
            }
            let mut log = self.log();
            log.connections += 1;
            let n = log.connections;
            drop(log);
            if n > MAX_CONNECTIONS {
                self.note(n, "more connections than any case needs: closed");
                continue;
            }
            let shared = self.clone();
            thread::spawn(move || shared.serve(n, stream));
        }
    }

    fn serve(&self, n: usize, stream: TcpStream) {
        let wire = Wire::new(stream).and_then(|wire| {
            self.log().open.insert(n, wire.handle()?);
            Ok(wire)
        });
        let Ok(mut wire) = wire else {
            return self.note(n, "the connection is broken already");
        };
        self.note(n, &format!("accepted from {}", wire.remote));
        if let Some(config) = &self.tls {
            match wire.shake_hands(config) {
                Ok(shaken) => {
                    self.note(n, &format!("handshake: {shaken:?}"));
                    self.log().handshakes.push(shaken);
                }
                Err(e) => return self.note(n, &format!("handshake failed: {e}")),
            }
        }
        let scripts = &self.case.connection;
        let Some(script) = scripts.get(n - 1).or(scripts.last()) else {
            return self.note(n, "no script: closed");
        };
        match self.play(n, script, wire) {
            Ok(Some(mut wire)) => {
                self.note(n, "script done, stays open");
                // Held until the case is over, when its handle is shut down.
                while !self.progress.is_over()
                    && wire.read_anything().is_ok_and(|read| read.is_some())
                {}
            }
            Ok(None) => {}
            Err(e) => self.note(n, &format!("ended: {e}")),
        }
    }

    /// Plays a script. `None`: it has closed the connection, or the sender has.
    fn play(&self, n: usize, script: &Connection, wire: Wire) -> io::Result<Option<Wire>> {
        let mut wire = Some(wire);
        loop {
            for step in &script.steps {
                let Some(open) = wire.as_mut() else {
                    // Nothing but waiting and releasing is left to do without a connection.
                    self.pace(step)?;
                    continue;
                };
                if let Some(what) = &step.read {
                    if !self.read(n, what, open)? {
                        self.note(n, "the sender has closed");
                        return Ok(None);
                    }
                } else if let Some(close) = step.close {
                    self.note(n, &format!("closes: {close:?}"));
                    if close != Close::Half {
                        // It is closed with its last handle.
                        self.log().open.remove(&n);
                    }
                    match close {
                        Close::Half => open.shut_writing(false)?,
                        Close::Reset => {
                            let _ = wire.take().map(Wire::reset);
                        }
                        Close::Fin | Close::Notify => {
                            open.shut_writing(close == Close::Notify)?;
                            open.wait_arrived();
                            wire = None;
                        }
                    }
                } else if step.wait == Some(Wait::Arrived) {
                    self.note(n, "waits until all has arrived");
                    open.wait_arrived();
                } else {
                    self.send(n, step, open)?;
                    self.pace(step)?;
                }
            }
            if !script.again || wire.is_none() {
                return Ok(wire);
            }
        }
    }

    fn read(&self, n: usize, what: &Read, wire: &mut Wire) -> io::Result<bool> {
        let seen = match what {
            Read::Bytes(bytes) => {
                let read = wire.read_bytes(*bytes)?;
                return Ok(self.note_read(n, read.as_deref()));
            }
            Read::What(ReadWhat::Some) => {
                let read = wire.read_anything()?;
                return Ok(self.note_read(n, read.as_deref()));
            }
            Read::What(ReadWhat::End) => {
                wire.read_to_end()?;
                return Ok(false);
            }
            Read::What(ReadWhat::Head) => wire.read_head()?,
            Read::What(ReadWhat::Request) => wire.read_request()?,
        };
        let Some(seen) = seen else {
            return Ok(false);
        };
        self.note(
            n,
            &format!(
                "read {} + {} bytes: {}",
                seen.head.len(),
                seen.body_bytes,
                seen.line()
            ),
        );
        self.log().requests.push(seen);
        Ok(true)
    }

    fn note_read(&self, n: usize, read: Option<&[u8]>) -> bool {
        if let Some(read) = read {
            self.note(n, &format!("read {} bytes: {}", read.len(), shown(read)));
        }
        read.is_some()
    }

    fn send(&self, n: usize, step: &Step, wire: &mut Wire) -> io::Result<()> {
        let Some(bytes) = step.bytes().map_err(io::Error::other)? else {
            return Ok(());
        };
        let bytes = self.fill_in(bytes);
        let times = step.times.unwrap_or(1);
        let every = step
            .every
            .as_deref()
            .and_then(|text| duration(text).ok())
            .unwrap_or_default();
        let often = if times == 1 {
            String::new()
        } else {
            format!(" {times} times")
        };
        self.note(
            n,
            &format!("sends {} bytes{often}: {}", bytes.len(), shown(&bytes)),
        );
        for _ in 0..times {
            for piece in bytes.chunks(step.pieces.unwrap_or(bytes.len()).max(1)) {
                wire.write(piece)?;
                if !every.is_zero() {
                    thread::sleep(every);
                }
                if self.progress.is_over() {
                    return Err(io::Error::other("the case is over"));
                }
            }
        }
        Ok(())
    }

    /// `{date+60}` is the time in so many seconds, as HTTP writes it.
    fn fill_in(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(at) = bytes.windows(5).position(|w| w == b"{date") else {
            return bytes;
        };
        let Some(length) = bytes[at..].iter().position(|&b| b == b'}') else {
            return bytes;
        };
        let offset = std::str::from_utf8(&bytes[at + 5..at + length])
            .ok()
            .and_then(|text| text.parse::<i64>().ok());
        let now = std::time::SystemTime::now();
        let shift = Duration::from_secs(offset.unwrap_or(0).unsigned_abs());
        let time = if offset.unwrap_or(0) < 0 {
            now - shift
        } else {
            now + shift
        };
        let text = httpdate::fmt_http_date(time);
        let filled = [&bytes[..at], text.as_bytes(), &bytes[at + length + 1..]].concat();
        self.fill_in(filled)
    }

    fn pace(&self, step: &Step) -> io::Result<()> {
        if let Some(text) = &step.pause {
            thread::sleep(duration(text).map_err(io::Error::other)?);
        } else if step.wait == Some(Wait::Settled) {
            if !self.progress.await_settled(LIMIT) {
                return Err(io::Error::other(
                    "waited in vain for the message to be settled",
                ));
            }
        } else if let Some(wanted) = step.requests {
            let end = Instant::now() + LIMIT;
            while self.log().requests.len() < wanted {
                if self.progress.is_over() || Instant::now() >= end {
                    return Err(io::Error::other("waited in vain for requests"));
                }
                thread::sleep(Duration::from_millis(1));
            }
        } else if step.next == Some(true) {
            self.progress.release();
        }
        Ok(())
    }

    fn note(&self, n: usize, text: &str) {
        let at = self.begun.elapsed().as_millis();
        let mut log = self.log();
        if log.transcript.len() < 200 {
            log.transcript
                .push(format!("{at:>6} ms  connection {n}: {text}"));
        }
    }

    fn log(&self) -> std::sync::MutexGuard<'_, Log> {
        self.log.lock().expect("no panic while it was locked")
    }
}

pub fn shown(bytes: &[u8]) -> String {
    let text: String = bytes[..bytes.len().min(SHOWN)]
        .iter()
        .map(|&b| char::from(b))
        .collect();
    let dots = if bytes.len() > SHOWN { "..." } else { "" };
    format!("{text:?}{dots}")
}
