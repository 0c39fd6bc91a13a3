//! What headers claim whose values have the form of a template.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::claim::{Claim, ClaimedSignature, MOST, SignedContent, text, time};
use super::received::Received;
use crate::trust::signing::key::from_hex;
use crate::trust::signing::template::{Encoding, Part, Placeholder, Template, Text};

/// The values of the placeholders.
type Found<'v> = Vec<(Placeholder, &'v str)>;

/// At most this many ways to divide a value are tried.
const TRIES: u32 = 20_000;

const NO_URL: &str = "the scheme signs the URL: say with --url which one was sent to";

pub fn read_template<'a>(
    template: &'a Template,
    received: &'a Received<'a>,
) -> Result<Claim<'a>, String> {
    let (headers, signed) = (received.headers, &template.signed);
    if signed.has(Placeholder::Url) && received.url.is_empty() {
        return Err(NO_URL.into());
    }
    let own = template.header.as_str();
    let value = text(headers, own, own)?;
    let not_as_said = |name: &str| format!("the header {name} is not as the scheme says");
    let mut all = vec![(own, template.divide(value).ok_or_else(|| not_as_said(own))?)];
    for (name, pattern) in &template.others {
        let name = name.as_str();
        let found = pattern.divide(text(headers, name, own)?);
        all.push((name, found.ok_or_else(|| not_as_said(name))?));
    }
    let (mut at, mut seconds, mut id) = (None, None, None);
    let mut signatures = Vec::new();
    for (name, (place, part)) in all
        .into_iter()
        .flat_map(|(name, found)| found.into_iter().map(move |one| (name, one)))
    {
        let again = match place {
            Placeholder::Timestamp => set(&mut seconds, time(part, name)?),
            Placeholder::TimestampMs => set(&mut at, time(part, name)?),
            Placeholder::Id => set(&mut id, part),
            Placeholder::Signature => {
                signatures.extend(template.encoding.decode(part));
                continue;
            }
            Placeholder::Body | Placeholder::Url | Placeholder::Method => continue,
        };
        again.map_err(|()| format!("the header {name} tells another time or id than others do"))?;
    }
    let of_seconds = seconds.map(|s: u64| s.saturating_mul(1000));
    if let (Some(ms), Some(seconds)) = (at, seconds)
        && ms / 1000 != seconds
    {
        return Err("the headers of the scheme tell two times".into());
    }
    let at = at.or(of_seconds);
    if at.is_none() && (signed.has(Placeholder::Timestamp) || signed.has(Placeholder::TimestampMs))
    {
        return Err("the scheme signs a time, and no header of it tells it".into());
    }
    let id = match id {
        Some(id) => id,
        None if signed.has(Placeholder::Id) => text(headers, "webhook-id", own)?,
        None => "",
    };
    let claimed = |bytes| ClaimedSignature { kind: None, bytes };
    Ok(Claim {
        id,
        at,
        expires: None,
        signatures: signatures.into_iter().map(claimed).collect(),
        over: SignedContent::Template(signed),
    })
}

/// A second value that differs is an error.
fn set<T: PartialEq>(place: &mut Option<T>, value: T) -> Result<(), ()> {
    match place {
        Some(known) if *known != value => Err(()),
        _ => {
            *place = Some(value);
            Ok(())
        }
    }
}

impl Encoding {
    fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Encoding::Hex => from_hex(text),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }

    fn length(self, bytes: usize) -> usize {
        match self {
            Encoding::Hex => bytes * 2,
            Encoding::Base64 => bytes.div_ceil(3) * 4,
        }
    }
}

impl Template {
    /// Divides the value of its header. It may hold several signatures, and behind them further
    /// parts that receivers skip.
    fn divide<'v>(&self, value: &'v str) -> Option<Found<'v>> {
        let digest = self.digest.digest_algorithm().output_len();
        // Ed25519 has 64 bytes.
        let lengths = [digest, 64].map(|bytes| self.encoding.length(bytes));
        let more = self.more.as_ref().map_or(&[][..], Text::parts);
        let separator = match more.first() {
            Some(Part::Plain(text)) => text.chars().next().filter(|c| ",; ".contains(*c)),
            _ => None,
        };
        let most = if more.is_empty() { 0 } else { MOST - 1 };
        let mut divider = Divider {
            lengths,
            separator,
            tries: TRIES,
        };
        (0..=most).rev().find_map(|n| {
            let parts: Vec<&Part> = self.value.parts().iter().collect();
            let parts = [parts, more.iter().cycle().take(n * more.len()).collect()].concat();
            divider.divide(&parts, value)
        })
    }
}

impl Text {
    fn divide<'v>(&self, value: &'v str) -> Option<Found<'v>> {
        let mut divider = Divider {
            lengths: [0, 0],
            separator: None,
            tries: TRIES,
        };
        divider.divide(&self.parts().iter().collect::<Vec<_>>(), value)
    }
}

struct Divider {
    /// The possible lengths of a signature.
    lengths: [usize; 2],
    /// Everything behind it is skipped.
    separator: Option<char>,
    tries: u32,
}

impl Divider {
    /// The first way in which the whole value matches the parts.
    fn divide<'v>(&mut self, parts: &[&Part], value: &'v str) -> Option<Found<'v>> {
        let mut found = Vec::new();
        self.walk(parts, value, &mut found).then_some(found)
    }

    fn walk<'v>(&mut self, parts: &[&Part], rest: &'v str, found: &mut Found<'v>) -> bool {
        let Some((part, parts)) = parts.split_first() else {
            return rest.is_empty() || self.separator.is_some_and(|c| rest.starts_with(c));
        };
        let place = match part {
            Part::Plain(text) => {
                let rest = rest.strip_prefix(&**text);
                return rest.is_some_and(|rest| self.walk(parts, rest, found));
            }
            Part::Placeholder(place) => *place,
        };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let ends: Box<dyn Iterator<Item = usize>> = match place {
            Placeholder::Signature => Box::new(self.lengths.into_iter()),
            Placeholder::Timestamp | Placeholder::TimestampMs => {
                Box::new((1..=digits.min(20)).rev())
            }
            _ => Box::new((0..=rest.len()).rev()),
        };
        for end in ends {
            let Some(tries) = self.tries.checked_sub(1) else {
                return false;
            };
            self.tries = tries;
            let Some((part, rest)) = rest.split_at_checked(end) else {
                continue;
            };
            found.push((place, part));
            if self.walk(parts, rest, found) {
                return true;
            }
            found.pop();
        }
        false
    }
}
