//! Which name was meant by one that nobody knows.

/// How near the name of an option must be to be proposed, from 0 to 1.
pub const OPTION: f64 = 0.6;

/// The name of `all` that is nearest to this one, if one is as near as this.
pub fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>, least: f64) -> Option<&'a str> {
    let near = |known| strsim::normalized_damerau_levenshtein(name, known);
    let scored = all.map(|known| (near(known), known));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(near, _)| *near >= least)
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let all = ["WORKERS", "TIMEOUT", "CONNECT_TIMEOUT"];
        let found = |name| nearest(name, all.into_iter(), OPTION);
        assert_eq!(found("WORKES"), Some("WORKERS"));
        assert_eq!(found("CONECT_TIMEOUT"), Some("CONNECT_TIMEOUT"));
        assert_eq!(found("HOME"), None);
    }
}
