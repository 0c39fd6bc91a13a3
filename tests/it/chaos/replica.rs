//! Replicas and their lives: each start of a process is one [`Life`], with a name that its requests
//! bear, a listener of its own on the replica's path to Redis, and a record of what befell it.

use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::clock::{At, Span, now};
use super::path::{Link, Path};
use crate::support::DEADLINE;
use crate::support::service::{Outhook, Service};
use crate::support::sys::Signal;

pub const LEASE: Duration = Duration::from_secs(3);
pub const TIMEOUT: Duration = Duration::from_secs(1);
pub const DRAIN: Duration = Duration::from_secs(1);
pub const WORKERS: usize = 8;

const ARGS: [&str; 18] = [
    "--workers",
    "8",
    "--lease",
    "3s",
    "--timeout",
    "1s",
    "--backoff-base",
    "100ms",
    "--backoff-max",
    "1s",
    "--max-attempts",
    "1000",
    "--endpoint-backoff-base",
    "50ms",
    "--endpoint-backoff-max",
    "500ms",
    "--drain-timeout",
    "1s",
];

/// A drain may take its time, the grace for attempts that it has cut, and what a busy machine adds.
const LONGEST_DRAIN: Duration = Duration::from_secs(12);

/// How often waits for a processor are looked at.
pub const WATCH: Duration = Duration::from_millis(200);

/// What is known of one life.
#[derive(Default)]
pub struct LifeRecord {
    pub stops: Vec<Span>,
    pub killed: Option<At>,
    pub terminated: Option<At>,
    pub ended: Option<At>,
    pub log: Vec<String>,
    /// The longest that a thread waited for a processor, by when that was seen.
    pub waits: Vec<(At, Duration)>,
}

pub struct Life {
    pub name: String,
    pub replica: usize,
    pub pid: u32,
    pub spawned: At,
    pub links: Arc<Mutex<Vec<Link>>>,
    pub record: Mutex<LifeRecord>,
}

/// All lives of a run, as they began.
pub type Lives = Arc<Mutex<Vec<Arc<Life>>>>;

pub struct Replica {
    number: usize,
    count: usize,
    pub path: Arc<Path>,
    socket: String,
    folder: TempDir,
    lives: Lives,
    now: Option<(Service, Arc<Life>)>,
}

impl Replica {
    /// Not started yet.
    pub fn new(number: usize, socket: String, lives: &Lives) -> Replica {
        Replica {
            number,
            count: 0,
            path: Path::new(true),
            socket,
            folder: tempfile::tempdir().expect("a folder"),
            lives: lives.clone(),
            now: None,
        }
    }

    pub fn start(&mut self) {
        assert!(self.now.is_none(), "replica {} runs already", self.number);
        self.count += 1;
        let name = format!("r{}.{}", self.number, self.count);
        let links: Arc<Mutex<Vec<Link>>> = Arc::default();
        let (socket, all) = (self.socket.clone(), links.clone());
        let connect = move || Ok((UnixStream::connect(&socket)?, ()));
        let opened = move |link, ()| all.lock().unwrap().push(link);
        let address = self.path.listen(connect, opened).to_string();
        let file = self.folder.path().join(format!("{name}.toml"));
        let text = format!("[[endpoint]]\nhost = \"127.0.0.1\"\nuser_agent = \"{name}\"\n");
        fs::write(&file, text).expect("to write");
        let file = file.to_str().expect("a plain path");
        let mut own = vec!["serve", "--redis-address", &address, "--endpoints", file];
        // One has a name that outlives its process, and takes back what is its own.
        if self.number == 0 {
            own.extend(["--consumer", "steady"]);
        }
        let service = Outhook::new(&[&own[..], &ARGS].concat()).spawn();
        let life = Arc::new(Life {
            name,
            replica: self.number,
            pid: service.pid(),
            spawned: now(),
            links,
            record: Mutex::default(),
        });
        self.lives.lock().unwrap().push(life.clone());
        self.now = Some((service, life));
    }

    fn running(&mut self) -> (&mut Service, &Arc<Life>) {
        let (service, life) = self.now.as_mut().expect("a running replica");
        (service, life)
    }

    pub fn kill(&mut self) {
        let (service, life) = self.running();
        life.record.lock().unwrap().killed = Some(now());
        service.signal(Signal::KILL);
        service.wait_exit(DEADLINE);
        self.bury();
    }

    pub fn terminate(&mut self) {
        let (service, life) = self.running();
        life.record.lock().unwrap().terminated = Some(now());
        let (code, took) = service.terminate();
        // Who had no time to block the signal had no time for anything else either.
        let early = code == -15 && life.links.lock().unwrap().is_empty();
        assert!(
            code == 0 || early,
            "{}: exit code {code}: an entry of the stream is never lost",
            life.name
        );
        assert!(took < LONGEST_DRAIN, "{}: SIGTERM took {took:?}", life.name);
        self.bury();
    }

    pub fn stop(&mut self) {
        let (service, life) = self.running();
        let span = Span {
            from: now(),
            to: None,
        };
        life.record.lock().unwrap().stops.push(span);
        service.signal(Signal::STOP);
    }

    pub fn cont(&mut self) {
        let (service, life) = self.running();
        service.signal(Signal::CONT);
        let mut record = life.record.lock().unwrap();
        record.stops.last_mut().expect("a stop").to = Some(now());
    }

    /// Keeps what is known of the process that has ended.
    fn bury(&mut self) {
        let (service, life) = self.now.take().expect("a replica that ran");
        let mut record = life.record.lock().unwrap();
        record.ended = Some(now());
        record.log = service.log.all();
    }
}

/// Notes how long threads of running replicas have waited for a processor: whoever is late because
/// of that is not to blame. Where the system does not tell, nobody waits.
pub fn watch_waits(lives: &Lives, last: &mut std::collections::HashMap<(u32, String), u64>) {
    let lives: Vec<_> = lives.lock().unwrap().clone();
    for life in lives {
        if life.record.lock().unwrap().ended.is_some() {
            continue;
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", life.pid)) else {
            continue;
        };
        let mut longest = 0;
        for task in tasks.flatten() {
            let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
                continue;
            };
            let waited = text.split(' ').nth(1).and_then(|n| n.parse().ok());
            let waited: u64 = waited.unwrap_or_default();
            let task = task.file_name().to_string_lossy().into_owned();
            let before = last.insert((life.pid, task), waited);
            longest = longest.max(waited.saturating_sub(before.unwrap_or_default()));
        }
        let wait = (now(), Duration::from_nanos(longest));
        life.record.lock().unwrap().waits.push(wait);
    }
}
