//! A forward proxy on loopback: HTTP (CONNECT, and whole URLs), the same within TLS, or SOCKS5.
//!
//! [`Forward`] owns the listening socket; each connection has a thread. What is asked of it is recorded
//! *before* it is answered. It speaks by hand, so that outhook is not tested against itself.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustls::{ServerConfig, ServerConnection};

/// What was asked of it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `CONNECT host:port`, the first line of a request, or `SOCKS host:port`.
    pub what: String,
    /// The whole head, or what SOCKS was told of a user and a password.
    pub login: String,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    pub from: SocketAddr,
}

/// What is done about it.
#[derive(Debug, Clone)]
pub enum Manner {
    /// It is led to the target.
    Lead,
    /// It is led there, whatever it asked for.
    LeadTo(SocketAddr),
    /// These bytes, then the end: an answer to CONNECT or to a request, or a reply of SOCKS.
    Say(Vec<u8>),
    /// Nothing, until the peer leaves.
    Hang,
}

/// What is spoken.
#[derive(Clone)]
pub enum Speech {
    Http,
    Https(Arc<ServerConfig>),
    /// With a user and password, if there is one.
    Socks(Option<(&'static str, &'static str)>),
}

type Script = dyn Fn(&Asked, usize) -> Manner + Send + Sync;

pub struct Forward {
    pub addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Forward {
    /// Leads everybody.
    pub fn leading(speech: Speech) -> Forward {
        Forward::start(speech, |_, _| Manner::Lead)
    }

    /// Does as the function says, which also gets the number of what is asked (from 0).
    pub fn start(
        speech: Speech,
        script: impl Fn(&Asked, usize) -> Manner + Send + Sync + 'static,
    ) -> Forward {
        Forward::at("127.0.0.1:0", speech, script)
    }

    pub fn at(
        addr: &str,
        speech: Speech,
        script: impl Fn(&Asked, usize) -> Manner + Send + Sync + 'static,
    ) -> Forward {
        let listener = TcpListener::bind(addr).expect("a socket on loopback");
        let addr = listener.local_addr().expect("an address");
        let script: Arc<Script> = Arc::new(script);
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let all = asked.clone();
        thread::spawn(move || {
            for (number, tcp) in listener.incoming().flatten().enumerate() {
                let (all, script, speech) = (all.clone(), script.clone(), speech.clone());
                thread::spawn(move || {
                    let _ = tcp.set_nodelay(true);
                    let tls = match &speech {
                        Speech::Https(config) => ServerConnection::new(config.clone()).ok(),
                        _ => None,
                    };
                    let from = tcp.peer_addr().expect("connected");
                    let link = Link {
                        tcp,
                        tls,
                        got: Vec::new(),
                    };
                    let visit = Visit {
                        link,
                        number,
                        from,
                        all,
                        script,
                    };
                    match speech {
                        Speech::Socks(login) => visit.socks(login),
                        _ => visit.http(),
                    }
                });
            }
        });
        Forward { addr, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// One connection to a proxy.
struct Visit {
    link: Link,
    number: usize,
    from: SocketAddr,
    all: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Script>,
}

impl Visit {
    fn note(&self, what: String, login: String) -> Manner {
        let asked = Asked {
            what,
            login,
            connection: self.number,
            from: self.from,
        };
        let mut all = self.all.lock().unwrap();
        let number = all.len();
        all.push(asked.clone());
        drop(all);
        (self.script)(&asked, number)
    }

    /// To whom it is led; what else is to be done is done here.
    fn obey(&mut self, manner: Manner, target: &str, lost: &[u8]) -> Option<TcpStream> {
        let led = match manner {
            Manner::Lead => TcpStream::connect(target),
            Manner::LeadTo(addr) => TcpStream::connect(addr),
            Manner::Say(bytes) => {
                self.link.write(&bytes);
                return None;
            }
            Manner::Hang => {
                while self.link.fill() {}
                return None;
            }
        };
        if led.is_err() {
            self.link.write(lost);
        }
        led.ok()
    }

    fn http(mut self) {
        let lost = b"HTTP/1.1 503 Service Unavailable\r\nX-Squid-Error: ERR_CONNECT_FAIL 111\r\nContent-Length: 0\r\n\r\n";
        while let Some(head) = self.link.take_head() {
            let line = head.lines().next().unwrap_or_default().to_owned();
            let url = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let is_connect = line.starts_with("CONNECT ");
            let target = match url.strip_prefix("http://") {
                Some(rest) => rest.split('/').next().unwrap_or_default().to_owned(),
                None => url.clone(),
            };
            let what = line.trim_end_matches(" HTTP/1.1").to_owned();
            let manner = self.note(what, head.clone());
            let Some(mut led) = self.obey(manner, &target, lost) else {
                return;
            };
            if is_connect {
                self.link
                    .write(b"HTTP/1.1 200 Connection established\r\n\r\n");
                return self.link.pump(led);
            }
            let length = length_of(&head);
            let Some(body) = self.link.take(length) else {
                return;
            };
            let head = head.replacen(&format!("http://{target}"), "", 1);
            let plain = head
                .split_inclusive("\r\n")
                .filter(|line| !line.starts_with("Proxy-"));
            let _ = led.write_all(plain.collect::<String>().as_bytes());
            let _ = led.write_all(&body);
            let mut back = Link {
                tcp: led,
                tls: None,
                got: Vec::new(),
            };
            let Some(head) = back.take_head() else {
                return;
            };
            let body = back.take(length_of(&head)).unwrap_or_default();
            self.link.write(head.as_bytes());
            self.link.write(&body);
        }
    }

    fn socks(mut self, login: Option<(&str, &str)>) {
        let Some(head) = self.link.take(2) else {
            return;
        };
        if head[0] != 5 {
            return self.link.write(&[5, 0xff]);
        }
        let Some(methods) = self.link.take(head[1].into()) else {
            return;
        };
        let wanted = if login.is_some() { 2 } else { 0 };
        if !methods.contains(&wanted) {
            return self.link.write(&[5, 0xff]);
        }
        self.link.write(&[5, wanted]);
        let mut told = String::new();
        if let Some((user, password)) = login {
            let Some((got_user, got_password)) = self.take_login() else {
                return;
            };
            told = format!("{got_user}:{got_password}");
            let good = told == format!("{user}:{password}");
            self.link.write(&[1, u8::from(!good)]);
            if !good {
                self.note(String::new(), told);
                return;
            }
        }
        let Some(target) = self.take_target() else {
            return;
        };
        let manner = self.note(format!("SOCKS {target}"), told);
        let lost = [5, 5, 0, 1, 0, 0, 0, 0, 0, 0];
        if let Some(led) = self.obey(manner, &target, &lost) {
            self.link.write(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            self.link.pump(led);
        }
    }

    fn take_login(&mut self) -> Option<(String, String)> {
        self.link.take(1)?;
        let mut both = [String::new(), String::new()];
        for text in &mut both {
            let length = self.link.take(1)?[0];
            *text = String::from_utf8(self.link.take(length.into())?).ok()?;
        }
        let [user, password] = both;
        Some((user, password))
    }

    fn take_target(&mut self) -> Option<String> {
        let head = self.link.take(4)?;
        let host = match head[3] {
            1 => {
                let ip: [u8; 4] = self.link.take(4)?.try_into().ok()?;
                IpAddr::from(ip).to_string()
            }
            4 => {
                let ip: [u8; 16] = self.link.take(16)?.try_into().ok()?;
                format!("[{}]", Ipv6Addr::from(ip))
            }
            _ => {
                let length = self.link.take(1)?[0];
                String::from_utf8(self.link.take(length.into())?).ok()?
            }
        };
        let port = self.link.take(2)?;
        Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
    }
}

fn length_of(head: &str) -> usize {
    let lower = head.to_lowercase();
    let value = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value.map_or(0, |value| value.trim().parse().expect("a length"))
}

/// One side of it: a socket, perhaps with TLS, and what came and has not been taken.
struct Link {
    tcp: TcpStream,
    tls: Option<ServerConnection>,
    got: Vec<u8>,
}

impl Link {
    /// Waits for more; false at the end.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let Some(tls) = &mut self.tls else {
            let n = self.tcp.read(&mut buffer).unwrap_or(0);
            self.got.extend_from_slice(&buffer[..n]);
            return n > 0;
        };
        let came = matches!(tls.read_tls(&mut self.tcp), Ok(1..));
        let is_good = tls.process_new_packets().is_ok();
        while tls.wants_write() && tls.write_tls(&mut self.tcp).is_ok() {}
        while let Ok(n @ 1..) = tls.reader().read(&mut buffer) {
            self.got.extend_from_slice(&buffer[..n]);
        }
        came && is_good
    }

    fn take(&mut self, n: usize) -> Option<Vec<u8>> {
        while self.got.len() < n {
            if !self.fill() {
                return None;
            }
        }
        let rest = self.got.split_off(n);
        Some(std::mem::replace(&mut self.got, rest))
    }

    fn take_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.got.windows(4).position(|w| w == b"\r\n\r\n") {
                return String::from_utf8(self.take(end + 4)?).ok();
            }
            if !self.fill() {
                return None;
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            let _ = self.tcp.write_all(bytes);
            return;
        };
        for part in bytes.chunks(8 * 1024) {
            let _ = tls.writer().write_all(part);
            while tls.wants_write() && tls.write_tls(&mut self.tcp).is_ok() {}
        }
    }

    /// Carries all that comes to the other side, until one of the two has ended.
    fn pump(mut self, mut to: TcpStream) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let bytes = std::mem::take(&mut self.got);
            if to.write_all(&bytes).is_err() {
                return;
            }
            let mut fds = [
                PollFd::new(&self.tcp, PollFlags::IN),
                PollFd::new(&to, PollFlags::IN),
            ];
            if poll(&mut fds, None).is_err() {
                return;
            }
            let [near, far] = [&fds[0], &fds[1]].map(|fd| !fd.revents().is_empty());
            if near && !self.fill() {
                return;
            }
            if far {
                match to.read(&mut buffer) {
                    Ok(n @ 1..) => self.write(&buffer[..n]),
                    _ => return,
                }
            }
        }
    }
}
