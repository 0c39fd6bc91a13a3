//! The payment gateway of the tutorial: it makes up a payment, and tells outhook about it.
//!
//! `GET /payment` answers a random payment and PUBLISHes exactly the same bytes to the Redis
//! channel `payments`, where `outhook serve` listens:
//!
//! ```json
//! {"url": "http://…", "webhookId": "32 hex digits",
//!  "data": {"id": "32 hex digits", "payment": "PY-ABCDEFGHIJ",
//!           "event": "accepted", "created": "25/11/2026, 09:30:00"}}
//! ```
//!
//! The answer's header `x-subscribers` is what PUBLISH returned. Redis keeps nothing for those
//! who do not listen, so `0` means that this payment's webhook will never be sent. A payment
//! that could not be published at all is answered with 503.
//!
//! Environment:
//!   REDIS_ADDRESS    host:port, redis://, rediss:// or unix:///path  (default 127.0.0.1:6379)
//!   REDIS_PASSWORD   as it is, not percent-encoded; goes before one in the address
//!   WEBHOOK_ADDRESS  where the webhook is to be sent  (default http://127.0.0.1:9000/payments)
//!   BIND             address to listen on  (default 0.0.0.0:8000)
//!
//! `payment-api --health` asks a running server for `/healthz` and exits with 0 or 1: a health
//! check for a container that has no shell. It always answers while the server runs, with or
//! without Redis: restarting the gateway does not repair Redis.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{env, io, thread};

use redis::{Connection, ConnectionInfo, IntoConnectionInfo, RedisResult};
use serde::Serialize;
use tiny_http::{Header, Method, Request, Response, Server};

const CHANNEL: &str = "payments";
const EVENTS: [&str; 3] = ["accepted", "completed", "canceled"];

/// Each thread has its own Redis connection, so this is also how many PUBLISHes go at once.
const THREADS: usize = 8;

/// A gateway's client waits for our answer, so a Redis that does not answer is soon given up.
const REDIS_TIMEOUT: Duration = Duration::from_secs(3);
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let result = match env::args().nth(1).as_deref() {
        None => serve(),
        Some("--health") => health(),
        Some(_) => Err("usage: payment-api [--health]; settings come from the environment".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// A line on stderr. `eprintln!` would panic when nobody reads it any more.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "payment-api: {what}");
}

/// What outhook reads: where to, under which id, and what.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    url: &'a str,
    webhook_id: String,
    data: Payment,
}

#[derive(Serialize)]
struct Payment {
    id: String,
    payment: String,
    event: &'static str,
    created: String,
}

impl Payment {
    fn random(now: SystemTime) -> io::Result<Self> {
        let letters = random_bytes::<10>()?.map(|byte| char::from(b'A' + byte % 26));
        let [choice] = random_bytes::<1>()?;
        Ok(Self {
            id: random_id()?,
            payment: format!("PY-{}", letters.iter().collect::<String>()),
            event: EVENTS[usize::from(choice) % EVENTS.len()],
            created: tutorial_date(now),
        })
    }
}

/// `25/11/2026, 09:30:00`, in UTC.
fn tutorial_date(now: SystemTime) -> String {
    // The RFC 3339 form has its parts at fixed places: 2026-11-25T09:30:00Z.
    let text = humantime::format_rfc3339_seconds(now).to_string();
    let (date, time) = text
        .trim_end_matches('Z')
        .split_once('T')
        .unwrap_or_default();
    let parts: Vec<&str> = date.rsplit('-').collect();
    format!("{}, {time}", parts.join("/"))
}

fn random_id() -> io::Result<String> {
    Ok(random_bytes::<16>()?
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn serve() -> Result<(), Box<dyn Error>> {
    let redis = redis_from_env()?;
    let webhook_address: Arc<str> =
        setting("WEBHOOK_ADDRESS", "http://127.0.0.1:9000/payments").into();
    let bind = setting("BIND", "0.0.0.0:8000");
    let server =
        Server::http(&bind).map_err(|error| format!("cannot listen on {bind}: {error}"))?;
    let server = Arc::new(server);

    // As PID 1 of a container a program without a handler would ignore SIGTERM.
    let to_stop = Arc::clone(&server);
    ctrlc::set_handler(move || (0..THREADS).for_each(|_| to_stop.unblock()))?;

    println!(
        "payment-api: on http://{}, webhooks go to {webhook_address}",
        server.server_addr()
    );
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let server = Arc::clone(&server);
            let webhook_address = Arc::clone(&webhook_address);
            let mut publisher = Publisher {
                redis: redis.clone(),
                connection: None,
            };
            thread::spawn(move || {
                // Ends when `unblock` is called: once for each thread.
                for request in server.incoming_requests() {
                    answer(request, &webhook_address, &mut publisher);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| "a thread panicked")?;
    }
    println!("payment-api: stopped");
    Ok(())
}

fn answer(request: Request, webhook_address: &str, publisher: &mut Publisher) {
    let path = request.url().split('?').next().unwrap_or_default();
    let response = match (request.method(), path) {
        (Method::Get, "/payment") => payment(webhook_address, publisher),
        (Method::Get, "/healthz") => text(200, "ok\n"),
        (_, "/payment" | "/healthz") => text(405, "only GET\n").with_header(header("Allow", "GET")),
        _ => text(404, "try GET /payment\n"),
    };
    // The client may be gone by now, which is its own business.
    let _ = request.respond(response);
}

type Answer = Response<io::Cursor<Vec<u8>>>;

fn payment(webhook_address: &str, publisher: &mut Publisher) -> Answer {
    let body = match new_message(webhook_address) {
        Ok(body) => body,
        Err(error) => return text(500, &format!("cannot make a payment: {error}\n")),
    };
    match publisher.publish(&body) {
        Ok(subscribers) => {
            if subscribers == 0 {
                complain(&format!(
                    "nobody listens on {CHANNEL}, this webhook is lost: {body}"
                ));
            }
            Response::from_string(body)
                .with_header(header("Content-Type", "application/json"))
                .with_header(header("X-Subscribers", &subscribers.to_string()))
        }
        Err(error) => {
            complain(&format!("cannot publish: {error}"));
            text(
                503,
                &format!("the payment was not published, Redis said: {error}\n"),
            )
        }
    }
}

fn new_message(webhook_address: &str) -> Result<String, Box<dyn Error>> {
    let message = Message {
        url: webhook_address,
        webhook_id: random_id()?,
        data: Payment::random(SystemTime::now())?,
    };
    Ok(serde_json::to_string(&message)?)
}

fn text(status: u16, body: &str) -> Answer {
    Response::from_string(body).with_status_code(status)
}

/// `name` and `value` are our own ASCII; a wrong one would be a bug that the first request shows.
fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("ASCII name and value")
}

/// A Redis connection that is made when it is needed, and made again when it broke.
struct Publisher {
    redis: redis::Client,
    connection: Option<Connection>,
}

impl Publisher {
    /// The number of subscribers that got it.
    ///
    /// A connection that was kept may have died since it was last used, so a failure on one is
    /// tried again at once on a fresh one. When only the answer was lost, that publishes the
    /// message twice, with the same `webhookId`: better twice than never.
    fn publish(&mut self, message: &str) -> RedisResult<u64> {
        if let Some(mut kept) = self.connection.take()
            && let Ok(subscribers) = publish_on(&mut kept, message)
        {
            self.connection = Some(kept);
            return Ok(subscribers);
        }
        let mut fresh = self.redis.get_connection_with_timeout(REDIS_TIMEOUT)?;
        fresh.set_read_timeout(Some(REDIS_TIMEOUT))?;
        fresh.set_write_timeout(Some(REDIS_TIMEOUT))?;
        let subscribers = publish_on(&mut fresh, message)?;
        self.connection = Some(fresh);
        Ok(subscribers)
    }
}

fn publish_on(connection: &mut Connection, message: &str) -> RedisResult<u64> {
    redis::cmd("PUBLISH")
        .arg(CHANNEL)
        .arg(message)
        .query(connection)
}

fn redis_from_env() -> Result<redis::Client, Box<dyn Error>> {
    let mut address = setting("REDIS_ADDRESS", "127.0.0.1:6379");
    if !address.contains("://") {
        address.insert_str(0, "redis://");
    }
    // The address may hold a password: it is not repeated in the error.
    let mut info: ConnectionInfo = address
        .as_str()
        .into_connection_info()
        .map_err(|error| format!("REDIS_ADDRESS: {error}"))?;
    let password = setting("REDIS_PASSWORD", "");
    if !password.is_empty() {
        let settings = info.redis_settings().clone().set_password(password);
        info = info.set_redis_settings(settings);
    }
    Ok(redis::Client::open(info)?)
}

/// An empty variable counts as one that is not set: compose files cannot leave one out.
fn setting(name: &str, default: &str) -> String {
    env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| default.to_owned())
}

fn health() -> Result<(), Box<dyn Error>> {
    let bind = setting("BIND", "0.0.0.0:8000");
    let mut address: SocketAddr = bind
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| format!("BIND={bind} has no address"))?;
    if address.ip().is_unspecified() {
        // "Every address" is a place to listen on, not one to go to.
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    if &status != b"HTTP/1.1 200" {
        return Err(format!("/healthz answered {}", String::from_utf8_lossy(&status)).into());
    }
    Ok(())
}
