//! The token of one grant, for all deliveries that use it: when it is fetched, and by which worker.
//! Pure.
//!
//! One worker fetches it, and no other worker waits for it. A token that is still valid is used
//! until a new one has come. That holds for a token that an endpoint has refused, too: the other
//! endpoints that share it must not be stopped. After a failure nobody asks for a moment, so that a
//! token endpoint that is down is not asked for each message.

use std::time::{Duration, Instant};

use http::HeaderValue;

use super::redaction::Redactor;

/// When a worker that finds a token on its way comes again: after as long as the fetch has taken so
/// far, within these bounds.
const SOONEST: Duration = Duration::from_millis(25);
const LATEST: Duration = Duration::from_secs(1);

/// A token is not used in the last part of its lifetime, because a request takes time, and it is
/// renewed before that. Each is a share of the lifetime, and at most this long.
const SPARED: Duration = Duration::from_secs(30);
const EARLY: Duration = Duration::from_secs(300);

/// After a failure nobody asks for a second at first, and for twice as long each time.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// The longest `Retry-After` of the token endpoint that counts.
const LONGEST_WISH: Duration = Duration::from_secs(60);

/// The shortest time between two renewals because of a refusal. An endpoint that refuses a token
/// that was just fetched will refuse others too.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// A token, as it was granted.
#[derive(Debug)]
pub struct Granted {
    pub header: HeaderValue,
    pub redactor: Redactor,
    pub life: Duration,
    /// What was odd about the response, in a sentence.
    pub odd: Option<String>,
}

/// A token, as it is used.
#[derive(Debug, Clone)]
pub struct Token {
    pub header: HeaderValue,
    pub redactor: Redactor,
    number: u64,
    renewed_from: Instant,
    good_until: Instant,
}

/// See the module's header.
#[derive(Debug, Default)]
pub struct Tokens {
    token: Option<Token>,
    fetched: u64,
    /// Since when one is being fetched.
    flight: Option<Instant>,
    failure: Option<Failure>,
    /// When a token was last renewed because of a refusal, and whether the current token was
    /// refused.
    refused: Option<Instant>,
    is_refused: bool,
}

#[derive(Debug)]
struct Failure {
    text: String,
    until: Instant,
    in_a_row: u32,
}

/// What to do for a token.
#[derive(Debug)]
pub enum Step {
    Use(Token),
    /// The caller fetches a token, and reports with [`Tokens::granted`], [`Tokens::failed`] or
    /// [`Tokens::abandoned`]. If that fails, the given token may still be valid.
    Fetch(Option<Token>),
    /// One is being fetched: come again.
    Wait(Duration),
    /// It has just failed.
    Failed(String),
}

impl Tokens {
    /// `refused`: a token that the caller cannot use.
    pub fn next(&mut self, refused: Option<&Token>, now: Instant) -> Step {
        let is_of_use = |t: &&Token| refused.is_none_or(|refused| refused.number != t.number);
        let good = self.token.as_ref().filter(|t| now < t.good_until);
        let good = good.filter(is_of_use);
        let is_old = |t: &Token| now >= t.renewed_from || self.is_refused;
        let failing = self.failure.as_ref().filter(|f| now < f.until);
        match (good, self.flight, failing) {
            (Some(token), flight, failing)
                if !is_old(token) || flight.is_some() || failing.is_some() =>
            {
                Step::Use(token.clone())
            }
            (None, Some(since), _) => {
                let waited = now.saturating_duration_since(since);
                Step::Wait(waited.clamp(SOONEST, LATEST))
            }
            (None, None, Some(failure)) => Step::Failed(failure.text.clone()),
            (good, _, _) => {
                let good = good.cloned();
                self.flight = Some(now);
                Step::Fetch(good)
            }
        }
    }

    pub fn granted(&mut self, granted: Granted, now: Instant) -> Token {
        self.fetched += 1;
        let good_until = now + granted.life - SPARED.min(granted.life / 10);
        let token = Token {
            header: granted.header,
            redactor: granted.redactor,
            number: self.fetched,
            renewed_from: now + granted.life - EARLY.min(granted.life / 4),
            good_until,
        };
        self.token = Some(token.clone());
        self.is_refused = false;
        self.flight = None;
        self.failure = None;
        token
    }

    /// `wish`: the token endpoint's `Retry-After`.
    pub fn failed(&mut self, text: String, wish: Option<Duration>, now: Instant) {
        let in_a_row = self.failure.as_ref().map_or(0, |f| f.in_a_row) + 1;
        let backoff = LONGEST_BACKOFF.min(FIRST_BACKOFF * 2_u32.saturating_pow(in_a_row - 1));
        let backoff = backoff.max(wish.unwrap_or_default().min(LONGEST_WISH));
        self.flight = None;
        self.failure = Some(Failure {
            text,
            until: now + backoff,
            in_a_row,
        });
    }

    /// The fetch ended without a result, and nobody is to blame.
    pub fn abandoned(&mut self) {
        self.flight = None;
    }

    /// The endpoint has answered 401 to this token. Whether it is worth trying again with what
    /// [`Tokens::next`] gives now in its place.
    pub fn refused(&mut self, token: &Token, now: Instant) -> bool {
        match &self.token {
            Some(current) if current.number == token.number && !self.is_refused => {
                let is_new = |at: Instant| now.saturating_duration_since(at) < BETWEEN_REFUSALS;
                if self.refused.is_some_and(is_new) {
                    return false;
                }
                self.refused = Some(now);
                self.is_refused = true;
                true
            }
            // Others have seen it before.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    const MS: Duration = Duration::from_millis(1);
    const SEC: Duration = Duration::from_secs(1);

    fn granted(name: &str, life: Duration) -> Granted {
        Granted {
            header: HeaderValue::from_str(name).unwrap(),
            redactor: Redactor::new([]),
            life,
            odd: None,
        }
    }

    fn word(step: &Step) -> String {
        match step {
            Step::Use(token) => format!("use {}", token.header.to_str().unwrap()),
            Step::Fetch(None) => "fetch".into(),
            Step::Fetch(Some(spare)) => format!("fetch, or {}", spare.header.to_str().unwrap()),
            Step::Wait(again) => format!("wait {}", again.as_millis()),
            Step::Failed(text) => format!("failed {text}"),
        }
    }

    #[test]
    fn one_fetches_and_the_others_come_again() {
        let (mut tokens, t) = (Tokens::default(), Instant::now());
        assert_eq!(word(&tokens.next(None, t)), "fetch");
        assert_eq!(word(&tokens.next(None, t)), "wait 25");
        assert_eq!(word(&tokens.next(None, t + 400 * MS)), "wait 400");
        assert_eq!(word(&tokens.next(None, t + 14 * SEC)), "wait 1000");
        tokens.granted(granted("a", 3600 * SEC), t + SEC);
        assert_eq!(word(&tokens.next(None, t + SEC)), "use a");
        // It is renewed in good time, and used meanwhile.
        assert_eq!(word(&tokens.next(None, t + 3300 * SEC)), "use a");
        assert_eq!(word(&tokens.next(None, t + 3301 * SEC)), "fetch, or a");
        assert_eq!(word(&tokens.next(None, t + 3302 * SEC)), "use a");
        tokens.failed("e".into(), None, t + 3303 * SEC);
        assert_eq!(word(&tokens.next(None, t + 3303 * SEC)), "use a");
        assert_eq!(word(&tokens.next(None, t + 3304 * SEC)), "fetch, or a");
        tokens.abandoned();
        assert_eq!(word(&tokens.next(None, t + 3571 * SEC)), "fetch");
        tokens.granted(granted("b", 2 * SEC), t + 3571 * SEC);
        assert_eq!(word(&tokens.next(None, t + 3572 * SEC)), "use b");
        assert_eq!(
            word(&tokens.next(None, t + 3572 * SEC + 600 * MS)),
            "fetch, or b"
        );
        tokens.abandoned();
        assert_eq!(word(&tokens.next(None, t + 3572 * SEC + 800 * MS)), "fetch");
    }

    #[test]
    fn a_failure_holds_for_all_for_a_while() {
        let (mut tokens, mut t) = (Tokens::default(), Instant::now());
        for backoff in [1, 2, 4, 8, 8] {
            assert_eq!(word(&tokens.next(None, t)), "fetch");
            tokens.failed("e".into(), None, t);
            assert_eq!(word(&tokens.next(None, t)), "failed e");
            t += backoff * SEC;
            assert_eq!(word(&tokens.next(None, t - MS)), "failed e");
        }
        assert_eq!(word(&tokens.next(None, t)), "fetch");
        tokens.failed("e".into(), Some(999 * SEC), t);
        assert_eq!(word(&tokens.next(None, t + 59 * SEC)), "failed e");
        t += 60 * SEC;
        assert_eq!(word(&tokens.next(None, t)), "fetch");
        tokens.granted(granted("a", 100 * SEC), t);
        tokens.failed("e".into(), None, t);
        assert_eq!(
            word(&tokens.next(None, t + 99 * SEC)),
            "fetch",
            "it begins with a second again"
        );
    }

    #[test]
    fn a_refused_token_is_renewed_once() {
        let (mut tokens, t) = (Tokens::default(), Instant::now());
        tokens.next(None, t);
        let a = tokens.granted(granted("a", 3600 * SEC), t);
        assert!(tokens.refused(&a, t));
        assert_eq!(word(&tokens.next(Some(&a), t)), "fetch");
        assert!(tokens.refused(&a, t), "others who had it come again too");
        assert_eq!(word(&tokens.next(Some(&a), t)), "wait 25");
        let b = tokens.granted(granted("b", 3600 * SEC), t);
        assert!(tokens.refused(&a, t));
        assert_eq!(word(&tokens.next(Some(&a), t)), "use b");
        // The new one is refused too: that is the endpoint's answer.
        assert!(!tokens.refused(&b, t + SEC));
        assert_eq!(word(&tokens.next(None, t + SEC)), "use b");
        assert!(tokens.refused(&b, t + 11 * SEC));
        assert_eq!(word(&tokens.next(Some(&b), t + 11 * SEC)), "fetch");
    }

    #[test]
    fn what_one_endpoint_refuses_is_used_by_the_others_until_there_is_another() {
        let (mut tokens, t) = (Tokens::default(), Instant::now());
        tokens.next(None, t);
        let a = tokens.granted(granted("a", 3600 * SEC), t);
        assert!(tokens.refused(&a, t));
        assert_eq!(word(&tokens.next(Some(&a), t)), "fetch");
        assert_eq!(word(&tokens.next(None, t)), "use a");
        tokens.failed("e".into(), None, t);
        assert_eq!(word(&tokens.next(None, t)), "use a");
        assert!(tokens.refused(&a, t));
        assert_eq!(word(&tokens.next(Some(&a), t)), "failed e");
        // Whoever comes first tries again, and the others go on.
        assert_eq!(word(&tokens.next(None, t + SEC)), "fetch, or a");
        assert_eq!(word(&tokens.next(None, t + SEC)), "use a");
        assert_eq!(word(&tokens.next(Some(&a), t + SEC)), "wait 25");
        tokens.granted(granted("b", 3600 * SEC), t + SEC);
        assert_eq!(word(&tokens.next(None, t + SEC)), "use b");
        assert_eq!(word(&tokens.next(Some(&a), t + SEC)), "use b");
    }

    /// Whatever happens, there is one flight at most, and whoever is told to use a token gets one
    /// that is good.
    #[test]
    fn random_steps_keep_one_flight_and_good_tokens() {
        let mut dice = Dice::usual(std::process::id().into());
        let (mut tokens, mut now, mut flying) = (Tokens::default(), Instant::now(), false);
        let mut last: Option<Token> = None;
        for _ in 0..20_000 {
            dice.step();
            now += Duration::from_millis(dice.below(4000));
            match dice.below(5) {
                0 if flying => {
                    let life = Duration::from_millis(1 + dice.below(40_000));
                    last = Some(tokens.granted(granted("a", life), now));
                    flying = false;
                }
                1 if flying => {
                    tokens.failed("e".into(), None, now);
                    flying = false;
                }
                2 if flying => {
                    tokens.abandoned();
                    flying = false;
                }
                3 => {
                    if let Some(token) = &last {
                        tokens.refused(token, now);
                    }
                }
                _ => match tokens.next(None, now) {
                    Step::Use(token) => assert!(now < token.good_until),
                    Step::Fetch(spare) => {
                        assert!(!flying);
                        assert!(spare.is_none_or(|token| now < token.good_until));
                        flying = true;
                    }
                    Step::Wait(_) => assert!(flying),
                    Step::Failed(_) => assert!(!flying),
                },
            }
        }
    }
}
