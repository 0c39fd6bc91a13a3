//! Text of others that is shown to people: nothing of it may act on their terminal or end their line.
//! Pure.

/// The characters of `text`, with a blank for each control character.
pub fn printable(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if c.is_control() { ' ' } else { c })
}
