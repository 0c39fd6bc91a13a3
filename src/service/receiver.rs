//! A receiver of webhooks for development: `outhook listen`, and the endpoints of the demo.
//! Not for production, and not part of the delivery pipeline.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response, Server};

/// Requests handled at a time, and so waiting out `delay` at a time.
const THREADS: usize = 64;

/// A larger body is cut.
const MAX_BODY: u64 = 64 << 20;

/// tiny_http counts a thread as free that it has just given a connection. So it can queue a
/// connection behind others that are kept alive, for as long as these live. A new connection
/// unblocks the queue.
const NUDGE: Duration = Duration::from_millis(50);

/// How the receiver answers.
#[derive(Debug, Clone)]
pub struct Behaviour {
    pub status: u16,
    /// Share of requests answered with 500 instead.
    pub fail_rate: f64,
    pub delay: Duration,
    /// Never answer.
    pub hang: bool,
    /// Seconds to ask for in each answer that is not 2xx.
    pub retry_after: Option<u32>,
    /// A GET counts as a webhook. Otherwise it is answered for load balancers and health checks.
    pub takes_get: bool,
}

/// One request, and its answer.
pub struct Received {
    pub status: u16,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Received {
    /// The first of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        let found = all.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }
}

struct Shared {
    server: Server,
    behaviour: Behaviour,
    count: AtomicU64,
    hanging: Mutex<Vec<Request>>,
    on_request: Box<dyn Fn(&mut Received) + Send + Sync>,
}

/// Listens at `bind` until the process ends, and calls `on_request` just before each answer, which
/// it may change. Returns the address, with the port that was taken.
pub fn start(
    bind: SocketAddr,
    behaviour: Behaviour,
    on_request: impl Fn(&mut Received) + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let server = Server::http(bind).map_err(io::Error::other)?;
    let address = server.server_addr().to_ip().unwrap_or(bind);
    let shared = Arc::new(Shared {
        server,
        behaviour,
        count: AtomicU64::new(0),
        hanging: Mutex::default(),
        on_request: Box::new(on_request),
    });
    for n in 1..=THREADS {
        let shared = shared.clone();
        thread::Builder::new()
            .name(format!("receiver-{n}"))
            .spawn(move || while shared.serve_one() {})?;
    }
    let nudge = move || {
        loop {
            thread::sleep(NUDGE);
            let _ = TcpStream::connect(address);
        }
    };
    thread::Builder::new()
        .name("receiver-nudge".into())
        .spawn(nudge)?;
    Ok(address)
}

impl Shared {
    /// False when the server has ended.
    fn serve_one(&self) -> bool {
        let Ok(mut request) = self.server.recv() else {
            return false;
        };
        if *request.method() == Method::Get && !self.behaviour.takes_get {
            let _ = request.respond(Response::from_string(
                "outhook listen: POST webhooks here\n",
            ));
            return true;
        }
        let mut body = Vec::new();
        let _ = request.as_reader().take(MAX_BODY).read_to_end(&mut body);
        thread::sleep(self.behaviour.delay);
        let headers = request.headers().iter();
        let headers = headers.map(|h| (h.field.to_string(), h.value.to_string()));
        let mut received = Received {
            status: if self.behaviour.hang {
                0
            } else {
                self.status()
            },
            method: request.method().to_string(),
            path: request.url().to_owned(),
            headers: headers.collect(),
            body,
        };
        (self.on_request)(&mut received);
        let status = received.status;
        if self.behaviour.hang {
            // Kept, because dropping a request answers it.
            self.hanging.lock().expect("never poisoned").push(request);
            return true;
        }
        let mut response = Response::empty(status);
        if let Some(seconds) = self.behaviour.retry_after
            && !(200..300).contains(&status)
        {
            let header = Header::from_bytes("Retry-After", seconds.to_string());
            response.add_header(header.expect("a number is a header value"));
        }
        // The sender may be gone; that is no error here.
        let _ = request.respond(response);
        true
    }

    /// Spreads failures evenly, and the same way in each run.
    fn status(&self) -> u16 {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        // The golden ratio's multiples, without their whole part, fill [0, 1) evenly.
        let place = (n as f64 * 0.618_033_988_749_894_9).fract();
        match place < self.behaviour.fail_rate {
            true => 500,
            false => self.behaviour.status,
        }
    }
}
