//! Heads with random faults.

use super::*;
use crate::dice::Dice;

fn mutate(dice: &mut Dice, heads: &[Vec<u8>]) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b": ",
        b",",
        b" ",
        b"\t",
        b"\r\n ",
        b"HTTP/1.1 ",
        b"HTTP/1.1 100 X\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Retry-After: 1\r\n",
        b"chunked",
        b"99999999999999999999",
        b"\xff\x7f",
    ];
    let mut bytes = dice.pick(heads).clone();
    for _ in 0..dice.below(5) {
        let at = dice.index(bytes.len() + 1);
        match dice.below(6) {
            0 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            3 => {
                let other = dice.pick(heads);
                bytes.extend_from_slice(&other[dice.index(other.len())..]);
            }
            4 => {
                let piece = dice.pick(PIECES).repeat(1 + dice.index(3) * dice.index(40));
                bytes.splice(at..at, piece);
            }
            _ => {
                let piece = *dice.pick(PIECES);
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn no_bytes_make_it_panic_or_hold_much_or_depend_on_how_they_are_split() {
    let heads: Vec<Vec<u8>> = table()
        .map(|(bytes, ..)| bytes)
        .chain(NOT_HTTP.iter().map(|(bytes, _)| bytes.to_vec()))
        .collect();
    let mut dice = Dice::usual(11);
    let (mut answers, mut refused) = (0, 0);
    for _ in 0..200_000 {
        dice.step();
        let bytes = mutate(&mut dice, &heads);
        let at = dice.index(bytes.len() + 1);
        let (a, b) = bytes.split_at(at);
        let (whole, reader) = read(&[&bytes]);
        let (split, other) = read(&[a, b]);
        let shown = || format!("{} at {at}", bytes.escape_ascii());
        match (&whole, &split) {
            // The quotation holds what had come.
            (Err(_), Err(_)) => refused += 1,
            _ => assert_eq!(whole, split, "{}", shown()),
        }
        assert!(
            reader.memory() <= 4096 && other.memory() <= 4096,
            "{}",
            shown()
        );
        match whole {
            Ok((_, Some(head))) => {
                answers += 1;
                assert!((100..=999).contains(&head.status), "{}", shown());
                assert_ureq_does_what_it_says(&head);
            }
            Ok(_) => assert_eq!(reader.end(), other.end(), "{}", shown()),
            Err(_) => {}
        }
    }
    println!("{answers} answers, {refused} refused");
    assert!(answers > 50_000 && refused > 5_000);
}
