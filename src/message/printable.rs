//! Text from outside that is shown to people: it must not control their terminal or end their line.
//! Pure.

/// The characters of `text`, with a blank in place of each control character.
pub fn printable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}
