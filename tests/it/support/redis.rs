//! A private redis-server, one a test, and what a test does to it and reads from it.
//!
//! [`Redis`] owns the server process and its folder. The server listens at a Unix socket
//! there, so no two tests can meet at a port; [`Redis::on_tcp`] adds a port. Commands go
//! through one control connection, which blocks while the server is stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use redis::{Connection, FromRedisValue, Value};
use tempfile::TempDir;

use super::sys::{self, Signal};
use super::{free_port, until};

pub const DEAD: &str = "{outhook}:dead";
pub const MESSAGES: &str = "{outhook}:messages";
pub const AGAIN: &str = "{outhook}:again";
pub const PARKED: &str = "{outhook}:parked";
pub const BACKLOGS: &str = "{outhook}:backlogs";
pub const ORDERED: &str = "{outhook}:ordered";
pub const HEADS: &str = "{outhook}:heads";

/// The server to test with: `REDIS_SERVER`, or the one on the PATH.
pub fn server() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

/// Whether it is Redis 7.0 or newer, or Valkey, which goes on from there. Says so when a test
/// leaves something out for that reason.
pub fn is_7(what: &str) -> bool {
    let output = Command::new(server()).arg("--version").output();
    let text = output
        .expect("redis-server on the PATH, or REDIS_SERVER")
        .stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    let version = text.split("v=").nth(1).and_then(|v| v.split('.').next());
    let version: u32 = version.expect("a version").parse().expect("a number");
    if version < 7 {
        eprintln!("skipped: this redis-server is older than 7.0, and {what}");
    }
    version >= 7
}

pub struct Redis {
    dir: TempDir,
    args: Vec<String>,
    port: u16,
    password: Option<String>,
    child: Option<Child>,
    control: Mutex<Option<Connection>>,
}

impl Redis {
    pub fn start() -> Redis {
        Redis::with(&[])
    }

    /// With arguments of redis-server, such as `--requirepass`.
    pub fn with(args: &[&str]) -> Redis {
        let mut redis = Redis::absent();
        redis.args = args.iter().map(|a| a.to_string()).collect();
        let password = args.iter().position(|a| *a == "--requirepass");
        redis.password = password.map(|at| args[at + 1].to_owned());
        redis.up();
        redis
    }

    /// As [`Redis::with`], and reachable by TCP.
    pub fn on_tcp(args: &[&str]) -> Redis {
        Redis::on_port(free_port(), args)
    }

    pub fn on_port(port: u16, args: &[&str]) -> Redis {
        let mut redis =
            Redis::with(&[args, &["--bind", "127.0.0.1", "--port", &port.to_string()]].concat());
        redis.port = port;
        redis
    }

    /// A server that is not there until [`Redis::up`].
    pub fn absent() -> Redis {
        Redis {
            dir: tempfile::tempdir().expect("a folder"),
            args: Vec::new(),
            port: 0,
            password: None,
            child: None,
            control: Mutex::new(None),
        }
    }

    /// Starts the server (again, at the same addresses) and waits until it answers.
    pub fn up(&mut self) {
        self.spawn();
        until("redis-server to answer", || {
            let ended = self.child.as_mut()?.try_wait().expect("a child");
            if let Some(status) = ended {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                panic!("redis-server ended: {status}\n{log}");
            }
            self.reconnect()
        });
    }

    /// The same, but does not wait: it may have to load its data first.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "redis-server runs already");
        let socket = self.socket();
        let child = Command::new(server())
            .args([
                "--port",
                "0",
                "--unixsocket",
                &socket,
                "--save",
                "",
                "--dir",
            ])
            .arg(self.dir.path())
            .arg("--logfile")
            .arg(self.log())
            .args(&self.args)
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server on the PATH, or REDIS_SERVER");
        self.child = Some(child);
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("redis.log")
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// A new control connection, as a failover ends all there are; if the server answers.
    pub fn reconnect(&self) -> Option<()> {
        let client = redis::Client::open(url_of(&self.socket(), &self.password));
        let mut connection = client.expect("an address").get_connection().ok()?;
        redis::cmd("PING").query::<String>(&mut connection).ok()?;
        *self.control.lock().unwrap() = Some(connection);
        Some(())
    }

    /// As if the machine had lost power.
    pub fn kill(&mut self) {
        self.control.lock().unwrap().take();
        if let Some(mut child) = self.child.take() {
            child.kill().expect("to kill redis-server");
            child.wait().expect("to reap redis-server");
        }
    }

    pub fn stop(&self) {
        sys::signal(self.pid(), Signal::STOP);
    }

    pub fn cont(&self) {
        sys::signal(self.pid(), Signal::CONT);
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running redis-server").id()
    }

    /// The path of the Unix socket.
    pub fn socket(&self) -> String {
        let path = self.dir.path().join("r.sock");
        path.to_str().expect("a plain path").to_owned()
    }

    /// `unix://` with the socket's path, without a password.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket())
    }

    /// `127.0.0.1:port`.
    pub fn tcp(&self) -> String {
        assert_ne!(self.port, 0, "this one has no port");
        format!("127.0.0.1:{}", self.port)
    }

    pub fn command<T: FromRedisValue>(&self, args: &[&str]) -> T {
        let bytes: Vec<&[u8]> = args.iter().map(|a| a.as_bytes()).collect();
        self.query(&bytes)
            .unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }

    /// The same with any bytes.
    pub fn command_bytes<T: FromRedisValue>(&self, args: &[&[u8]]) -> T {
        self.query(args).unwrap_or_else(|e| panic!("{args:?}: {e}"))
    }

    fn query<T: FromRedisValue>(&self, args: &[&[u8]]) -> redis::RedisResult<T> {
        let mut control = self.control.lock().unwrap();
        let mut cmd = redis::Cmd::new();
        for arg in args {
            cmd.arg(*arg);
        }
        cmd.query(control.as_mut().expect("a running redis-server"))
    }

    /// Whether this build of the server can speak TLS.
    pub fn has_tls(&self) -> bool {
        !self
            .command::<Vec<String>>(&["CONFIG", "GET", "tls-port"])
            .is_empty()
    }

    /// PUBLISHes any bytes; says how many subscribers have got them.
    pub fn publish(&self, channel: &str, payload: impl AsRef<[u8]>) -> usize {
        self.query(&[b"PUBLISH", channel.as_bytes(), payload.as_ref()])
            .expect("to publish")
    }

    /// Publishes to `payments`, and the service must have heard it.
    pub fn send(&self, payload: impl AsRef<[u8]>) {
        assert_eq!(self.publish("payments", payload), 1, "nobody is subscribed");
    }

    /// Publishes to `payments` until somebody hears it, which is then the only copy.
    pub fn send_when_heard(&self, payload: impl AsRef<[u8]>) {
        until("a subscriber", || {
            (self.publish("payments", &payload) > 0).then_some(())
        });
    }

    /// Publishes all of it in one go; says how many messages were heard.
    pub fn send_all<P: AsRef<[u8]>>(&self, payloads: &[P]) -> usize {
        let mut pipe = redis::pipe();
        for payload in payloads {
            pipe.cmd("PUBLISH").arg("payments").arg(payload.as_ref());
        }
        let mut control = self.control.lock().unwrap();
        let heard: Vec<usize> = pipe
            .query(control.as_mut().expect("a running redis-server"))
            .expect("to publish");
        heard.iter().sum()
    }

    /// All dead letters, oldest first.
    pub fn dead(&self) -> Vec<Dead> {
        let Value::Array(entries) = self.command(&["XRANGE", DEAD, "-", "+"]) else {
            panic!("XRANGE gives an array");
        };
        entries.into_iter().map(Dead::from_entry).collect()
    }

    /// Waits until there are so many dead letters; more are a failure.
    pub fn wait_dead(&self, n: usize) -> Vec<Dead> {
        until(&format!("{n} dead letters"), || {
            let len: usize = self.command(&["XLEN", DEAD]);
            assert!(len <= n, "{len} dead letters, not {n}: {:#?}", self.dead());
            (len == n).then_some(())
        });
        self.dead()
    }
}

/// A message that outhook has handed to Redis for later.
#[derive(Debug, Clone)]
pub struct Kept {
    pub id: String,
    pub attempts: u64,
    /// Unix milliseconds; `None` for one that waits for no time.
    pub due: Option<u64>,
    pub message: String,
}

impl Kept {
    fn of(member: &str, due: Option<u64>) -> Kept {
        let (line, message) = member.split_once('\n').expect("a line, then the message");
        let words: Vec<&str> = line.split(' ').collect();
        Kept {
            id: words[2].to_owned(),
            attempts: words[0].parse().expect("attempts first"),
            due,
            message: message.to_owned(),
        }
    }
}

impl Redis {
    /// What waits: on the streams, then for a time, then for endpoints.
    pub fn kept(&self) -> Vec<Kept> {
        let entries =
            [MESSAGES, AGAIN].map(|stream| match self.command(&["XRANGE", stream, "-", "+"]) {
                Value::Array(entries) => entries,
                other => panic!("XRANGE gives an array: {other:?}"),
            });
        let entries = entries.into_iter().flatten();
        let on_stream = entries.map(Dead::from_entry).map(|e| Kept {
            id: e.get("id").map(|_| e.text("id")).unwrap_or_default(),
            attempts: e.get("attempts").map_or(0, |_| e.number("attempts")),
            due: None,
            message: e.text("message"),
        });
        let parked: Vec<(String, f64)> = self.command(&["ZRANGE", PARKED, "0", "-1", "WITHSCORES"]);
        let parked = parked
            .iter()
            .map(|(member, due)| Kept::of(member, Some(*due as u64)));
        let names: Vec<String> = self.command(&["ZRANGE", BACKLOGS, "0", "-1"]);
        let deferred = names.iter().flat_map(|name| self.backlog(name));
        on_stream.chain(parked).chain(deferred).collect()
    }

    /// What waits for the endpoint of this name, oldest first.
    pub fn backlog(&self, name: &str) -> Vec<Kept> {
        let key = format!("{{outhook}}:backlog:{name}");
        let members: Vec<String> = self.command(&["LRANGE", &key, "0", "-1"]);
        members
            .iter()
            .map(|member| Kept::of(member, None))
            .collect()
    }

    /// Messages in all backlogs together.
    pub fn deferred(&self) -> usize {
        let names: Vec<String> = self.command(&["ZRANGE", BACKLOGS, "0", "-1"]);
        let keys = names
            .iter()
            .map(|name| format!("{{outhook}}:backlog:{name}"));
        keys.map(|key| self.command::<usize>(&["LLEN", &key])).sum()
    }

    /// Waits until there are so many.
    pub fn wait_deferred(&self, n: usize) {
        until(&format!("{n} messages to be deferred"), || {
            (self.deferred() == n).then_some(())
        });
    }

    /// Waits until exactly so many messages are kept for later.
    pub fn wait_kept(&self, n: usize) -> Vec<Kept> {
        until(&format!("{n} messages kept"), || {
            let kept = self.kept();
            (kept.len() == n).then_some(kept)
        })
    }

    /// Until nothing is left on the streams, pending, parked or deferred.
    pub fn wait_settled(&self) {
        until("everything to be settled", || {
            let count = |command, key| self.command::<usize>(&[command, key]);
            let left = count("XLEN", MESSAGES) + count("XLEN", AGAIN);
            let waiting = count("ZCARD", PARKED) + count("ZCARD", BACKLOGS);
            (left + waiting == 0).then_some(())
        });
    }

    /// Adds a message to the stream. Answers the entry's id.
    pub fn add(&self, message: impl AsRef<str>) -> String {
        self.command(&["XADD", MESSAGES, "*", "message", message.as_ref()])
    }

    pub fn add_all<M: AsRef<str>>(&self, messages: &[M]) {
        let mut pipe = redis::pipe();
        for message in messages {
            let add = pipe.cmd("XADD").arg(MESSAGES).arg("*");
            add.arg("message").arg(message.as_ref()).ignore();
        }
        let mut control = self.control.lock().unwrap();
        pipe.query::<()>(control.as_mut().expect("a running redis-server"))
            .expect("to add");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn url_of(socket: &str, password: &Option<String>) -> String {
    match password {
        Some(p) => format!("unix://{socket}?pass={p}"),
        None => format!("unix://{socket}"),
    }
}

/// One entry of the dead stream.
pub struct Dead(Vec<(String, Vec<u8>)>);

impl Dead {
    fn from_entry(entry: Value) -> Dead {
        let Value::Array(mut entry) = entry else {
            panic!("an entry is an array: {entry:?}")
        };
        let Some(Value::Array(fields)) = entry.pop() else {
            panic!("an entry has fields")
        };
        let bytes = |v: &Value| match v {
            Value::BulkString(b) => b.clone(),
            other => panic!("a field is a string: {other:?}"),
        };
        let name = |v: &Value| String::from_utf8(bytes(v)).expect("a plain name");
        let pairs = fields
            .chunks(2)
            .map(|c| (name(&c[0]), bytes(&c[1])))
            .collect();
        Dead(pairs)
    }

    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let mut found = self.0.iter().filter(|(n, _)| n == name);
        let first = found.next()?;
        assert!(found.next().is_none(), "{name} stands twice in {self:?}");
        Some(&first.1)
    }

    pub fn text(&self, name: &str) -> String {
        let value = self
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:#?}"));
        String::from_utf8(value.to_vec()).unwrap_or_else(|_| panic!("{name} in {self:#?}"))
    }

    pub fn number(&self, name: &str) -> u64 {
        self.text(name)
            .parse()
            .unwrap_or_else(|_| panic!("{name} in {self:#?}"))
    }
}

impl std::fmt::Debug for Dead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |v: &Vec<u8>| String::from_utf8_lossy(&v[..v.len().min(300)]).into_owned();
        f.debug_map()
            .entries(self.0.iter().map(|(n, v)| (n, short(v))))
            .finish()
    }
}
