//! `outhook endpoints`: what the replicas know of the endpoints, and holding some of them.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::parked::{flush_those, url};
use super::print::{Out, Stop, ended};
use crate::cli::{EndpointAct, EndpointsArgs};
use crate::delivery::hold::{self, Hold};
use crate::delivery::report::{EndpointSnapshots, LaneReport};
use crate::message::endpoint::Endpoint;
use crate::message::timestamp;
use crate::store::{Admin, Fields};

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The same where it is waited for that they have obeyed.
const OBEY_PATIENCE: Duration = Duration::from_secs(8);

/// Parked messages that are counted; a million of them would take a while.
const COUNTED: usize = 100_000;

const COLUMNS: [&str; 11] = [
    "endpoint",
    "state",
    "in_flight",
    "waiting",
    "backlog",
    "parked",
    "success",
    "p50",
    "p99",
    "last_error",
    "replica",
];

/// The error is a bad configuration, in one line.
pub fn run(args: &EndpointsArgs) -> Result<ExitCode, String> {
    let wrong = |url: &str, e: String| format!("{url}: {e}; it must be a URL, or scheme://host");
    let key = |url: &str| hold::key(url).map_err(|e| wrong(url, e));
    let common = match &args.act {
        EndpointAct::List { common, .. } | EndpointAct::Show { common, .. } => common,
        EndpointAct::Pause { common, .. } | EndpointAct::Resume { common, .. } => common,
    };
    let named = match &args.act {
        EndpointAct::List { url, .. } => url.as_deref().unwrap_or_default().into(),
        EndpointAct::Show { url, .. } | EndpointAct::Pause { url, .. } => key(url)?,
        EndpointAct::Resume { url, .. } => key(url)?,
    };
    let (redis, keys) = (common.redis.open()?, common.redis.keys()?);
    let mut out = Out::new(common.json);
    let work = || -> Result<bool, Stop> {
        let mut admin = Admin::open(redis, keys)?;
        let good = match &args.act {
            EndpointAct::List { .. } => {
                let rows = rows(&mut admin, &named)?;
                match common.json {
                    true => rows.iter().try_for_each(|row| out.object(row.object()))?,
                    false => {
                        let rows: Vec<Fields> = rows.iter().map(Row::fields).collect();
                        out.table(&rows, &COLUMNS)?;
                    }
                }
                true
            }
            EndpointAct::Show { .. } => {
                let rows = rows(&mut admin, &named)?;
                rows.iter().try_for_each(|row| match common.json {
                    true => out.object(row.object()),
                    false => out.block(&row.fields()),
                })?;
                if rows.is_empty() {
                    eprintln!(
                        "outhook: {named}: no replica knows it; an endpoint that was quiet for a minute \
                         is forgotten"
                    );
                }
                !rows.is_empty()
            }
            EndpointAct::Pause { length, .. } => pause(&mut admin, &mut out, &named, *length)?,
            EndpointAct::Resume { .. } => resume(&mut admin, &mut out, &named)?,
        };
        out.flush()?;
        Ok(good)
    };
    Ok(ended(work()))
}

fn pause(
    admin: &mut Admin,
    out: &mut Out,
    named: &str,
    length: Option<Duration>,
) -> Result<bool, Stop> {
    let held = admin.holds()?.iter().any(|(key, _)| **key == *named);
    admin.pause(named, length)?;
    // Whoever answers has obeyed. The hold is kept for those that do not.
    let have_all_obeyed = wait_until_obeyed(admin, named)?;
    out.line(&[field("paused", named)], &["paused"])?;
    if named.ends_with('/') && named.matches('/').count() == 3 {
        eprintln!(
            "outhook: this URL alone is paused; leave out the / at the end to pause the whole host"
        );
    }
    if held {
        // What is parked may be so for longer than the new pause.
        flush(admin, named)?;
    }
    Ok(have_all_obeyed)
}

fn resume(admin: &mut Admin, out: &mut Out, named: &str) -> Result<bool, Stop> {
    let waiting = backlogs(admin, named)?;
    let waiting = waiting.iter().filter(|(name, _)| hold::covers(named, name));
    let waiting: u64 = waiting.map(|(_, count)| count).sum();
    let lifted = admin.resume(named)?;
    // Those that have not obeyed would park it as before.
    wait_until_obeyed(admin, named)?;
    let flushed = flush(admin, named)?;
    for (key, hold) in admin.holds()? {
        if hold::covers(&key, named) {
            let cause = hold.cause;
            eprintln!("outhook: {key} is still {cause}, and so is {named}");
        }
    }
    let told = [
        field("resumed", named),
        field("lifted", lifted.to_string()),
        field("flushed", flushed.to_string()),
        field("backlog", waiting.to_string()),
    ];
    out.block(&told)?;
    Ok(true)
}

/// Waits until all replicas have obeyed what was ordered: a question that they answer comes behind
/// it. False when one does not answer in time.
fn wait_until_obeyed(admin: &mut Admin, key: &str) -> Result<bool, Stop> {
    let (_, are_all) = reports(admin, key, OBEY_PATIENCE)?;
    Ok(are_all)
}

/// One endpoint as one replica sees it, or one that is held and that no replica knows.
struct Row {
    endpoint: String,
    replica: Option<String>,
    lane: Option<LaneReport>,
    hold: Option<Hold>,
    /// Messages that wait for it in Redis, and for a time.
    backlog: u64,
    parked: u64,
}

/// What all replicas know, and whether all have answered; those that have not are named.
fn reports(
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

fn rows(admin: &mut Admin, prefix: &str) -> Result<Vec<Row>, Stop> {
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
fn backlogs(admin: &mut Admin, prefix: &str) -> Result<HashMap<String, u64>, Stop> {
    let all = admin.backlogs()?.into_iter();
    let all = all.filter(|(name, count)| {
        *count > 0 && (name.starts_with(prefix) || hold::covers(name, prefix))
    });
    Ok(all.collect())
}

impl Row {
    /// For people.
    fn fields(&self) -> Fields {
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
    fn object(&self) -> Map<String, Value> {
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

fn field(name: &str, value: impl Into<String>) -> (String, Vec<u8>) {
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

/// Makes due what is parked for it. Answers how many.
fn flush(admin: &mut Admin, key: &str) -> Result<u64, Stop> {
    flush_those(admin, |message| {
        let to = url(&message.fields).and_then(|url| Endpoint::parse(&url).ok());
        to.is_some_and(|to| hold::covers(key, &to.url))
    })
}
