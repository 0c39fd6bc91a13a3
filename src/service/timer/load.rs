//! What the log says of the workers' load, in words that name the setting that helps.

use std::time::Duration;

use log::{info, warn};

use crate::scheduler::{Load, LoadEvent};

/// Logs one line.
pub fn log_event(event: &LoadEvent) {
    match event {
        LoadEvent::Saturated(load) => warn!(
            event = "workers_busy", seconds = load.lasted.as_secs(), workers = load.workers,
            busy = load.busy, queued = load.queued;
            "{}",
            describe(load)
        ),
        LoadEvent::Relieved { lasted } => info!(
            event = "workers_free", seconds = lasted.as_secs();
            "workers: free again, after {}",
            whole_seconds(*lasted)
        ),
    }
}

fn describe(load: &Load) -> String {
    let Load {
        workers, queued, ..
    } = load;
    let lasted = whole_seconds(load.lasted);
    let mut text = if load.busy < *workers {
        let share = load.untrusted;
        format!(
            "workers: endpoints that are new, failing or take longer than a second have held \
             {share} of {workers}, which is all that they may, for {lasted}"
        )
    } else {
        format!("workers: all {workers} have been busy for {lasted}")
    };
    let rate = load.per_second;
    text += &format!("; {rate:.1} attempts/s ended, {queued} messages are queued");
    text += &match &load.first {
        Some((endpoint, held)) if *held > 1 && held * 2 >= load.busy => format!(
            "; {endpoint} holds {held} of them: --max-in-flight, or max_in_flight in the endpoints \
             file, bounds that"
        ),
        _ if load.untrusted * 2 >= load.busy => {
            let held = load.untrusted;
            format!(
                "; {held} wait for endpoints that are slow or do not answer: a shorter --timeout \
                 frees them sooner, and more --workers would help"
            )
        }
        _ => "; more --workers would help".into(),
    };
    text
}

fn whole_seconds(time: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(busy: usize, untrusted: usize, first: usize) -> Load {
        Load {
            lasted: Duration::from_millis(70_400),
            workers: 512,
            busy,
            queued: 3000,
            untrusted,
            first: Some(("http://slow.example".into(), first)),
            per_second: 2560.0,
        }
    }

    #[test]
    fn the_line_names_the_setting_that_helps() {
        let text = describe(&load(512, 10, 32));
        let expected = "workers: all 512 have been busy for 1m 10s; 2560.0 attempts/s ended, 3000 \
                        messages are queued; more --workers would help";
        assert_eq!(text, expected);
        let text = describe(&load(512, 300, 32));
        assert!(text.contains("300 wait for") && text.contains("--timeout"));
        let text = describe(&load(512, 300, 256));
        assert!(text.contains("http://slow.example holds 256 of them: --max-in-flight"));
        let text = describe(&load(300, 256, 4));
        assert!(text.contains("have held 256 of 512, which is all that they may"));
    }
}
