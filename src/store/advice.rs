//! What an operator should know of how this Redis is set up, each with what to change.

use std::time::{Duration, SystemTime};

use redis::{RedisResult, cmd, pipe};

use super::connection::Connection;

/// A difference of clocks that is worth a word.
const SKEW: Duration = Duration::from_secs(1);

/// The first version that can do all that is asked of it.
const LEAST: (u32, u32) = (6, 2);

/// Asks the server at this connection. One that does not let us ask gets no advice; on a broken
/// connection whatever comes next fails too.
pub fn advice(connection: &mut Connection) -> Vec<String> {
    // Paths in it may be of any bytes.
    let info: RedisResult<Vec<u8>> = cmd("INFO").query(connection);
    let info = String::from_utf8_lossy(&info.unwrap_or_default()).into_owned();
    let before = SystemTime::now();
    let time: RedisResult<((u64, u64),)> = pipe().cmd("TIME").query(connection);
    let here = before + before.elapsed().unwrap_or_default() / 2;
    let there = time.map(|((s, us),)| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(s) + Duration::from_micros(us)
    });
    advise(&info, here, there.unwrap_or(here))
}

fn advise(info: &str, here: SystemTime, there: SystemTime) -> Vec<String> {
    let get = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    };
    let mut advice = Vec::new();
    // Valkey goes on from Redis 7.2, and says so under the old name.
    if let Some(version) = get("redis_version") {
        let mut numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
        let known = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if known < LEAST {
            advice.push(format!(
                "Redis {version} is too old: outhook needs 6.2; install a newer one, or Valkey"
            ));
        }
    }
    if get("aof_enabled") == Some("0") {
        advice.push(
            "Redis has appendonly off: when it ends without saving, all since its last snapshot \
             is lost; set appendonly yes"
                .into(),
        );
    }
    if let Some(policy) = get("maxmemory_policy").filter(|p| p.starts_with("allkeys")) {
        advice.push(format!(
            "Redis has maxmemory-policy {policy}: when memory is short it throws away messages; \
             set maxmemory-policy noeviction"
        ));
    }
    let skew = match there.duration_since(here) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(e) => (e.duration(), "behind"),
    };
    if skew.0 > SKEW {
        advice.push(format!(
            "the clock of Redis is {:.1} s {} the one here: times that messages bring (deliverAt, \
             expiresAt) are off by that; set both by NTP",
            skew.0.as_secs_f64(),
            skew.1
        ));
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_sentence_and_a_good_server_none() {
        let now = SystemTime::now();
        let good = "# Server\r\nredis_version:7.0.15\r\naof_enabled:1\r\n\
                    maxmemory_policy:noeviction\r\n";
        let with = |from: &str, to: &str| advise(&good.replace(from, to), now, now);
        assert!(advise(good, now, now).is_empty() && advise("", now, now).is_empty());
        assert!(with("noeviction", "volatile-lru").is_empty());
        for (from, to, word) in [
            ("7.0.15", "6.0.16", "needs 6.2"),
            ("aof_enabled:1", "aof_enabled:0", "appendonly yes"),
            ("noeviction", "allkeys-lru", "noeviction"),
        ] {
            let advice = with(from, to);
            assert!(advice.len() == 1 && advice[0].contains(word), "{advice:?}");
        }
        let (early, late) = (now - Duration::from_secs(3), now + Duration::from_secs(3));
        assert!(advise(good, now, late)[0].contains("3.0 s ahead of"));
        assert!(advise(good, now, early)[0].contains("3.0 s behind"));
    }
}
