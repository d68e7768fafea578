//! What somebody may have meant who wrote a name that there is not.

/// How alike two names have to be, from 0 to 1.
const ALIKE: f64 = 0.85;
/// Nobody mistypes a name as long as this, and to compare long ones takes long.
const LONGEST_NAME: usize = 100;

/// The known name that is most like `name`, if one is.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let written = plain(name);
    known
        .filter(|candidate| candidate.len() <= LONGEST_NAME)
        .map(|candidate| (strsim::jaro_winkler(&written, &plain(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, candidate)| candidate)
}

/// Without what people mix up: capitals, spaces, and what stands between words.
fn plain(name: &str) -> String {
    let characters = name.chars().filter(|character| character.is_alphanumeric());
    characters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_despite_typing_errors_and_other_spellings() {
        let known = ["sepal_length", "sepal_width", "petal_length", "petal_width"];
        for (written, meant) in [
            ("sepal_lenght", Some("sepal_length")),
            ("Sepal Length", Some("sepal_length")),
            ("petalWidth", Some("petal_width")),
            ("petal_length (cm)", Some("petal_length")),
            ("age", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
        assert_eq!(nearest(&"sepal_length".repeat(1000), known.into_iter()), None);
    }
}
