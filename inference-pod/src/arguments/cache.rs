//! Which answers are kept, and how many.

use clap::Args;

/// The response cache.
#[derive(Debug, Args)]
pub struct CacheArguments {
    /// Keep answers for requests that ask the same again, of models that enable it: local,size=BYTES for all models together.
    #[arg(long, value_name = "CACHE,KEY=VALUE", value_parser = parse_setting)]
    pub cache_config: Vec<usize>,
    /// The same by its older name: --cache-config=local,size=BYTES; 0 keeps nothing.
    #[arg(long, value_name = "BYTES", conflicts_with = "cache_config")]
    pub response_cache_byte_size: Option<usize>,
}

impl CacheArguments {
    /// Bytes that kept answers may take; nothing where none are kept.
    pub fn size(&self) -> anyhow::Result<Option<usize>> {
        let size = match (self.cache_config.as_slice(), self.response_cache_byte_size) {
            ([], older) => older.unwrap_or_default(),
            ([size], _) => *size,
            ([..], _) => anyhow::bail!("--cache-config is given twice, and there is one cache: give it once"),
        };
        Ok((size > 0).then_some(size))
    }
}

/// The size out of `local,size=BYTES`.
fn parse_setting(text: &str) -> Result<usize, String> {
    let (cache, setting) = text.split_once(',').unwrap_or((text, ""));
    if cache != "local" {
        return Err(format!(
            "there is no cache \"{cache}\", answers are kept in this process; use --cache-config=local,size=BYTES"
        ));
    }
    match setting.split_once('=') {
        Some(("size", size)) => size
            .parse()
            .map_err(|_| format!("size \"{size}\" of the cache is not a number of bytes, such as 104857600")),
        Some((key, _)) => Err(format!(
            "the cache \"local\" has no setting \"{key}\"; use --cache-config=local,size=BYTES"
        )),
        None => Err("the cache \"local\" needs its size; use --cache-config=local,size=BYTES".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::arguments::Arguments;

    fn size(arguments: &[&str]) -> Result<Option<usize>, String> {
        let all = [&["server", "--model-repository=/m"], arguments].concat();
        let parsed = Arguments::try_parse_from(all).map_err(|error| error.to_string())?;
        parsed.serve.cache.size().map_err(|error| error.to_string())
    }

    #[test]
    fn the_cache_is_configured_as_tritonserver_s_is() {
        for (arguments, bytes) in [
            (&[][..], None),
            (&["--cache-config=local,size=1048576"], Some(1_048_576)),
            (&["--cache-config", "local,size=0"], None),
            (&["--response-cache-byte-size=77"], Some(77)),
            (&["--response-cache-byte-size", "0"], None),
        ] {
            assert_eq!(size(arguments), Ok(bytes), "{arguments:?}");
        }
        for (arguments, part) in [
            (
                &["--cache-config=redis,host=x"][..],
                "use --cache-config=local,size=BYTES",
            ),
            (&["--cache-config=local"], "needs its size"),
            (&["--cache-config=local,entries=5"], "no setting \"entries\""),
            (&["--cache-config=local,size=1MB"], "not a number of bytes"),
            (
                &["--cache-config=local,size=1", "--cache-config=local,size=2"],
                "given twice",
            ),
            (
                &["--cache-config=local,size=1", "--response-cache-byte-size=2"],
                "cannot be used with",
            ),
        ] {
            let error = size(arguments).unwrap_err();
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }
}
