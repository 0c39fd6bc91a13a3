//! Text from outside that is shown to people: it must not control their terminal or end their line.
//! Pure.

/// The characters of `text`, with a blank in place of each that controls what shows it.
pub fn printable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if controls(c) { ' ' } else { c })
}

/// The same, with such characters written out.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() => shown.extend(c.escape_default()),
            c if controls(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    shown
}

/// Control characters, and those that end a line or turn the direction in which one is read.
fn controls(c: char) -> bool {
    let turns =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_controls_the_terminal_of_who_reads_it() {
        let odd = "a\x1b[31m\u{202e}b\u{2028}é";
        assert_eq!(visible(odd), "a\\u{1b}[31m\\u{202e}b\\u{2028}é");
        assert_eq!(printable(odd).collect::<String>(), "a [31m b é");
    }
}
