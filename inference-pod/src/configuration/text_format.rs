//! Protocol Buffers' text format, read into a tree that knows its lines.
//!
//! It follows <https://protobuf.dev/reference/protobuf/textformat-spec/>; extensions and `Any` have no use in
//! configurations of models and are refused.

use std::fmt;

use super::tokens::{Token, tokenize};

/// Messages nested deeper than this are refused; real configurations have five levels.
const DEEPEST: usize = 32;

/// What is wrong with a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Line, from 1; 0 when the error is about no particular line.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(formatter, "config.pbtxt: {}", self.message),
            line => write!(formatter, "config.pbtxt line {line}: {}", self.message),
        }
    }
}

pub(super) fn error_at(line: usize, message: impl Into<String>) -> ConfigError {
    ConfigError {
        line,
        message: message.into(),
    }
}

/// A message: its fields in the order of the text. A repeated field is there several times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) line: usize,
    /// Whether it stands in brackets, which only repeated fields may.
    pub(super) listed: bool,
    pub(super) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Message(Message),
    String(String),
    /// A number or an identifier (`true`, `TYPE_FP32`) as written, with its sign.
    Scalar(String),
    /// Brackets with nothing in them.
    Nothing,
}

/// Parses a whole text.
pub(super) fn parse(text: &str) -> Result<Message, ConfigError> {
    let mut parser = Parser {
        tokens: tokenize(text)?,
        next: 0,
        last_line: text.lines().count().max(1),
    };
    let message = parser.fields(None, 0)?;
    Ok(message)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    next: usize,
    last_line: usize,
}

impl Parser {
    fn fields(&mut self, end: Option<char>, depth: usize) -> Result<Message, ConfigError> {
        let mut message = Message::default();
        if depth > DEEPEST {
            return Err(error_at(
                self.line(),
                format!("messages are nested more than {DEEPEST} deep"),
            ));
        }
        loop {
            let line = self.line();
            match self.take() {
                None if end.is_none() => return Ok(message),
                None => {
                    return Err(error_at(
                        self.last_line,
                        format!("the text ends where '{}' is missing", end.unwrap_or('}')),
                    ));
                }
                Some(Token::Symbol(symbol)) if Some(symbol) == end => return Ok(message),
                Some(Token::Word(name)) if is_identifier(&name) => {
                    self.field(&name, line, depth, &mut message)?;
                }
                Some(token) => {
                    return Err(error_at(
                        line,
                        format!("expected a field name, found {}", describe(&token)),
                    ));
                }
            }
        }
    }

    fn field(
        &mut self,
        name: &str,
        line: usize,
        depth: usize,
        message: &mut Message,
    ) -> Result<(), ConfigError> {
        let colon = self.skip(':');
        let listed = self.skip('[');
        let mut push = |line, value| {
            message.fields.push(Field {
                name: name.to_owned(),
                line,
                listed,
                value,
            });
        };
        if !listed {
            push(line, self.value(name, colon, depth)?);
        } else if self.skip(']') {
            push(line, Value::Nothing);
        } else {
            loop {
                push(self.line(), self.value(name, colon, depth)?);
                if self.skip(']') {
                    break;
                }
                if !self.skip(',') {
                    return Err(error_at(
                        self.line(),
                        format!("expected ',' or ']' in the list of {name}"),
                    ));
                }
            }
        }
        if !self.skip(',') {
            self.skip(';');
        }
        Ok(())
    }

    fn value(&mut self, name: &str, colon: bool, depth: usize) -> Result<Value, ConfigError> {
        let line = self.line();
        match self.take() {
            Some(Token::Symbol('{')) => Ok(Value::Message(self.fields(Some('}'), depth + 1)?)),
            Some(Token::Symbol('<')) => Ok(Value::Message(self.fields(Some('>'), depth + 1)?)),
            Some(token) if !colon => Err(error_at(
                line,
                format!("expected ':' or '{{' after {name}, found {}", describe(&token)),
            )),
            Some(Token::String(mut text)) => {
                // Strings that follow each other are one.
                while let Some((Token::String(more), _)) = self.tokens.get(self.next) {
                    text.push_str(more);
                    self.next += 1;
                }
                Ok(Value::String(text))
            }
            Some(Token::Word(word)) => Ok(Value::Scalar(word)),
            Some(Token::Symbol('-')) => match self.take() {
                Some(Token::Word(word)) => Ok(Value::Scalar(format!("-{word}"))),
                _ => Err(error_at(line, "expected a number after '-'")),
            },
            Some(token) => Err(error_at(
                line,
                format!("expected a value of {name}, found {}", describe(&token)),
            )),
            None => Err(error_at(
                self.last_line,
                format!("the text ends where a value of {name} is missing"),
            )),
        }
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).map(|(token, _)| token.clone());
        self.next += 1;
        token
    }

    fn skip(&mut self, symbol: char) -> bool {
        let found = matches!(self.tokens.get(self.next), Some((Token::Symbol(next), _)) if *next == symbol);
        self.next += usize::from(found);
        found
    }

    fn line(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.last_line, |(_, line)| *line)
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("'{word}'"),
        Token::String(text) => format!("\"{text}\""),
        Token::Symbol(symbol) => format!("'{symbol}'"),
    }
}

fn is_identifier(word: &str) -> bool {
    word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && word
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || character == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Value {
        Value::Scalar(text.to_owned())
    }

    #[test]
    fn every_way_to_write_a_field_is_understood() {
        let message = parse(
            "# a comment\nname: \"a\" 'b'  max_batch_size: 8;\ninput [ { dims: [ -1, 2 ] }, { } ]\ninput < dims: 3 >\nx: -1.5e-3",
        )
        .unwrap();
        let names: Vec<_> = message
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.line))
            .collect();
        assert_eq!(
            names,
            [
                ("name", 2),
                ("max_batch_size", 2),
                ("input", 3),
                ("input", 3),
                ("input", 4),
                ("x", 5)
            ]
        );
        assert_eq!(message.fields[0].value, Value::String("ab".into()));
        assert_eq!(message.fields[1].value, scalar("8"));
        let Value::Message(input) = &message.fields[2].value else {
            panic!("a message")
        };
        assert_eq!(
            input.fields.iter().map(|field| &field.value).collect::<Vec<_>>(),
            [&scalar("-1"), &scalar("2")]
        );
        assert_eq!(message.fields[5].value, scalar("-1.5e-3"));
    }

    #[test]
    fn errors_name_their_line() {
        for (text, line, part) in [
            ("a: 1\nb 2", 2, "expected ':' or '{' after b"),
            ("a {\n b: 1\n", 2, "'}' is missing"),
            ("a: \"x\nb: 1", 1, "closing"),
            ("\n\na: [1 2]", 3, "expected ',' or ']'"),
            ("a: %", 1, "no meaning"),
            ("}", 1, "expected a field name"),
            ("a:", 1, "a value of a is missing"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
        }
        assert!(
            parse(&"a {".repeat(10_000))
                .unwrap_err()
                .message
                .contains("nested")
        );
    }
}
