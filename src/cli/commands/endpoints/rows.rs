//! What `outhook endpoints` lists: each endpoint, as the replicas see it and with what Redis holds
//! for it, those with the most trouble first.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::cli::output::Stop;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::times::{ago, coarse, latency};
use crate::cli::state::endpoints::{Known, Parked, Waiting, badness, earlier, short_error};
use crate::delivery::endpoint_snapshot::EndpointSnapshot;
use crate::delivery::hold::Hold;
use crate::store::{Admin, Fields};

/// An endpoint that has answered with nothing but failures for so long is worth a word.
const WORTH_A_WORD: Duration = Duration::from_secs(60);

/// With fewer deliveries among its attempts it is in trouble.
const GOOD: f64 = 0.5;

pub const COLUMNS: [Column; 11] = [
    Column::cut("endpoint", 20),
    Column::cut("state", 12),
    Column::number("waiting"),
    Column::number("oldest"),
    Column::number("backlog").extra(),
    Column::number("parked").extra(),
    Column::number("in_flight").extra(),
    Column::number("success"),
    Column::number("p50").extra(),
    Column::number("p99").extra(),
    Column::cut("last_error", 12),
];

/// One endpoint. It may be held or have a backlog without any replica that knows it.
pub struct Row {
    endpoint: String,
    /// By the names of the replicas.
    lanes: Vec<(String, EndpointSnapshot)>,
    hold: Option<Hold>,
    backlog: Waiting,
    parked: Waiting,
    /// Unix milliseconds.
    now: u64,
}

/// Those whose names begin so, in order of trouble. `now`: Unix milliseconds.
pub fn rows(admin: &mut Admin, prefix: &str, now: u64) -> Result<Vec<Row>, Stop> {
    let known = Known::ask(admin, prefix)?;
    let parked = Parked::count(admin, prefix)?;
    let row = |name: &str| Row {
        endpoint: name.to_owned(),
        lanes: known
            .lanes()
            .filter(|(_, lane)| lane.endpoint == name)
            .map(|(replica, lane)| (replica.to_owned(), lane.clone()))
            .collect(),
        hold: known.holds.get(name).copied(),
        backlog: known.backlogs.get(name).copied().unwrap_or_default(),
        parked: parked.below(name),
        now,
    };
    let mut rows: Vec<Row> = known.names().into_iter().map(row).collect();
    rows.sort_by_cached_key(|row| {
        let trouble = row.trouble();
        (Reverse(trouble), row.endpoint.clone())
    });
    Ok(rows)
}

impl Row {
    /// The most comes first: what is in trouble, and of that, where most messages wait.
    fn trouble(&self) -> (bool, u64, u8) {
        let state = self.worst().map_or(0, |lane| badness(&lane.state));
        let is_poor = |lane: &EndpointSnapshot| lane.success.is_some_and(|success| success < GOOD);
        let in_redis = self.backlog.count + self.parked.count;
        let is_in_trouble = self.hold.is_some()
            || state > 0
            || in_redis > 0
            || self.lanes.iter().any(|(_, lane)| is_poor(lane));
        (is_in_trouble, self.waiting().count, state)
    }

    fn worst(&self) -> Option<&EndpointSnapshot> {
        let lanes = self.lanes.iter().map(|(_, lane)| lane);
        lanes.max_by_key(|lane| badness(&lane.state))
    }

    /// All that waits for it, in Redis and in the memory of replicas.
    fn waiting(&self) -> Waiting {
        let mut all = self.backlog;
        all.add(self.parked);
        for (_, lane) in &self.lanes {
            all.add(Waiting {
                count: lane.queued as u64,
                oldest: lane.oldest_ms,
            });
        }
        all
    }

    fn failing_since(&self) -> Option<u64> {
        let mut since = self.lanes.iter().map(|(_, lane)| lane.failing_since_ms);
        since
            .try_fold(u64::MAX, |all, one| Some(all.min(one?)))
            .filter(|ms| *ms < u64::MAX)
    }

    /// In a word or two.
    fn state(&self) -> Cell {
        if let Some(hold) = self.hold {
            let left = hold.left(Instant::now());
            let left = left.map_or(String::new(), |left| format!(", {} left", coarse(left)));
            return Cell::Warning(format!("{}{left}", hold.cause));
        }
        let Some(worst) = self.worst() else {
            return Cell::Nothing;
        };
        let age = |ms: u64| Duration::from_millis(self.now.saturating_sub(ms));
        let since = worst.failing_since_ms.or(self.failing_since()).map(age);
        let length = since.map_or(String::new(), |since| format!(" {}", coarse(since)));
        let all = self.lanes.len();
        let same = self
            .lanes
            .iter()
            .filter(|(_, lane)| lane.state == worst.state);
        let part = match same.count() {
            n if n == all || worst.state == "healthy" => String::new(),
            n => format!(" ({n} of {all})"),
        };
        match (&*worst.state, since) {
            ("healthy", Some(since)) if since >= WORTH_A_WORD || self.success() == Some(0.0) => {
                Cell::Bad(format!("no 2xx{length}"))
            }
            ("healthy", _) => Cell::Text("healthy".into()),
            ("disabled", _) => Cell::Warning(format!("disabled{part}")),
            (state, _) => Cell::Bad(format!("{state}{length}{part}")),
        }
    }

    /// The least of what replicas see.
    fn success(&self) -> Option<f64> {
        let shares = self.lanes.iter().filter_map(|(_, lane)| lane.success);
        shares.min_by(f64::total_cmp)
    }

    pub fn cells(&self) -> Vec<Cell> {
        let waiting = self.waiting();
        let age = |ms: u64| Cell::Length(self.now.saturating_sub(ms));
        let longest = |of: fn(&EndpointSnapshot) -> Option<f64>| {
            let times = self.lanes.iter().filter_map(|(_, lane)| of(lane));
            let longest = times.max_by(f64::total_cmp);
            longest.map_or(Cell::Nothing, |ms| Cell::Text(milliseconds(ms)))
        };
        let in_flight = self.lanes.iter().map(|(_, lane)| lane.in_flight as u64);
        let errors = self.lanes.iter().map(|(_, lane)| lane);
        let last = errors
            .filter(|l| l.last_error.is_some())
            .max_by_key(|l| l.last_error_ms);
        let last = last.map(|lane| {
            let error = short_error(lane);
            let at = lane.last_error_ms.unwrap_or_default();
            Cell::Text(format!("{}: {error}", ago(at, self.now)))
        });
        vec![
            Cell::Text(self.endpoint.clone()),
            self.state(),
            Cell::Count(waiting.count),
            waiting.oldest.map_or(Cell::Nothing, age),
            Cell::Count(self.backlog.count),
            Cell::Count(self.parked.count),
            Cell::Count(in_flight.sum()),
            self.success()
                .map_or(Cell::Nothing, |s| Cell::Text(percent(s))),
            longest(|lane| lane.p50_ms),
            longest(|lane| lane.p99_ms),
            last.unwrap_or(Cell::Nothing),
        ]
    }

    /// For people who want to know all: of each replica.
    pub fn blocks(&self) -> Vec<Fields> {
        let waiting = self.waiting();
        let text = |name: &str, value: String| (name.to_owned(), value.into_bytes());
        let number = |name: &str, value: Option<u64>| {
            let value = value.map_or(String::new(), |n| n.to_string());
            (name.to_owned(), value.into_bytes())
        };
        let state = match self.state() {
            Cell::Text(state) | Cell::Bad(state) | Cell::Warning(state) => state,
            _ => String::new(),
        };
        let head = vec![
            text("endpoint", self.endpoint.clone()),
            text("state", state),
            number("waiting", Some(waiting.count)),
            number("in backlog", Some(self.backlog.count)),
            number("in parked", Some(self.parked.count)),
            number("oldest_ms", waiting.oldest),
        ];
        let of_lane = |(replica, lane): &(String, EndpointSnapshot)| {
            let time = |ms: Option<f64>| ms.map(milliseconds).unwrap_or_default();
            let mut fields = head.clone();
            let probe = lane.probe_in_ms;
            fields.extend([
                text("replica", replica.clone()),
                text("sees it", lane.state.clone()),
                number("probe_in_ms", probe),
                number("failing_since_ms", lane.failing_since_ms),
                number("in_flight", Some(lane.in_flight as u64)),
                number("window", Some(lane.window as u64)),
                number("queued", Some(lane.queued as u64)),
                text("success", lane.success.map(percent).unwrap_or_default()),
                text("p50", time(lane.p50_ms)),
                text("p99", time(lane.p99_ms)),
                number("last_error_at_ms", lane.last_error_ms),
                text("last_error", lane.last_error.clone().unwrap_or_default()),
            ]);
            fields
        };
        match self.lanes.is_empty() {
            true => vec![head],
            false => self.lanes.iter().map(of_lane).collect(),
        }
    }

    /// For programs, of each replica: numbers are numbers, times are milliseconds.
    pub fn objects(&self) -> Vec<Map<String, Value>> {
        let object = |lane: Option<&(String, EndpointSnapshot)>| {
            let known = lane.map(|(_, lane)| serde_json::to_value(lane));
            let mut object = match known {
                Some(Ok(Value::Object(object))) => object,
                _ => Map::new(),
            };
            let queued = lane.and_then(|(_, lane)| lane.oldest_ms);
            let in_redis = earlier(self.backlog.oldest, self.parked.oldest);
            let left = self.hold.and_then(|hold| hold.left(Instant::now()));
            let left = left.map(|left| left.as_millis() as u64);
            let mut add = |name: &str, value: Value| object.insert(name.into(), value);
            add("endpoint", self.endpoint.as_str().into());
            add("replica", lane.map(|(replica, _)| &**replica).into());
            add("backlog", self.backlog.count.into());
            add("parked", self.parked.count.into());
            add("oldest_ms", earlier(queued, in_redis).into());
            add("held", self.hold.map(|hold| hold.cause.to_string()).into());
            add("held_ms", left.into());
            object
        };
        match self.lanes.is_empty() {
            true => vec![object(None)],
            false => self.lanes.iter().map(|lane| object(Some(lane))).collect(),
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn milliseconds(ms: f64) -> String {
    latency(Duration::from_secs_f64(ms / 1e3))
}
