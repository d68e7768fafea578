//! The words, strings and symbols of a text in Protocol Buffers' text format, with their lines.

use super::text_format::{ConfigError, error_at};

type Characters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    String(String),
    Symbol(char),
}

pub(super) fn tokenize(text: &str) -> Result<Vec<(Token, usize)>, ConfigError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut characters = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => line += 1,
            character if character.is_whitespace() => {}
            '#' => while characters.next_if(|next| *next != '\n').is_some() {},
            '{' | '}' | '[' | ']' | '<' | '>' | ':' | ',' | ';' | '-' => {
                tokens.push((Token::Symbol(character), line));
            }
            '"' | '\'' => tokens.push((Token::String(quoted(character, &mut characters, line)?), line)),
            character if character.is_ascii_alphanumeric() || character == '_' || character == '.' => {
                let mut word = String::from(character);
                while let Some(next) = characters.next_if(|next| continues(&word, *next)) {
                    word.push(next);
                }
                tokens.push((Token::Word(word), line));
            }
            other => return Err(error_at(line, format!("'{other}' has no meaning here"))),
        }
    }
    Ok(tokens)
}

/// Whether a character belongs to the word before it; the sign of an exponent does.
fn continues(word: &str, next: char) -> bool {
    let exponent =
        word.starts_with(|first: char| first.is_ascii_digit() || first == '.') && word.ends_with(['e', 'E']);
    next.is_ascii_alphanumeric() || matches!(next, '_' | '.') || (exponent && matches!(next, '-' | '+'))
}

/// A string up to its closing quote. Escapes may name bytes, so it is put together of bytes.
fn quoted(quote: char, characters: &mut Characters<'_>, line: usize) -> Result<String, ConfigError> {
    let mut bytes = Vec::new();
    loop {
        match characters.next() {
            Some(character) if character == quote => {
                return String::from_utf8(bytes)
                    .map_err(|_| error_at(line, "the escapes of a string make bytes that are not UTF-8"));
            }
            None | Some('\n') => return Err(error_at(line, format!("a string lacks its closing {quote}"))),
            Some('\\') => escape(characters, &mut bytes, line)?,
            Some(character) => push(&mut bytes, character),
        }
    }
}

fn push(bytes: &mut Vec<u8>, character: char) {
    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

/// What stands after a backslash.
fn escape(characters: &mut Characters<'_>, bytes: &mut Vec<u8>, line: usize) -> Result<(), ConfigError> {
    let wrong = |shown: &str| error_at(line, format!("escape \\{shown} is not supported in a string"));
    let Some(first) = characters.next() else {
        return Err(wrong(""));
    };
    match first {
        'a' => bytes.push(7),
        'b' => bytes.push(8),
        't' => bytes.push(b'\t'),
        'n' => bytes.push(b'\n'),
        'v' => bytes.push(11),
        'f' => bytes.push(12),
        'r' => bytes.push(b'\r'),
        '\\' | '"' | '\'' | '?' => push(bytes, first),
        '0'..='7' => {
            let digits = first.to_string() + &digits(characters, 8, 2);
            let byte = u8::from_str_radix(&digits, 8);
            bytes.push(byte.map_err(|_| wrong(&digits))?);
        }
        'x' | 'X' => {
            let digits = digits(characters, 16, 2);
            bytes.push(u8::from_str_radix(&digits, 16).map_err(|_| wrong("x"))?);
        }
        'u' | 'U' => {
            let length = if first == 'u' { 4 } else { 8 };
            let digits = digits(characters, 16, length);
            let character = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
            match character {
                Some(character) if digits.len() == length => push(bytes, character),
                _ => return Err(wrong(&format!("{first}{digits}"))),
            }
        }
        other => return Err(wrong(&other.to_string())),
    }
    Ok(())
}

/// Up to `most` digits.
fn digits(characters: &mut Characters<'_>, radix: u32, most: usize) -> String {
    let mut digits = String::new();
    while digits.len() < most
        && let Some(digit) = characters.next_if(|next| next.is_digit(radix))
    {
        digits.push(digit);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_characters_and_of_bytes_are_understood() {
        let text = r#""\a\b\t\n\v\f\r\\\"\'\?" "\101\x42\u00e9\U0001F600" "\303\xa9""#;
        let strings: Vec<_> = tokenize(text)
            .unwrap()
            .into_iter()
            .map(|(token, _)| token)
            .collect();
        assert_eq!(
            strings,
            ["\u{7}\u{8}\t\n\u{b}\u{c}\r\\\"'?", "ABé😀", "é"].map(|text| Token::String(text.into()))
        );
    }

    #[test]
    fn escapes_that_mean_nothing_are_refused() {
        for (text, message) in [
            (r#""\q""#, "escape \\q is not supported in a string"),
            (r#""\x""#, "escape \\x is not supported in a string"),
            (r#""\777""#, "escape \\777 is not supported in a string"),
            (r#""\u12""#, "escape \\u12 is not supported in a string"),
            (r#""\ud800""#, "escape \\ud800 is not supported in a string"),
            (
                r#""\xff""#,
                "the escapes of a string make bytes that are not UTF-8",
            ),
            ("\"\\", "escape \\ is not supported in a string"),
        ] {
            assert_eq!(tokenize(text).unwrap_err(), error_at(1, message), "{text}");
        }
    }
}
