//! The outputs that a request names, and which of them it wants as binary data.
//!
//! Read one by one and kept by name, as Triton does, so that millions of them take no more memory than a model's few.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::infer::Parameters;
use crate::configuration::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::protocol::classification::{self, Classes};
use crate::protocol::shared_memory::{Access, Places};

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Parameters,
}

/// How the client wants the outputs.
#[derive(Default)]
pub(super) struct Wanted {
    /// Whether outputs are binary data where nothing is said of them.
    pub(super) by_default: bool,
    /// The same for those of which something is said.
    pub(super) by_name: BTreeMap<String, bool>,
    /// Those of which classes are wanted.
    pub(super) classes: Classes,
    /// Those that are wanted in shared memory.
    pub(super) places: Places,
}

impl Wanted {
    pub(super) fn binary(&self, name: &str) -> bool {
        self.by_name.get(name).copied().unwrap_or(self.by_default)
    }
}

/// What was read so far.
pub(super) struct WantedOutputs<'a> {
    model: &'a ModelConfig,
    access: &'a Access,
    /// Names, each once, in the order asked for.
    pub(super) outputs: Vec<String>,
    pub(super) wanted: Wanted,
    refusal: Option<InferenceError>,
}

impl<'a> WantedOutputs<'a> {
    pub(super) fn new(model: &'a ModelConfig, by_default: bool, access: &'a Access) -> Self {
        Self {
            model,
            access,
            outputs: Vec::new(),
            wanted: Wanted {
                by_default,
                ..Wanted::default()
            },
            refusal: None,
        }
    }

    /// Reads the list of outputs of a request.
    pub(super) fn read(&mut self, list: &RawValue) -> Result<()> {
        let mut deserializer = serde_json::Deserializer::from_str(list.get());
        let read = deserializer.deserialize_seq(&mut *self);
        read.map_err(|error| {
            self.refusal.take().unwrap_or_else(|| {
                InferenceError::invalid(format!(
                    "failed to parse the request JSON buffer: outputs: {error}"
                ))
            })
        })
    }

    fn add(&mut self, output: Output) -> Result<()> {
        self.model.output_position(&output.name)?;
        for (name, value) in &output.parameters {
            match name.as_str() {
                "binary_data" => {
                    let binary = value.as_bool(name)?;
                    self.wanted.by_name.insert(output.name.clone(), binary);
                }
                "classification" => classification::want(&mut self.wanted.classes, &output.name, value)?,
                _ => {}
            }
        }
        let parameters = output.parameters.iter();
        let place = self.access.place(
            &output.name,
            parameters.map(|(name, value)| (name.as_str(), value)),
        )?;
        if let Some(place) = place {
            classification::check_place(&self.wanted.classes, &output.name)?;
            self.wanted.places.insert(output.name.clone(), place);
        }
        if !self.outputs.contains(&output.name) {
            self.outputs.push(output.name);
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut WantedOutputs<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a list of outputs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(output) = list.next_element()? {
            if let Err(refusal) = self.add(output) {
                self.refusal = Some(refusal);
                return Err(A::Error::custom("an output is refused"));
            }
        }
        Ok(())
    }
}
