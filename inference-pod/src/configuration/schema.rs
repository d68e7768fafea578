//! The messages of `ModelConfig` as tables: names, types, enums and oneofs, made from `proto/` when the crate is built.

/// A message and its fields.
#[derive(Debug)]
pub(super) struct MessageSchema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [FieldSchema],
}

#[derive(Debug)]
pub(super) struct FieldSchema {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
    /// Its message is an entry of a map, with the fields `key` and `value`.
    pub(super) map: bool,
    /// The oneof it belongs to: of those, only one may be set.
    pub(super) choice: Option<&'static str>,
}

/// Names and numbers; the first is the one that an absent field has.
#[derive(Debug)]
pub(super) struct EnumSchema {
    pub(super) values: &'static [(&'static str, i32)],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Position in `MESSAGES`.
    Message(usize),
    /// Position in `ENUMS`.
    Enum(usize),
    String,
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Real,
}

include!(concat!(env!("OUT_DIR"), "/model_config_schema.rs"));

impl MessageSchema {
    /// `ModelConfig`.
    pub(super) fn root() -> &'static Self {
        &MESSAGES[0]
    }

    pub(super) fn field(&self, name: &str) -> Option<&'static FieldSchema> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The field whose name is so close to an unknown one that it was probably meant.
    pub(super) fn nearest(&self, name: &str) -> Option<&'static str> {
        let nearest = self
            .fields
            .iter()
            .map(|field| (distance(field.name, name), field.name))
            .min()?;
        (nearest.0 <= (name.len() / 3).max(2)).then_some(nearest.1)
    }
}

/// Levenshtein's distance: how many letters have to be added, left out or replaced.
pub(super) fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, letter) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, candidate) in other.bytes().enumerate() {
            let replaced = diagonal + usize::from(letter != candidate);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_none_where_all_are_far() {
        let root = MessageSchema::root();
        assert_eq!(root.name, "ModelConfig");
        assert_eq!(root.nearest("max_batch_sise"), Some("max_batch_size"));
        assert_eq!(root.nearest("inputs"), Some("input"));
        assert_eq!(root.nearest("colour_of_the_sky"), None);
        assert_eq!((distance("kitten", "sitting"), distance("", "ab")), (3, 2));
    }
}
