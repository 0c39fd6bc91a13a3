//! What `outhook endpoints` lists: each endpoint as each replica sees it, with what Redis holds for it.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cli::commands::parked::url;
use crate::cli::output::Stop;
use crate::delivery::endpoint_snapshot::{EndpointSnapshot, EndpointSnapshots};
use crate::delivery::hold::{self, Hold};
use crate::message::endpoint::Endpoint;
use crate::message::timestamp;
use crate::store::{Admin, Fields};

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Parked messages that are counted; a million of them would take a while.
const COUNTED: usize = 100_000;

/// One endpoint as one replica sees it, or one that is held and that no replica knows.
pub struct Row {
    endpoint: String,
    replica: Option<String>,
    lane: Option<EndpointSnapshot>,
    hold: Option<Hold>,
    /// Messages that wait for it in Redis, and for a time.
    backlog: u64,
    parked: u64,
}

/// What all replicas know, and whether all have answered; those that have not are named.
pub fn reports(
    admin: &mut Admin,
    prefix: &str,
    patience: Duration,
) -> Result<(Vec<EndpointSnapshots>, bool), Stop> {
    let question = RandomState::new().hash_one(Instant::now());
    let (reports, heard) = admin.ask(prefix, question, patience)?;
    let silent = heard.saturating_sub(reports.len());
    if heard == 0 {
        eprintln!("outhook: no replica is running");
    } else if silent > 0 {
        let mut names = admin.consumers().unwrap_or_default();
        names.retain(|name| reports.iter().all(|report| report.replica != *name));
        names.truncate(silent);
        let names = match names.is_empty() {
            true => String::new(),
            false => format!(": {}", names.join(", ")),
        };
        eprintln!("outhook: {silent} of {heard} replicas did not answer in time{names}");
    }
    Ok((reports, silent == 0))
}

pub fn rows(admin: &mut Admin, prefix: &str) -> Result<Vec<Row>, Stop> {
    let (reports, _) = reports(admin, prefix, PATIENCE)?;
    for EndpointSnapshots { replica, more, .. } in reports.iter().filter(|r| r.more > 0) {
        eprintln!("outhook: {replica}: {more} quiet endpoints are left out; see --url");
    }
    let holds = admin.holds()?.into_iter();
    let holds: HashMap<String, Hold> = holds
        .filter(|(key, _)| key.starts_with(prefix) || hold::covers(key, prefix))
        .map(|(key, hold)| (key.to_string(), hold))
        .collect();
    let parked = Counted::of(admin, prefix)?;
    let backlogs = backlogs(admin, prefix)?;
    let mut rows = Vec::new();
    for EndpointSnapshots { replica, lanes, .. } in reports {
        for lane in lanes {
            rows.push(Row {
                endpoint: lane.endpoint.clone(),
                replica: Some(replica.clone()),
                hold: holds.get(&lane.endpoint).copied(),
                backlog: backlogs.get(&lane.endpoint).copied().unwrap_or_default(),
                parked: parked.below(&lane.endpoint),
                lane: Some(lane),
            });
        }
    }
    let is_new = |key: &String| !rows.iter().any(|row| row.endpoint == *key);
    let names: BTreeSet<&String> = holds.keys().chain(backlogs.keys()).collect();
    let unknown = names
        .into_iter()
        .filter(|name| is_new(name))
        .map(|name| Row {
            endpoint: name.clone(),
            replica: None,
            lane: None,
            hold: holds.get(name).copied(),
            backlog: backlogs.get(name).copied().unwrap_or_default(),
            parked: parked.below(name),
        });
    let unknown: Vec<Row> = unknown.collect();
    rows.extend(unknown);
    Ok(rows)
}

/// Messages that wait for endpoints whose names begin so, or that are covered by it.
pub fn backlogs(admin: &mut Admin, prefix: &str) -> Result<HashMap<String, u64>, Stop> {
    let all = admin.backlogs()?.into_iter();
    let all = all.filter(|(name, count)| {
        *count > 0 && (name.starts_with(prefix) || hold::covers(name, prefix))
    });
    Ok(all.collect())
}

impl Row {
    /// For people.
    pub fn fields(&self) -> Fields {
        let mut fields = vec![field("endpoint", self.endpoint.as_str())];
        let lane = self.lane.as_ref();
        let state = match (&self.hold, lane.and_then(|lane| lane.probe_in_ms)) {
            (Some(hold), _) => match hold.left(Instant::now()) {
                Some(left) => format!("{} {}", hold.cause, short(left)),
                None => hold.cause.to_string(),
            },
            (None, Some(ms)) => format!("failing {}", short(Duration::from_millis(ms))),
            (None, None) => lane.map(|lane| lane.state.clone()).unwrap_or_default(),
        };
        fields.push(field("state", state));
        fields.push(field("backlog", self.backlog.to_string()));
        fields.push(field("parked", self.parked.to_string()));
        if let Some(lane) = lane {
            let time = |ms: Option<f64>| ms.map(|ms| short(Duration::from_secs_f64(ms / 1e3)));
            let success = lane.success.map(|s| format!("{:.1}%", s * 100.0));
            let at = lane.last_error_ms.map(timestamp::format_rfc3339);
            fields.push(field("in_flight", lane.in_flight.to_string()));
            fields.push(field("window", lane.window.to_string()));
            fields.push(field("waiting", lane.queued.to_string()));
            fields.push(field("success", success.unwrap_or_default()));
            fields.push(field("p50", time(lane.p50_ms).unwrap_or_default()));
            fields.push(field("p99", time(lane.p99_ms).unwrap_or_default()));
            fields.push(field(
                "last_error",
                lane.last_error.clone().unwrap_or_default(),
            ));
            fields.push(field("last_error_at", at.unwrap_or_default()));
        }
        fields.push(field("replica", self.replica.clone().unwrap_or_default()));
        fields
    }

    /// For programs: numbers are numbers, times are milliseconds.
    pub fn object(&self) -> Map<String, Value> {
        let lane = self.lane.as_ref().map(serde_json::to_value);
        let mut object = match lane {
            Some(Ok(Value::Object(object))) => object,
            _ => Map::new(),
        };
        object.insert("endpoint".into(), self.endpoint.as_str().into());
        object.insert("replica".into(), self.replica.as_deref().into());
        object.insert("backlog".into(), self.backlog.into());
        object.insert("parked".into(), self.parked.into());
        let held = self.hold.map(|hold| hold.cause.to_string());
        object.insert("held".into(), held.into());
        let left = self.hold.and_then(|hold| hold.left(Instant::now()));
        let left = left.map(|left| left.as_millis() as u64);
        object.insert("held_ms".into(), left.into());
        object
    }
}

/// Nobody wants nanoseconds here.
fn short(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match time.as_secs() {
        0 if ms < 10.0 => format!("{ms:.1}ms"),
        0 => format!("{ms:.0}ms"),
        1..60 => format!("{:.1}s", ms / 1000.0),
        s => {
            let text = humantime::format_duration(Duration::from_secs(s)).to_string();
            text.split(' ').take(2).collect()
        }
    }
}

pub fn field(name: &str, value: impl Into<String>) -> (String, Vec<u8>) {
    (name.into(), value.into().into_bytes())
}

/// Parked messages, by URL.
struct Counted(HashMap<String, u64>);

impl Counted {
    fn of(admin: &mut Admin, prefix: &str) -> Result<Counted, Stop> {
        let mut counts = HashMap::new();
        let mut seen = 0;
        loop {
            let page = admin.parked(seen)?;
            if page.is_empty() {
                break;
            }
            seen += page.len();
            for url in page.iter().filter_map(|m| url(&m.fields)) {
                // As lanes are named.
                let known = Endpoint::parse(&url).map_or(url, |e| e.url.to_string());
                if known.starts_with(prefix) {
                    *counts.entry(known).or_default() += 1;
                }
            }
            if seen >= COUNTED {
                eprintln!("outhook: only the first {COUNTED} parked messages are counted");
                break;
            }
        }
        Ok(Counted(counts))
    }

    /// Those for a lane: of an origin, or of URLs that begin so.
    fn below(&self, lane: &str) -> u64 {
        let path = lane.splitn(4, '/').nth(3).is_some();
        let meant = |url: &str| match path {
            true => url.starts_with(lane),
            false => hold::covers(lane, url),
        };
        let counts = self.0.iter().filter(|(url, _)| meant(url));
        counts.map(|(_, count)| count).sum()
    }
}
