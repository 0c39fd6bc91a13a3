//! `outhook serve`: Redis Pub/Sub and the stream in, HTTP out.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::BuildHasher;
use std::process::ExitCode;
use std::sync::Once;
use std::time::Duration;

use clap::Args;
use crossbeam_channel::{Receiver, unbounded};
use log::info;

use crate::cli::args::channels::ChannelArgs;
use crate::cli::args::delivery::DeliveryArgs;
use crate::cli::args::redis::RedisArgs;
use crate::cli::args::values::{budget, keep, lease, nonempty, number};
use crate::cli::exit::exit_code;
use crate::cli::settings::Settings;
use crate::cli::startup::{Start, descriptors};
use crate::delivery::config::{Budget, DeliveryConfig, attempts_per_second};
use crate::delivery::parked::Want;
use crate::scheduler::Parking;
use crate::service::channel::wake::{WaitingParker, WakingSender, waker};
use crate::service::control::Commands;
use crate::service::drain::Drain;
use crate::service::intake::Intake;
use crate::service::intake::consumer::{self, Consumer};
use crate::service::intake::dealer::Dealer;
use crate::service::intake::hands::Hands;
use crate::service::intake::heartbeat::Heartbeat;
use crate::service::intake::recaller::Recaller;
use crate::service::intake::subscriber::Subscriber;
use crate::service::intake::upkeep::Upkeep;
use crate::service::lender::Lender;
use crate::service::outage::OutageTracker;
use crate::service::pipeline::{Control, Persistence, Pipeline, Source, SourceKind};
use crate::service::pulse::Pulse;
use crate::store::{Appointment, Keys, LedgerConfig, Part, Redis, RedisLedger, forget_consumer};
use crate::trust::keyring::Keyring;

#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub redis: RedisArgs,
    #[command(flatten)]
    pub channels: ChannelArgs,
    /// Consumer name in the group. A replica with a fixed name takes back its own entries at its
    /// start. Two running replicas must not have the same name [default: a new name at each start]
    #[arg(long, env = "OUTHOOK_CONSUMER", value_name = "NAME", value_parser = nonempty)]
    pub consumer: Option<String>,
    /// Time after which an entry that no replica has renewed is taken over
    /// [default: 60s, or three times --timeout if that is longer]
    #[arg(long, env = "OUTHOOK_LEASE", value_name = "DURATION", value_parser = lease)]
    lease: Option<Duration>,
    /// Append Pub/Sub messages to the stream, once for each webhookId and URL, and deliver them from
    /// the stream
    #[arg(long, env = "OUTHOOK_BRIDGE")]
    pub bridge: bool,
    /// How long --bridge remembers a webhookId and URL
    #[arg(long, env = "OUTHOOK_BRIDGE_DEDUP", value_name = "DURATION", default_value = "10m", value_parser = keep)]
    pub bridge_dedup: Duration,
    /// Drop copies of a message in the stream (same webhookId, URL and bytes) for this long after the
    /// first one. Without this option copies are delivered
    #[arg(long, env = "OUTHOOK_DEDUP", value_name = "DURATION", value_parser = keep)]
    pub dedup: Option<Duration>,
    /// Keep the result of each message for this long (see outhook status)
    #[arg(long, env = "OUTHOOK_STATUS_TTL", value_name = "DURATION", value_parser = keep)]
    pub status_ttl: Option<Duration>,
    /// Keep the results of about this many recent attempts in the stream {PREFIX}:attempt-log
    #[arg(long, env = "OUTHOOK_ATTEMPT_LOG", value_name = "N", value_parser = number::<u64>(1, 1_000_000_000))]
    pub attempt_log: Option<u64>,
    /// Delete dead letters that are older than this [default: keep them]
    #[arg(long, env = "OUTHOOK_DEAD_MAX_AGE", value_name = "DURATION", value_parser = keep)]
    pub dead_max_age: Option<Duration>,
    /// Delete the oldest dead letters when there are more than this many [default: keep them]
    #[arg(long, env = "OUTHOOK_DEAD_MAX", value_name = "N", value_parser = number::<u64>(0, 1_000_000_000))]
    pub dead_max: Option<u64>,
    /// Limit of Redis's memory above which no more messages are kept for failing endpoints: bytes
    /// (512mb), a share of Redis's maxmemory (80%), or none
    #[arg(long, env = "OUTHOOK_REDIS_BUDGET", value_name = "SIZE", default_value = "80%", value_parser = budget)]
    pub redis_budget: Budget,
    /// How long nothing is sent to a URL that answered 410 (Gone); outhook endpoints resume ends
    /// this earlier
    #[arg(long, env = "OUTHOOK_GONE_TTL", value_name = "DURATION", default_value = "1d", value_parser = keep)]
    pub gone_ttl: Duration,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
}

/// The lease where none is set.
const LEASE: Duration = Duration::from_secs(60);

impl ServeArgs {
    /// How long an entry is ours without being renewed. An attempt begins up to half a lease
    /// after the last renewal, and must end within it. The error is one line.
    pub fn lease(&self) -> Result<Duration, String> {
        let timeout = self.delivery.timeout;
        match self.lease {
            Some(lease) if timeout > lease / 3 => Err(format!(
                "--timeout {}: it must be at most a third of --lease ({})",
                humantime::format_duration(timeout),
                humantime::format_duration(lease)
            )),
            Some(lease) => Ok(lease),
            None => Ok(LEASE.max(timeout * 3)),
        }
    }
}

/// How long saying goodbye to Redis may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What endpoints commonly take, for the line that says what the workers allow.
const USUAL_ANSWER: Duration = Duration::from_millis(200);

/// The error is a bad configuration, in one line.
pub fn run(args: &ServeArgs, settings: &Settings) -> Result<ExitCode, String> {
    let lease = args.lease()?;
    let (redis, keys) = (args.redis.open()?, args.redis.keys()?);
    let config = args.delivery.config()?;
    let outage = OutageTracker::new("ledger");
    let places = Some((&redis, &keys));
    let of_secrets = outage.of("secrets");
    let start = Start::new(
        settings,
        &args.delivery,
        &config,
        lease / 3,
        places,
        of_secrets,
    )?;
    let Start {
        commands, drain, ..
    } = start;
    log_start(&config, &redis);
    descriptors::prepare(Some(config.workers));
    let (waker, parker) = waker();
    // One question at a time for each endpoint: that bounds it.
    let (ask, wants) = unbounded();
    let link = Link {
        name: args.consumer.clone().unwrap_or_else(fresh_name),
        redis,
        keys,
        lease,
        appointment: Appointment::new({
            let waker = waker.clone();
            move || waker.wake()
        }),
        outage,
        keyring: start.keyring,
        pulse: Pulse::default(),
        hands: Hands::new(args.consumer.is_none()),
    };
    let control = Control {
        rules: start.rules,
        inbox: start.inbox,
        replica: link.name.clone(),
        pulse: link.pulse.clone(),
        wants: Some(WakingSender::new(ask, waker)),
        lender: Some(lender(&link, commands.clone())),
        keyring: link.keyring.clone(),
    };
    let recaller = recaller(&link, commands.clone(), (wants, parker));
    let mut sources = sources(args, &config, &link, commands);
    sources.push(patient("recall", |intake, drain| {
        recaller.run(intake, drain)
    }));
    let persistence = persistence(args, &link);
    let pipeline = Pipeline::start(&config, sources, persistence, drain, control)?;
    let summary = pipeline.wait();
    if args.consumer.is_none() && summary.nothing_lost() {
        forget_consumer(&link.redis, &link.keys, &link.name, GOODBYE);
    }
    Ok(exit_code(summary.nothing_lost()))
}

/// What is running, and what its workers allow.
fn log_start(config: &DeliveryConfig, redis: &Redis) {
    let at = redis.to_string();
    info!(
        event = "start", version = env!("CARGO_PKG_VERSION"), workers = config.workers,
        redis = at.as_str();
        "outhook {} starts: {} workers, Redis at {at}",
        env!("CARGO_PKG_VERSION"),
        config.workers
    );
    let per_second = |at_a_time| attempts_per_second(at_a_time, USUAL_ANSWER);
    info!(
        "{} workers: {}/s if endpoints answer in {}; of these {}, and so {}/s, for one endpoint \
         (--workers, --max-in-flight)",
        config.workers,
        per_second(config.workers),
        humantime::format_duration(USUAL_ANSWER),
        config.max_in_flight,
        per_second(config.max_in_flight),
    );
}

/// What the threads that talk to Redis have in common.
struct Link {
    redis: Redis,
    keys: Keys,
    /// Among the group's consumers.
    name: String,
    lease: Duration,
    appointment: Appointment,
    outage: OutageTracker,
    pulse: Pulse,
    hands: Hands,
    keyring: Option<Keyring>,
}

fn sources(
    args: &ServeArgs,
    delivery: &DeliveryConfig,
    link: &Link,
    commands: Commands,
) -> Vec<Source> {
    let heartbeat = Heartbeat {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        name: link.name.clone(),
        pulse: link.pulse.clone(),
    };
    let consumer = Consumer {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        name: link.name.clone(),
        stable: args.consumer.is_some(),
        lease: link.lease,
        batch: consumer::batch(delivery.max_active),
        parts: parts(args),
        dedup: args.dedup,
        dedup_refused: Once::new(),
        upkeep: Upkeep {
            budget: args.redis_budget,
            dead_max_age: args.dead_max_age,
            dead_max: args.dead_max,
            next: None,
            over: false,
            refused: Once::new(),
        },
        pulse: link.pulse.clone(),
        commands: commands.clone(),
        outage: link.outage.of("consumer"),
    };
    let dealer = dealer(args, link, commands.clone());
    let subscriber = Subscriber {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        channels: args.channels.names.clone(),
        keyring: link.keyring.clone(),
        commands,
        outage: link.outage.of("subscriber"),
        refusing: link.outage.of("channels"),
    };
    vec![
        Source {
            name: "pubsub".into(),
            kind: SourceKind::Eager,
            run: Box::new(move |intake, ends| subscriber.run(intake, ends)),
        },
        patient("stream", |intake, drain| consumer.run(intake, drain)),
        patient("ordered", |intake, drain| dealer.run(intake, drain)),
        // It brings nothing, and is needed to the last, as the subscriber is.
        Source {
            name: "heartbeat".into(),
            kind: SourceKind::Eager,
            run: Box::new(move |_, ends| heartbeat.run(&ends.last)),
        },
    ]
}

/// A source that keeps what is not taken from it, and ends when the drain begins.
fn patient(name: &str, run: impl FnOnce(&mut Intake, &Drain) + Send + 'static) -> Source {
    Source {
        name: name.into(),
        kind: SourceKind::Patient,
        run: Box::new(move |intake, ends| run(intake, &ends.drain)),
    }
}

fn dealer(args: &ServeArgs, link: &Link, commands: Commands) -> Dealer {
    Dealer {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        name: link.name.clone(),
        dedup: args.dedup,
        hands: link.hands.clone(),
        commands,
        outage: link.outage.of("dealer"),
    }
}

fn lender(link: &Link, commands: Commands) -> Lender {
    Lender {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        replica: link.name.clone(),
        commands,
        outage: link.outage.of("limits"),
    }
}

fn recaller(
    link: &Link,
    commands: Commands,
    (wants, parker): (Receiver<Want>, WaitingParker),
) -> Recaller {
    Recaller {
        redis: link.redis.clone(),
        keys: link.keys.clone(),
        name: link.name.clone(),
        hands: link.hands.clone(),
        lease: link.lease,
        appointment: link.appointment.clone(),
        wants,
        parker,
        pulse: link.pulse.clone(),
        commands,
        outage: link.outage.of("recall"),
        refusals: link.outage.of("recall of what waits"),
    }
}

/// What is needed of the server with these options.
fn parts(args: &ServeArgs) -> Vec<Part> {
    let optional = [
        (Part::Bridge, args.bridge),
        (Part::Status, args.status_ttl.is_some()),
        (Part::AttemptLog, args.attempt_log.is_some()),
        (Part::Limits, args.delivery.endpoints.is_some()),
        (Part::Secrets, args.delivery.keyring.are_in_redis()),
    ];
    let wanted = optional.into_iter().filter(|(_, is_wanted)| *is_wanted);
    let always = [Part::Deliveries, Part::Operators, Part::Subscriptions];
    always
        .into_iter()
        .chain(wanted.map(|(part, _)| part))
        .collect()
}

fn persistence(args: &ServeArgs, link: &Link) -> Persistence {
    let config = LedgerConfig {
        consumer: link.name.clone(),
        dedup: args.bridge_dedup,
        status_ttl: args.status_ttl,
        attempt_log: args.attempt_log,
        appointment: link.appointment.clone(),
    };
    let store = RedisLedger::new(link.redis.clone(), link.keys.clone(), config);
    Persistence {
        store: Box::new(store),
        parking: Parking::InRedis {
            near_window: link.lease / 2,
        },
        tells: args.status_ttl.is_some() || args.attempt_log.is_some(),
        bridge: args.bridge,
        gone: args.gone_ttl,
        outage: link.outage.of("ledger"),
    }
}

/// A consumer name that no other process has, and that tells an operator which one it was.
fn fresh_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = RandomState::new().hash_one(0) as u32;
    format!("{}-{}-{random:08x}", host.trim(), std::process::id())
}
