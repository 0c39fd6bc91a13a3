//! What is known of the endpoints: by the replicas, which are asked, and by Redis.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use super::waiting::url;
use crate::cli::nearest::nearest;
use crate::cli::output::Stop;
use crate::delivery::endpoint_snapshot::{EndpointSnapshot, EndpointSnapshots};
use crate::delivery::hold::{Hold, covers};
use crate::message::endpoint::Endpoint;
use crate::store::Admin;

/// How long replicas may take to answer.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// The same where it is waited for that they have obeyed what was ordered before the question.
pub const APPLY_PATIENCE: Duration = Duration::from_secs(8);

/// Parked messages that are counted; a million of them would take a while.
const COUNTED: usize = 100_000;

/// Names that differ by more are no slip of the pen.
const NEAR: f64 = 0.85;

/// Messages that wait.
#[derive(Debug, Default, Clone, Copy)]
pub struct Waiting {
    pub count: u64,
    /// When the oldest was received, in Unix milliseconds.
    pub oldest: Option<u64>,
}

impl Waiting {
    pub fn add(&mut self, other: Waiting) {
        self.count += other.count;
        self.oldest = earlier(self.oldest, other.oldest);
    }
}

pub fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

/// See the module's header.
pub struct Known {
    pub reports: Vec<EndpointSnapshots>,
    /// How many replicas were asked.
    pub heard: usize,
    pub holds: HashMap<String, Hold>,
    pub backlogs: HashMap<String, Waiting>,
}

impl Known {
    /// Of the endpoints whose names begin so, or that are covered by it.
    pub fn ask(admin: &mut Admin, prefix: &str) -> Result<Known, Stop> {
        let known = Known::ask_for(admin, prefix, PATIENCE)?;
        known.print_missing(admin);
        Ok(known)
    }

    /// The same; who does not answer is not told of.
    pub fn ask_for(admin: &mut Admin, prefix: &str, patience: Duration) -> Result<Known, Stop> {
        let question = RandomState::new().hash_one(Instant::now());
        let (reports, heard) = admin.ask(prefix, question, patience)?;
        let is_meant = |name: &str| name.starts_with(prefix) || covers(name, prefix);
        let holds = admin.holds()?.into_iter();
        let holds = holds.map(|(key, hold)| (key.to_string(), hold));
        let backlogs = admin.backlogs()?.into_iter().filter(|b| b.count > 0);
        let backlogs = backlogs.map(|backlog| {
            let waiting = Waiting {
                count: backlog.count,
                oldest: Some(backlog.oldest),
            };
            (backlog.name, waiting)
        });
        Ok(Known {
            reports,
            heard,
            holds: holds.filter(|(key, _)| is_meant(key)).collect(),
            backlogs: backlogs.filter(|(name, _)| is_meant(name)).collect(),
        })
    }

    /// Whether all replicas have answered.
    pub fn is_complete(&self) -> bool {
        self.reports.len() >= self.heard
    }

    /// Tells who has not answered, and what is left out.
    pub fn print_missing(&self, admin: &mut Admin) {
        for EndpointSnapshots { replica, more, .. } in self.reports.iter().filter(|r| r.more > 0) {
            eprintln!("outhook: {replica}: {more} quiet endpoints are left out; see --url");
        }
        let (heard, silent) = (self.heard, self.heard.saturating_sub(self.reports.len()));
        if heard == 0 {
            eprintln!("outhook: no replica is running");
        } else if silent > 0 {
            let mut names = admin.consumers().unwrap_or_default();
            names.retain(|name| self.reports.iter().all(|report| report.replica != *name));
            names.truncate(silent);
            let names = match names.is_empty() {
                true => String::new(),
                false => format!(": {}", names.join(", ")),
            };
            eprintln!("outhook: {silent} of {heard} replicas did not answer in time{names}");
        }
    }

    /// Each endpoint as each replica sees it.
    pub fn lanes(&self) -> impl Iterator<Item = (&str, &EndpointSnapshot)> {
        let reports = self.reports.iter();
        reports.flat_map(|report| report.lanes.iter().map(|lane| (&*report.replica, lane)))
    }

    /// An endpoint as the replica sees it that has the most trouble with it.
    pub fn worst(&self, name: &str) -> Option<&EndpointSnapshot> {
        let lanes = self.lanes().map(|(_, lane)| lane);
        lanes
            .filter(|lane| lane.endpoint == name)
            .max_by_key(|lane| badness(&lane.state))
    }

    /// All names, in order.
    pub fn names(&self) -> BTreeSet<&str> {
        let lanes = self.lanes().map(|(_, lane)| &*lane.endpoint);
        let others = self.holds.keys().chain(self.backlogs.keys());
        lanes.chain(others.map(|name| &**name)).collect()
    }

    /// The other name that is nearest to this one, if one is near.
    pub fn nearest(&self, named: &str) -> Option<&str> {
        let names = self.names().into_iter();
        nearest(named, names.filter(|name| *name != named), NEAR)
    }
}

/// How much is wrong with an endpoint in this state.
pub fn badness(state: &str) -> u8 {
    match state {
        "failing" => 3,
        "probing" => 2,
        "disabled" => 1,
        _ => 0,
    }
}

/// The last error of an endpoint, without the word that says that it is one.
pub fn short_error(lane: &EndpointSnapshot) -> &str {
    let error = lane.last_error.as_deref().unwrap_or_default();
    error.strip_prefix("error=").unwrap_or(error)
}

/// Messages that wait for a time, by URL.
pub struct Parked(HashMap<String, Waiting>);

impl Parked {
    pub fn count(admin: &mut Admin, prefix: &str) -> Result<Parked, Stop> {
        let mut counts: HashMap<String, Waiting> = HashMap::new();
        let mut seen = 0;
        loop {
            let page = admin.parked(seen)?;
            if page.is_empty() {
                break;
            }
            seen += page.len();
            for message in &page {
                let Some(url) = url(&message.fields) else {
                    continue;
                };
                // As lanes are named.
                let known = Endpoint::parse(&url).map_or(url, |e| e.url.to_string());
                if known.starts_with(prefix) {
                    let oldest = Some(message.received).filter(|ms| *ms > 0);
                    counts
                        .entry(known)
                        .or_default()
                        .add(Waiting { count: 1, oldest });
                }
            }
            if seen >= COUNTED {
                eprintln!("outhook: only the first {COUNTED} parked messages are counted");
                break;
            }
        }
        Ok(Parked(counts))
    }

    /// Those for an endpoint: of an origin, or of URLs that begin so.
    pub fn below(&self, endpoint: &str) -> Waiting {
        let path = endpoint.splitn(4, '/').nth(3).is_some();
        let is_meant = |url: &str| match path {
            true => url.starts_with(endpoint),
            false => covers(endpoint, url),
        };
        let mut all = Waiting::default();
        let those = self.0.iter().filter(|(url, _)| is_meant(url));
        those.for_each(|(_, waiting)| all.add(*waiting));
        all
    }
}
