//! The yardstick: a client that only posts the same requests to the same sink, with as many
//! threads and connections as it is told, one write and one read each. Nothing that delivers can
//! cost less.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::Result;
use super::message::{self, Template};
use super::sink::ANSWER;

/// The first argument of this program when it is to be that client.
pub const POST: &str = "--post";

/// `count threads origin…`
pub fn post(args: impl Iterator<Item = OsString>) -> Result<()> {
    let args: Vec<String> = args.filter_map(|a| a.into_string().ok()).collect();
    let [count, threads, origins @ ..] = &args[..] else {
        return Err("--post needs a count, a number of threads and origins".into());
    };
    let (count, threads): (usize, usize) = (count.parse()?, threads.parse()?);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..threads)
            .map(|n| {
                let (origin, next) = (&origins[n % origins.len()], &next);
                scope.spawn(move || client(origin, next, count).map_err(|e| e.to_string()))
            })
            .collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })
}

fn client(origin: &str, next: &AtomicUsize, count: usize) -> Result<()> {
    let mut stream = TcpStream::connect(origin)?;
    stream.set_nodelay(true)?;
    let body = message::body(0);
    let head = format!(
        "POST /hook HTTP/1.1\r\nhost: {origin}\r\ncontent-type: application/json\r\n\
         webhook-id: {}\r\nuser-agent: reference\r\ncontent-length: {}\r\n\r\n",
        message::digits(0),
        body.len()
    );
    let mut request = Template::new([head.as_bytes(), &body].concat(), 0);
    let mut answer = [0; ANSWER.len()];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            return Ok(());
        }
        stream.write_all(request.stamp(number))?;
        stream.read_exact(&mut answer)?;
    }
}
