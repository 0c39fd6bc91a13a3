//! SOCKS5 (RFC 1928, with user and password of RFC 1929): what is said, and what it means. Pure.
//!
//! How many bytes come next is always known before they come, so none of the target's is read.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::blame::Blame;
use crate::delivery::FailureKind;
use crate::trust::egress::Login;

const VERSION: u8 = 5;
const NO_LOGIN: u8 = 0;
const LOGIN: u8 = 2;
const NONE_FITS: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Where a proxy is to lead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target<'a> {
    Address(IpAddr),
    /// The proxy looks it up.
    Name(&'a str),
}

/// Our part of the talk.
#[derive(Debug)]
pub struct Talk<'a> {
    to: Target<'a>,
    port: u16,
    login: Option<&'a Login>,
    state: State,
    come: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Method,
    Login,
    /// This many bytes of it are known to come.
    Reply(usize),
    Done,
}

/// What to do next.
#[derive(Debug, PartialEq)]
pub enum Next {
    Send(Zeroizing<Vec<u8>>),
    /// Read this many bytes at most.
    Read(usize),
    Done,
}

impl<'a> Talk<'a> {
    /// The talk, and the bytes to be sent first.
    pub fn new(to: Target<'a>, port: u16, login: Option<&'a Login>) -> (Talk<'a>, &'static [u8]) {
        let first: &[u8] = match login {
            Some(_) => &[VERSION, 2, NO_LOGIN, LOGIN],
            None => &[VERSION, 1, NO_LOGIN],
        };
        let talk = Talk {
            to,
            port,
            login,
            state: State::Method,
            come: Vec::new(),
        };
        (talk, first)
    }

    /// Whether the proxy knows where to lead. From then on a fault may be the target's.
    pub fn has_asked(&self) -> bool {
        matches!(self.state, State::Reply(_))
    }

    pub fn wants(&self) -> usize {
        let whole = match self.state {
            State::Method | State::Login => 2,
            State::Reply(length) => length,
            State::Done => 0,
        };
        whole.saturating_sub(self.come.len())
    }

    /// Takes in what came: no more than [`Talk::wants`].
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Next, Blame> {
        self.come.extend_from_slice(bytes);
        if self.state == State::Method && self.come.first().is_some_and(|b| *b != VERSION) {
            return Err(Blame::Own(not_socks(&self.come)));
        }
        if self.wants() > 0 {
            return Ok(Next::Read(self.wants()));
        }
        match self.state {
            State::Method => self.take_method(),
            State::Login => self.take_login(),
            State::Reply(length) => self.take_reply(length),
            State::Done => Ok(Next::Done),
        }
    }

    fn take_method(&mut self) -> Result<Next, Blame> {
        match (self.come[1], self.login) {
            (NO_LOGIN, _) => Ok(self.ask()),
            (LOGIN, Some(login)) => {
                self.come.clear();
                self.state = State::Login;
                let mut bytes = Zeroizing::new(vec![1]);
                for text in [login.user.expose(), login.password.expose()] {
                    // The option's reader has looked at their length.
                    bytes.push(text.len() as u8);
                    bytes.extend_from_slice(text.as_bytes());
                }
                Ok(Next::Send(bytes))
            }
            (NONE_FITS, None) => Err(Blame::Own(
                "it wants a user and password, or does not serve us: set --proxy-credentials-file"
                    .into(),
            )),
            (NONE_FITS, Some(_)) => Err(Blame::Own(
                "it accepts no user and password, or does not serve us".into(),
            )),
            (other, _) => Err(Blame::Own(format!(
                "it chose the login method {other}, which nobody offered"
            ))),
        }
    }

    fn take_login(&mut self) -> Result<Next, Blame> {
        match self.come[1] {
            0 => Ok(self.ask()),
            _ => Err(Blame::Own(
                "it does not accept our user and password".into(),
            )),
        }
    }

    fn ask(&mut self) -> Next {
        self.come.clear();
        // Up to where the length of a name would stand.
        self.state = State::Reply(4);
        let mut bytes = vec![VERSION, CONNECT, 0];
        match self.to {
            Target::Address(IpAddr::V4(ip)) => {
                bytes.push(IPV4);
                bytes.extend_from_slice(&ip.octets());
            }
            Target::Address(IpAddr::V6(ip)) => {
                bytes.push(IPV6);
                bytes.extend_from_slice(&ip.octets());
            }
            Target::Name(name) => {
                // Names are at most 253 bytes long; a longer one has no address.
                let name = &name.as_bytes()[..name.len().min(255)];
                bytes.extend_from_slice(&[NAME, name.len() as u8]);
                bytes.extend_from_slice(name);
            }
        }
        bytes.extend_from_slice(&self.port.to_be_bytes());
        Next::Send(Zeroizing::new(bytes))
    }

    fn take_reply(&mut self, length: usize) -> Result<Next, Blame> {
        if self.come[0] != VERSION {
            return Err(Blame::Own(not_socks(&self.come)));
        }
        // Some say no more than this where they refuse.
        if self.come[1] != 0 {
            return Err(self.refused(self.come[1]));
        }
        let whole = match (self.come[3], self.come.get(4)) {
            (IPV4, _) => 4 + 4 + 2,
            (IPV6, _) => 4 + 16 + 2,
            (NAME, None) => 5,
            (NAME, Some(length)) => 5 + usize::from(*length) + 2,
            (other, _) => {
                return Err(Blame::Own(format!(
                    "its answer has an address of the unknown kind {other}"
                )));
            }
        };
        self.state = match whole > length {
            true => State::Reply(whole),
            false => State::Done,
        };
        Ok(match self.wants() {
            0 => Next::Done,
            n => Next::Read(n),
        })
    }

    /// There is no code for a name that has no address, so many proxies answer 1 to that. But they also
    /// answer 1 when they are in trouble themselves.
    fn refused(&self, code: u8) -> Blame {
        let lead = |why: &str| format!("the proxy did not lead there: {why} (SOCKS reply {code})");
        let why = match code {
            1 => return Blame::Unclear("it failed (SOCKS reply 1)".into()),
            2 => "its rules forbid it",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "no answer",
            8 if matches!(self.to, Target::Name(_)) => {
                return Blame::Own(
                    "it does not look up names (SOCKS reply 8): use socks5:// in place of socks5h://"
                        .into(),
                );
            }
            8 => "it knows no addresses of this kind",
            7 => return Blame::Own("it knows no CONNECT (SOCKS reply 7)".into()),
            _ => return Blame::Unclear(format!("it failed (SOCKS reply {code})")),
        };
        Blame::Target(FailureKind::Connect, lead(why))
    }
}

fn not_socks(bytes: &[u8]) -> String {
    let help = match bytes.first() {
        Some(b'H') => ": is it an http:// proxy?",
        _ => ": is the port right?",
    };
    format!(
        "it does not speak SOCKS5 (it sent \"{}\"){help}",
        bytes.escape_ascii()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::{Dice, seeds};
    use crate::trust::secret::Secret;

    fn login() -> Login {
        Login {
            user: Secret::new("me".into()),
            password: Secret::new("pass".into()),
        }
    }

    /// Plays what a proxy says, cut up at random: what we have sent, and how it ended. Answers also
    /// how many bytes were left to the target.
    fn play(
        to: Target<'_>,
        login: Option<&Login>,
        says: &[u8],
        dice: &mut Dice,
    ) -> (Vec<Vec<u8>>, Result<usize, Blame>) {
        let (mut talk, first) = Talk::new(to, 0x1bb, login);
        let (mut sent, mut at) = (vec![first.to_vec()], 0);
        loop {
            let wants = talk.wants();
            let n = (1 + dice.index(wants)).min(says.len() - at);
            assert!(n > 0, "it wants {wants} more");
            match talk.feed(&says[at..at + n]) {
                Err(blame) => return (sent, Err(blame)),
                Ok(Next::Send(bytes)) => sent.push(bytes.to_vec()),
                Ok(Next::Read(n)) => assert_eq!(n, talk.wants()),
                Ok(Next::Done) => return (sent, Ok(says.len() - at - n)),
            }
            at += n;
        }
    }

    #[test]
    fn what_is_sent_is_as_the_rfcs_say_and_nothing_of_the_target_is_read() {
        let (me, v4) = (login(), Target::Address([192, 0, 2, 9].into()));
        let v6 = Target::Address("2001:db8::9".parse().unwrap());
        let v4_bytes = [5, 1, 0, 1, 192, 0, 2, 9, 1, 0xbb];
        let v6_bytes = [
            5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0xbb,
        ];
        let done: [&[u8]; 4] = [
            &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
            &[
                5, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
            &[5, 0, 0, 3, 3, b'a', b'b', b'c', 1, 2],
            &[5, 0, 0, 3, 0, 1, 2],
        ];
        let mut dice = Dice::usual(1);
        for end in (0..400).flat_map(|_| done) {
            dice.step();
            let says = [&[5, 0], end, b"SSH-2.0"].concat();
            let (sent, left) = play(v4, None, &says, &mut dice);
            assert_eq!(sent, [&[5, 1, 0][..], &v4_bytes]);
            assert_eq!(left, Ok(7), "{end:?}");
            let says = [&[5, 2, 1, 0], end].concat();
            let (sent, left) = play(v6, Some(&me), &says, &mut dice);
            let auth = b"\x01\x02me\x04pass";
            assert_eq!(sent, [&[5, 2, 0, 2][..], auth, &v6_bytes]);
            assert_eq!(left, Ok(0));
            let says = [&[5, 0], end, b"x"].concat();
            let (sent, left) = play(Target::Name("h.example"), Some(&me), &says, &mut dice);
            assert_eq!(sent[1], b"\x05\x01\x00\x03\x09h.example\x01\xbb");
            assert_eq!((sent.len(), left), (2, Ok(1)));
        }
    }

    #[test]
    fn each_refusal_is_blamed_on_whom_it_says() {
        let (me, v4, name) = (login(), Target::Address([1; 4].into()), Target::Name("h"));
        let none: Option<&Login> = None;
        for (to, login, says, whose, words) in [
            (v4, none, &[5, 0xff][..], 'o', "--proxy-credentials-file"),
            (v4, Some(&me), &[5, 0xff], 'o', "does not serve us"),
            (v4, none, &[5, 2], 'o', "method 2, which nobody offered"),
            (v4, Some(&me), &[5, 1], 'o', "method 1"),
            (
                v4,
                Some(&me),
                &[5, 2, 1, 1],
                'o',
                "does not accept our user",
            ),
            (v4, none, b"HTTP/1.1", 'o', "http:// proxy"),
            (v4, none, b"SSH", 'o', "port right"),
            (v4, none, &[5, 0, 4, 0, 0, 1], 'o', "not speak SOCKS5"),
            (v4, none, &[5, 0, 5, 0, 0, 9], 'o', "unknown kind 9"),
            (v4, none, &[5, 0, 5, 1, 0, 1], 'u', "reply 1"),
            (v4, none, &[5, 0, 5, 2, 0, 1], 't', "rules forbid"),
            (v4, none, &[5, 0, 5, 3, 0, 1], 't', "network unreachable"),
            (v4, none, &[5, 0, 5, 4, 0, 1], 't', "host unreachable"),
            (
                v4,
                none,
                &[5, 0, 5, 5, 0, 1],
                't',
                "refused (SOCKS reply 5)",
            ),
            (v4, none, &[5, 0, 5, 6, 0, 1], 't', "no answer"),
            (v4, none, &[5, 0, 5, 7, 0, 1], 'o', "no CONNECT"),
            (
                v4,
                none,
                &[5, 0, 5, 8, 0, 1],
                't',
                "no addresses of this kind",
            ),
            (name, none, &[5, 0, 5, 8, 0, 1], 'o', "socks5://"),
            (v4, none, &[5, 0, 5, 99, 0, 1], 'u', "reply 99"),
        ] {
            for seed in seeds(0..50) {
                let (_, result) = play(to, login, says, &mut Dice::new(seed));
                let (got, said) = match result.unwrap_err() {
                    Blame::Own(said) => ('o', said),
                    Blame::Unclear(said) => ('u', said),
                    Blame::Login(said) => ('l', said),
                    Blame::Target(_, said) => ('t', said),
                };
                assert_eq!(got, whose, "{says:?}: {said}");
                assert!(said.contains(words), "{says:?}: {said}");
            }
        }
    }
}
