//! SHA-256 digests of files, and of a version as a whole.

use std::fmt;
use std::io::Read as _;
use std::path::Path;
use std::str::FromStr;

use crate::error::{RepositoryError, Result};
use crate::manifest::ManifestFile;
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "sha256:";
const READ_BUFFER_BYTES: usize = 1 << 20;

/// `sha256:` and 64 lower-case hexadecimal digits: the identity of a model version's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of a version: that of one line `<sha256 in hex><two spaces><path>\n` per file, sorted by path, which is
    /// what `sha256sum * | sha256sum` prints in the version's folder without its manifest.
    pub fn of_files(files: &[ManifestFile]) -> Self {
        let mut sorted: Vec<_> = files.iter().collect();
        sorted.sort_by(|left, right| left.path.cmp(&right.path));
        let mut hasher = Hasher::default();
        for file in sorted {
            hasher.update(format!("{}  {}\n", file.sha256, file.path).as_bytes());
        }
        Self(format!("{PREFIX}{}", hasher.finish()))
    }

    /// The 64 hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    /// Name of the folder that caches these bytes: `sha256-` and the digits.
    pub fn folder_name(&self) -> String {
        format!("sha256-{}", self.hex())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text
            .strip_prefix(PREFIX)
            .ok_or_else(|| format!("digest \"{text}\" does not start with \"{PREFIX}\""))?;
        if !is_sha256_hex(hex) {
            return Err(format!(
                "digest \"{text}\" does not have 64 lower-case hexadecimal digits"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

pub(crate) fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Hashes what streams by.
pub struct Hasher(Context);

impl Default for Hasher {
    fn default() -> Self {
        Self(Context::new(&SHA256))
    }
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The SHA-256 of all bytes added, as 64 hexadecimal digits.
    pub fn finish(self) -> String {
        let digest = self.0.finish();
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Size in bytes and SHA-256 (hexadecimal) of a file, read in pieces.
pub async fn hash_file(path: &Path) -> Result<(u64, String)> {
    let read = path.to_owned();
    // One blocking call rather than one for each piece.
    let hashing = tokio::task::spawn_blocking(move || hash_open_file(&mut crate::regular::open(&read)?));
    let hashed = hashing
        .await
        .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
    hashed.map_err(RepositoryError::io(path))
}

fn hash_open_file(file: &mut std::fs::File) -> std::io::Result<(u64, String)> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; READ_BUFFER_BYTES];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((size, hasher.finish()));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_files_is_what_sha256sum_prints_twice() {
        // printf hello >a; printf world >b; sha256sum * | sha256sum
        let file = |path: &str, content: &[u8]| {
            let mut hasher = Hasher::default();
            hasher.update(content);
            ManifestFile {
                path: path.to_owned(),
                size_bytes: content.len() as u64,
                sha256: hasher.finish(),
            }
        };
        let expected = std::process::Command::new("sh")
            .args([
                "-c",
                "cd $(mktemp -d) && printf hello >a && printf world >b && sha256sum * | sha256sum",
            ])
            .output()
            .unwrap();
        let expected = String::from_utf8(expected.stdout).unwrap();
        let digest = Digest::of_files(&[file("b", b"world"), file("a", b"hello")]);
        assert_eq!(Some(digest.hex()), expected.split_whitespace().next());
    }

    #[test]
    fn a_digest_has_a_prefix_and_64_digits() {
        let hex = "a".repeat(64);
        assert!(format!("sha256:{hex}").parse::<Digest>().is_ok());
        for wrong in [
            hex.clone(),
            format!("sha512:{hex}"),
            "sha256:abc".to_owned(),
            format!("sha256:{}", "G".repeat(64)),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
