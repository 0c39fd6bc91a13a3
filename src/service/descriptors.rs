//! How many files and sockets the process may have open, how many it needs, and how many workers
//! fit.
//!
//! The common soft limit of 1024 is there for programs that use `select`; outhook does not, so it
//! takes what the hard limit allows. The limit is only a number here: some container engines set a
//! thousand million, so nothing is allocated or iterated by it. Nothing here blocks.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors beside those of attempts: standard streams, Redis, name look-ups, files.
const RESERVE: u64 = 64;

/// Idle connections, where there is room. More would seldom be used again before they time out.
const USUAL_IDLE: u64 = 4096;

/// macOS says that there is no hard limit, and refuses more than this.
const MOST_OF_MACOS: u64 = 10_240;

/// The result of raising the limit.
#[derive(Debug)]
pub struct Raised {
    pub before: u64,
    pub now: u64,
    /// Why it is still below the hard limit.
    pub refused: Option<io::Error>,
}

/// Descriptors that this process may have open now: the soft limit.
pub fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Raises the soft limit to the hard one.
pub fn raise_descriptor_limit() -> Raised {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let before = current.unwrap_or(u64::MAX);
    let mut refused = None;
    if before < maximum.unwrap_or(u64::MAX) {
        let set = |current| setrlimit(Resource::Nofile, Rlimit { current, maximum });
        let set = set(maximum).or_else(|error| match maximum {
            None if before < MOST_OF_MACOS => set(Some(MOST_OF_MACOS)),
            _ => Err(error),
        });
        refused = set.err().map(io::Error::from);
    }
    Raised {
        before,
        now: descriptor_limit(),
        refused,
    }
}

/// How many descriptors this many workers need: a socket each, a second one for every fourth
/// worker, because several addresses of a name may be tried at a time and connections stay open
/// between attempts, and the reserve.
fn needed(workers: usize) -> u64 {
    let workers = workers as u64;
    workers + workers / 4 + RESERVE
}

/// The most workers for which `limit` is enough.
fn workers_that_fit(limit: u64) -> u64 {
    limit.saturating_sub(RESERVE).saturating_mul(4) / 5
}

/// How many idle connections are kept by default: what `limit` leaves beside the workers, up to
/// [`USUAL_IDLE`].
pub fn idle_that_fit(workers: usize, limit: u64) -> usize {
    let left = limit.saturating_sub(needed(workers));
    left.min(USUAL_IDLE) as usize
}

/// A sentence for the operator, if `limit` is too small for this many workers.
pub fn describe_shortage(workers: usize, limit: u64) -> Option<String> {
    let needed = needed(workers);
    if limit >= needed {
        return None;
    }
    let advice = match workers_that_fit(limit) {
        0 => String::new(),
        fits => format!(" --workers {fits} fits, or"),
    };
    Some(format!(
        "{workers} workers need {needed} files and sockets, and the limit is {limit}:{advice} \
         raise the hard limit (ulimit -Hn, LimitNOFILE, docker --ulimit nofile)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_to_fit_does_fit_and_one_more_does_not_or_hardly() {
        for limit in (0..5000).chain([1 << 20, 1_000_000_000]) {
            let fits = workers_that_fit(limit) as usize;
            if fits > 0 {
                assert!(needed(fits) <= limit, "{limit}: {fits}");
            }
            assert!(needed(fits + 2) > limit, "{limit}: {fits}");
        }
        assert!(workers_that_fit(u64::MAX) > 1 << 60);
    }

    #[test]
    fn what_the_workers_leave_is_for_connections_that_rest() {
        assert_eq!(idle_that_fit(512, 1_000_000_000), 4096);
        assert_eq!(idle_that_fit(512, 1024), 1024 - 512 - 128 - 64);
        assert_eq!(idle_that_fit(512, 256), 0);
    }

    #[test]
    fn a_shortage_names_the_setting_and_what_fits() {
        assert_eq!(describe_shortage(512, 1024), None);
        assert_eq!(describe_shortage(4096, u64::MAX), None);
        let text = describe_shortage(512, 256).unwrap();
        assert!(text.contains("--workers 153 fits"), "{text}");
        let text = describe_shortage(1, 64).unwrap();
        assert!(!text.contains("fits") && text.contains("ulimit"), "{text}");
    }
}
