//! A web server on a port of its own that answers as a test's script says, mostly badly.
//!
//! [`Receiver`] owns the listening socket; each connection has a thread, which ends when
//! the peer has gone. Every request is recorded *before* it is answered, so a test that
//! has seen an effect of the answer also sees the request.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::reply::act;
pub use super::reply::{Reply, status};
use super::{DEADLINE, Gate};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, as in the request line.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub at: Instant,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Request {
    /// The value of a header, which may stand only once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name));
        let first = found.next()?;
        assert!(
            found.next().is_none(),
            "{name} stands twice: {:?}",
            self.headers
        );
        Some(&first.1)
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
            .expect("every request has a webhook-id")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of UTF-8")
    }
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    connections: usize,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    grown: Condvar,
}

pub struct Receiver {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub fn ok() -> Receiver {
        Receiver::answering(|_, _| status(200))
    }

    /// Answers the n-th request with the n-th reply, and from then on with the last.
    pub fn script<R: Into<Reply>>(replies: impl IntoIterator<Item = R>) -> Receiver {
        let replies: Vec<Reply> = replies.into_iter().map(Into::into).collect();
        Receiver::answering(move |_, n| replies[n.min(replies.len() - 1)].clone())
    }

    /// Answers as the function says, which also gets the number of the request (from 0).
    pub fn answering<R: Into<Reply>>(
        reply: impl Fn(&Request, usize) -> R + Send + Sync + 'static,
    ) -> Receiver {
        Receiver::at("127.0.0.1:0", move |shared, stream, n| {
            serve(shared, stream, n, &reply)
        })
    }

    /// Answers all with this status, but not before the gate is opened.
    pub fn gated(code: u16) -> (Receiver, Gate) {
        let gate = Gate::default();
        let held = gate.clone();
        let receiver = Receiver::answering(move |_, _| {
            held.pass();
            status(code)
        });
        (receiver, gate)
    }

    /// As [`Receiver::ok`], at an address of the test's choice.
    pub fn ok_at(addr: &str) -> Receiver {
        Receiver::slow_at(addr, Duration::ZERO)
    }

    /// The same, and takes its time.
    pub fn slow_at(addr: &str, after: Duration) -> Receiver {
        Receiver::at(addr, move |shared, stream, n| {
            serve(shared, stream, n, &|_: &Request, _| {
                status(200).after(after)
            })
        })
    }

    /// Answers all with this status, at an address of the test's choice.
    pub fn status_at(addr: &str, code: u16) -> Receiver {
        Receiver::at(addr, move |shared, stream, n| {
            serve(shared, stream, n, &|_: &Request, _| status(code))
        })
    }

    /// Gives each connection to the function, which speaks for itself; nothing is recorded
    /// but the connection.
    pub fn connections(handle: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Receiver {
        Receiver::at("127.0.0.1:0", move |_, stream, n| handle(stream, n))
    }

    fn at(
        addr: &str,
        handle: impl Fn(&Shared, TcpStream, usize) + Send + Sync + 'static,
    ) -> Receiver {
        let listener = TcpListener::bind(addr).expect("a socket on loopback");
        let addr = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared::default());
        let (handle, all) = (Arc::new(handle), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut seen = all.seen.lock().unwrap();
                let number = seen.connections;
                seen.connections += 1;
                drop(seen);
                all.grown.notify_all();
                let (handle, all) = (handle.clone(), all.clone());
                thread::spawn(move || handle(&all, stream, number));
            }
        });
        Receiver { addr, shared }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.lock().unwrap().requests.clone()
    }

    /// The ids of all requests, in the order in which they came.
    pub fn ids(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().map(|r| r.id().to_owned()).collect()
    }

    pub fn distinct(&self) -> BTreeSet<String> {
        self.ids().into_iter().collect()
    }

    pub fn count(&self) -> usize {
        self.shared.seen.lock().unwrap().requests.len()
    }

    pub fn connected(&self) -> usize {
        self.shared.seen.lock().unwrap().connections
    }

    /// Waits until there were at least so many requests.
    pub fn wait_for(&self, n: usize) -> Vec<Request> {
        self.wait(&format!("{n} requests"), |seen| seen.requests.len() >= n)
    }

    /// Waits until there were at least so many connections.
    pub fn wait_connected(&self, n: usize) {
        self.wait(&format!("{n} connections"), |seen| seen.connections >= n);
    }

    fn wait(&self, what: &str, enough: impl Fn(&Seen) -> bool) -> Vec<Request> {
        let seen = self.shared.seen.lock().unwrap();
        let waited = self
            .shared
            .grown
            .wait_timeout_while(seen, DEADLINE, |seen| !enough(seen));
        let seen = waited.unwrap().0;
        assert!(
            enough(&seen),
            "waited {DEADLINE:?} in vain for {what}; there were {} on {} connections",
            seen.requests.len(),
            seen.connections
        );
        seen.requests.clone()
    }
}

/// One connection, request after request.
fn serve<R: Into<Reply>>(
    shared: &Shared,
    stream: TcpStream,
    connection: usize,
    reply: &impl Fn(&Request, usize) -> R,
) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader, connection) {
        let mut seen = shared.seen.lock().unwrap();
        let number = seen.requests.len();
        seen.requests.push(request.clone());
        drop(seen);
        shared.grown.notify_all();
        if !act(reply(&request, number).into(), reader.get_mut()) {
            break;
        }
    }
}

/// `None` at the end of the connection, also in the middle of a request.
pub fn read_request(reader: &mut impl BufRead, connection: usize) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (method, rest) = line.trim_end().split_once(' ')?;
    let path = rest.strip_suffix(" HTTP/1.1")?.to_owned();
    let method = method.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.strip_suffix("\r\n")?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = headers
        .iter()
        .find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, v)| v.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        headers,
        body,
        at: Instant::now(),
        connection,
    })
}
