//! The tree of a text against the schema: every field known, of its type, and set as often as it may be.

use std::collections::BTreeMap;

use super::schema::{ENUMS, EnumSchema, FieldSchema, Kind, MESSAGES, MessageSchema};
use super::text_format::{ConfigError, Field, Message, Value, error_at};

type Result<T> = std::result::Result<T, ConfigError>;

/// A message whose fields have the types of the schema.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) schema: &'static MessageSchema,
    pub(super) settings: Vec<Setting>,
}

#[derive(Debug)]
pub(super) struct Setting {
    pub(super) schema: &'static FieldSchema,
    pub(super) line: usize,
    pub(super) value: Typed,
}

#[derive(Debug, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Whole(i128),
    Real(f64),
    Flag(bool),
    /// The name of an enum's value.
    Choice(&'static str),
}

#[derive(Debug)]
pub(super) enum Typed {
    Settings(Settings),
    Scalar(Scalar),
}

/// Checks a message and all within it.
pub(super) fn check(message: Message, schema: &'static MessageSchema) -> Result<Settings> {
    let mut settings: Vec<Setting> = Vec::with_capacity(message.fields.len());
    let mut keys = Keys::new();
    for field in message.fields {
        let Some(known) = schema.field(&field.name) else {
            return Err(unknown(&field, schema));
        };
        if !known.repeated
            && let Some(earlier) = settings.iter().find(|earlier| excludes(earlier.schema, known))
        {
            return Err(error_at(field.line, conflict(earlier, known)));
        }
        let line = field.line;
        if field.listed && !known.repeated {
            return Err(error_at(
                line,
                format!("{} takes one value, not a list in brackets", known.name),
            ));
        }
        if field.value == Value::Nothing {
            continue;
        }
        let value = typed(field, known)?;
        let setting = Setting {
            schema: known,
            line,
            value,
        };
        if known.map {
            check_key(&setting, &mut keys)?;
        }
        settings.push(setting);
    }
    Ok(Settings { schema, settings })
}

/// Lines of the entries of maps, by map and key: to look through all of them for each takes minutes for a long text.
type Keys = BTreeMap<(&'static str, String), usize>;

/// Protocol Buffers would let the last entry of a key win, and drop the others without a word.
fn check_key(entry: &Setting, earlier: &mut Keys) -> Result<()> {
    let (name, line) = (entry.schema.name, entry.line);
    let Some(key) = entry.key() else {
        return Ok(());
    };
    match earlier.insert((name, format!("{key:?}")), line) {
        Some(first) => Err(error_at(
            line,
            format!("{name} holds the same key twice, first in line {first}; remove one of them"),
        )),
        None => Ok(()),
    }
}

fn excludes(earlier: &FieldSchema, later: &FieldSchema) -> bool {
    earlier.name == later.name || (later.choice.is_some() && earlier.choice == later.choice)
}

fn conflict(earlier: &Setting, later: &FieldSchema) -> String {
    let (name, line) = (earlier.schema.name, earlier.line);
    if name == later.name {
        return format!("{name} is set twice, first in line {line}; remove one of them");
    }
    format!(
        "{} excludes {name} of line {line}: only one of {} may be set",
        later.name,
        later.choice.unwrap_or("them")
    )
}

fn unknown(field: &Field, schema: &MessageSchema) -> ConfigError {
    let name = &field.name;
    let hint = match schema.nearest(name) {
        Some(near) => format!("did you mean {near}?"),
        None if schema.fields.is_empty() => "it has no fields".to_owned(),
        None => {
            let known: Vec<_> = schema.fields.iter().map(|field| field.name).collect();
            format!("its fields are {}", known.join(", "))
        }
    };
    error_at(
        field.line,
        format!("unknown field {name} in {}; {hint}", schema.name),
    )
}

fn typed(field: Field, known: &'static FieldSchema) -> Result<Typed> {
    let (name, line) = (known.name, field.line);
    let wrong = |what: &str| error_at(line, format!("{name} must be {what}"));
    let scalar = match (known.kind, field.value) {
        (Kind::Message(schema), Value::Message(message)) => {
            return Ok(Typed::Settings(check(message, &MESSAGES[schema])?));
        }
        (Kind::Message(_), _) => return Err(wrong("a message in braces")),
        (Kind::String, Value::String(text)) => Scalar::Text(text),
        (Kind::String, _) => return Err(wrong("a string in quotes")),
        (_, Value::Nothing) => return Err(wrong("a single value")),
        (_, Value::String(_)) => return Err(wrong("a number or a name without quotes")),
        (_, Value::Message(_)) => return Err(wrong("a single value, not a message in braces")),
        (Kind::Enum(schema), Value::Scalar(text)) => {
            Scalar::Choice(choice(name, &text, &ENUMS[schema], line)?)
        }
        (Kind::Bool, Value::Scalar(text)) => match text.as_str() {
            "true" | "True" | "t" | "1" => Scalar::Flag(true),
            "false" | "False" | "f" | "0" => Scalar::Flag(false),
            _ => return Err(wrong(&format!("true or false, not {text}"))),
        },
        (Kind::Real, Value::Scalar(text)) => {
            let digits = text.strip_suffix(['f', 'F']).unwrap_or(&text);
            let number = digits.parse().or_else(|_| text.parse());
            Scalar::Real(number.map_err(|_| wrong(&format!("a number, not {text}")))?)
        }
        (kind, Value::Scalar(text)) => {
            let (least, most) = range(kind);
            let number = whole(&text).ok_or_else(|| wrong(&format!("a whole number, not {text}")))?;
            if !(least..=most).contains(&number) {
                return Err(error_at(
                    line,
                    format!("{name} cannot be {text}; it is between {least} and {most}"),
                ));
            }
            Scalar::Whole(number)
        }
    };
    Ok(Typed::Scalar(scalar))
}

fn range(kind: Kind) -> (i128, i128) {
    match kind {
        Kind::Int32 => (i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 => (0, u32::MAX.into()),
        Kind::Uint64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// Decimal, hexadecimal (`0x1F`) or octal (`017`), with or without a sign.
fn whole(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let number = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i128::from_str_radix(digits, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(digits, 8)
    } else {
        digits.parse()
    };
    number.ok().map(|number| sign * number)
}

/// An enum's value by its name or its number.
fn choice(field: &str, text: &str, schema: &EnumSchema, line: usize) -> Result<&'static str> {
    let number = whole(text);
    let found = schema
        .values
        .iter()
        .find(|(name, value)| *name == text || number == Some(i128::from(*value)));
    found.map(|(name, _)| *name).ok_or_else(|| {
        let names: Vec<_> = schema.values.iter().map(|(name, _)| *name).collect();
        error_at(
            line,
            format!("{field} {text} is not known; it is one of {}", names.join(", ")),
        )
    })
}

impl Setting {
    /// The text of a string or the name of an enum's value; the schema has checked that it is one.
    pub(super) fn text(&self) -> &str {
        match &self.value {
            Typed::Scalar(Scalar::Text(text)) => text,
            Typed::Scalar(Scalar::Choice(name)) => name,
            _ => "",
        }
    }

    /// A whole number in the range of `T`, which may be narrower than that of the schema.
    pub(super) fn whole<T: TryFrom<i128>>(&self) -> Result<T> {
        let number = match &self.value {
            Typed::Scalar(Scalar::Whole(number)) => *number,
            _ => 0,
        };
        T::try_from(number)
            .map_err(|_| error_at(self.line, format!("{} cannot be {number}", self.schema.name)))
    }

    pub(super) fn flag(&self) -> bool {
        matches!(self.value, Typed::Scalar(Scalar::Flag(true)))
    }

    /// The fields of a message; none for what is no message.
    pub(super) fn inner(&self) -> &[Setting] {
        match &self.value {
            Typed::Settings(inner) => &inner.settings,
            Typed::Scalar(_) => &[],
        }
    }

    fn key(&self) -> Option<&Scalar> {
        let key = self.inner().iter().find(|setting| setting.schema.name == "key")?;
        match &key.value {
            Typed::Scalar(key) => Some(key),
            Typed::Settings(_) => None,
        }
    }

    /// Key and value of an entry of a map.
    pub(super) fn entry(&self) -> (&str, &[Setting]) {
        let find = |name| self.inner().iter().find(|setting| setting.schema.name == name);
        (
            find("key").map_or("", Setting::text),
            find("value").map_or(&[], Setting::inner),
        )
    }

    /// Key and value of an entry of a map from strings to strings.
    pub(super) fn texts(&self) -> (&str, &str) {
        let find = |name| self.inner().iter().find(|setting| setting.schema.name == name);
        let text = |name| find(name).map_or("", Setting::text);
        (text("key"), text("value"))
    }

    /// Whether it says what an absent field says. A value of a list never does: without it the list would be shorter.
    pub(super) fn is_default(&self) -> bool {
        if self.schema.repeated {
            return false;
        }
        match (&self.value, self.schema.kind) {
            (Typed::Scalar(Scalar::Choice(name)), Kind::Enum(schema)) => ENUMS[schema]
                .values
                .first()
                .is_some_and(|(first, _)| first == name),
            (Typed::Scalar(Scalar::Text(text)), _) => text.is_empty(),
            (Typed::Scalar(Scalar::Whole(number)), _) => *number == 0,
            (Typed::Scalar(Scalar::Real(number)), _) => *number == 0.0,
            (Typed::Scalar(Scalar::Flag(on)), _) => !on,
            _ => false,
        }
    }
}
