//! Objects of POSIX shared memory, in which clients on the same machine leave inputs and find outputs.
//!
//! They are read and written as files rather than mapped: an object that its owner cuts short is an error then, not the end
//! of this process. What is read is a copy, so it does not change while the model works on it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::parameters::Parameter;
use crate::error::{ErrorKind, InferenceError, Result};
use crate::memory::Reservation;

const FOLDER: &str = "/dev/shm";
/// As much as a message of the protocol can hold.
const LARGEST_INPUT_BYTES: u64 = i32::MAX as u64;

/// The regions that clients registered.
pub struct SharedMemory {
    allowed: bool,
    regions: Mutex<BTreeMap<String, Arc<Region>>>,
}

/// A part of an object.
pub(super) struct Region {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) offset: u64,
    pub(super) byte_size: u64,
    object: File,
}

impl SharedMemory {
    /// With no regions; `allowed` says whether clients may register any.
    pub fn new(allowed: bool) -> Self {
        Self {
            allowed,
            regions: Mutex::default(),
        }
    }

    pub(super) fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// Whether requests may refer to a region, whose tensors can be large where their messages are small.
    pub(super) fn is_used(&self) -> bool {
        self.allowed && !self.regions().is_empty()
    }

    /// Registers a part of an object by its key.
    pub(super) fn register(&self, name: String, key: String, offset: u64, byte_size: u64) -> Result<()> {
        if !self.allowed {
            return Err(InferenceError::unsupported(
                "shared memory is not allowed by this server; send tensors in the request, or start it with \
                 --allow-client-shm=true",
            ));
        }
        let exists = |regions: &BTreeMap<_, _>| match regions.contains_key(&name) {
            true => Err(InferenceError {
                kind: ErrorKind::AlreadyExists,
                message: format!("shared memory region '{name}' already in manager"),
            }),
            false => Ok(()),
        };
        exists(&self.regions())?;
        let object = open(&key)?;
        check_bounds(&name, &object, offset, byte_size)?;
        let mut regions = self.regions();
        exists(&regions)?;
        let region = Region {
            name: name.clone(),
            key,
            offset,
            byte_size,
            object,
        };
        regions.insert(name, Arc::new(region));
        Ok(())
    }

    /// Forgets a region, or all without a name. Requests that refer to it already go on.
    pub(super) fn unregister(&self, name: Option<&str>) {
        let mut regions = self.regions();
        match name {
            Some(name) => drop(regions.remove(name)),
            None => regions.clear(),
        }
    }

    /// A region, or all without a name.
    pub(super) fn status(&self, name: Option<&str>) -> Result<Vec<Arc<Region>>> {
        let regions = self.regions();
        let Some(name) = name else {
            return Ok(regions.values().cloned().collect());
        };
        match regions.get(name) {
            Some(region) => Ok(vec![Arc::clone(region)]),
            None => Err(InferenceError::not_found(format!(
                "Unable to find system shared memory region: '{name}'"
            ))),
        }
    }

    fn regions(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Region>>> {
        self.regions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(key: &str) -> Result<File> {
    let refused = |why: &dyn std::fmt::Display| {
        InferenceError::internal(format!("Unable to open shared memory region: '{key}': {why}"))
    };
    let name = key.strip_prefix('/').unwrap_or(key);
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(refused(
            &"its key must be a name, with one slash before it at most",
        ));
    }
    let path = PathBuf::from(FOLDER).join(name);
    let found = std::fs::symlink_metadata(&path).map_err(|error| refused(&error))?;
    if !found.is_file() {
        return Err(refused(&"it is no object of shared memory"));
    }
    let object = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|error| refused(&error))?;
    // Whoever changed it into a link meanwhile wants to lead us elsewhere.
    let opened = object.metadata().map_err(|error| refused(&error))?;
    if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
        return Err(refused(&"it was replaced while it was opened"));
    }
    Ok(object)
}

fn check_bounds(name: &str, object: &File, offset: u64, byte_size: u64) -> Result<()> {
    let invalid = |why: String| {
        InferenceError::invalid(format!(
            "failed to register shared memory region '{name}': invalid args: {why}"
        ))
    };
    let size = object
        .metadata()
        .map_err(|error| invalid(error.to_string()))?
        .len();
    match offset.checked_add(byte_size) {
        _ if byte_size == 0 => Err(invalid("byte_size must be at least 1".to_owned())),
        Some(end) if end <= size => Ok(()),
        _ => Err(invalid(format!(
            "the object has {size} bytes, which an offset of {offset} and a byte_size of {byte_size} exceed"
        ))),
    }
}

/// The part of a region that a tensor takes.
#[derive(Clone)]
pub(super) struct Place {
    region: Arc<Region>,
    /// From the beginning of the object.
    offset: u64,
    byte_size: u64,
}

impl Place {
    fn read(&self, memory: &Reservation) -> Result<Bytes> {
        let name = &self.region.name;
        if self.byte_size > LARGEST_INPUT_BYTES {
            return Err(InferenceError::invalid(format!(
                "an input in shared memory region '{name}' has {} bytes, and {LARGEST_INPUT_BYTES} are the most",
                self.byte_size
            )));
        }
        let size = usize::try_from(self.byte_size).unwrap_or(usize::MAX);
        memory.grow(size)?;
        let mut bytes = vec![0; size];
        let read = self.region.object.read_exact_at(&mut bytes, self.offset);
        read.map_err(|error| self.unusable("read", &error))?;
        Ok(bytes.into())
    }

    /// Puts an output there.
    pub(super) fn write(&self, output: &str, bytes: &[u8]) -> Result<()> {
        if bytes.len() as u64 > self.byte_size {
            return Err(InferenceError::internal(format!(
                "shared memory size specified with the request for output '{output}' ({} bytes) should be at least {} \
                 bytes to hold the results",
                self.byte_size,
                bytes.len()
            )));
        }
        // To write behind the end would make the object longer, which its owner did not ask for.
        let size = self.region.object.metadata().map(|found| found.len());
        let written = match size {
            Ok(size) if self.offset + self.byte_size > size => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => self.region.object.write_all_at(bytes, self.offset),
            Err(error) => Err(error),
        };
        written.map_err(|error| self.unusable("written", &error))
    }

    fn unusable(&self, what: &str, error: &io::Error) -> InferenceError {
        InferenceError::invalid(format!(
            "shared memory region '{}' cannot be {what}: {}",
            self.region.name,
            match error.kind() {
                io::ErrorKind::UnexpectedEof =>
                    "its object became shorter after it was registered; register it again".to_owned(),
                _ => error.to_string(),
            }
        ))
    }
}

/// Outputs that are wanted in regions, by name.
pub(super) type Places = BTreeMap<String, Place>;

/// What one request may use.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) shared: Arc<SharedMemory>,
    pub(super) memory: Arc<Reservation>,
}

impl Access {
    /// The place that a tensor's parameters name, if they name one.
    pub(super) fn place<'a>(
        &self,
        tensor: &str,
        parameters: impl Iterator<Item = (&'a str, &'a Parameter)>,
    ) -> Result<Option<Place>> {
        let (mut region, mut offset, mut byte_size) = (None, 0, 0);
        for (name, value) in parameters {
            match name {
                "shared_memory_region" => match value {
                    Parameter::Text(text) => region = Some(text.as_str()),
                    _ => {
                        return Err(InferenceError::invalid(format!(
                            "tensor '{tensor}': parameter '{name}' must be a string"
                        )));
                    }
                },
                "shared_memory_offset" => offset = value.as_unsigned(name)?,
                "shared_memory_byte_size" => byte_size = value.as_unsigned(name)?,
                _ => {}
            }
        }
        let Some(name) = region else {
            return Ok(None);
        };
        if !self.shared.allowed {
            return Err(InferenceError::unsupported(format!(
                "tensor '{tensor}': shared memory is not allowed by this server; send the data, or start it with \
                 --allow-client-shm=true"
            )));
        }
        let region = self.shared.regions().get(name).cloned().ok_or_else(|| {
            InferenceError::not_found(format!("Unable to find shared memory region: '{name}'"))
        })?;
        place(region, offset, byte_size).map(Some)
    }

    /// The bytes that an input's parameters refer to, if they do.
    pub(super) fn input<'a>(
        &self,
        tensor: &str,
        parameters: impl Iterator<Item = (&'a str, &'a Parameter)>,
    ) -> Result<Option<Bytes>> {
        let place = self.place(tensor, parameters)?;
        place.map(|place| place.read(&self.memory)).transpose()
    }
}

fn place(region: Arc<Region>, offset: u64, byte_size: u64) -> Result<Place> {
    let invalid = |what: &str| {
        InferenceError::invalid(format!(
            "Invalid {what} for shared memory region: '{}'",
            region.name
        ))
    };
    if offset >= region.byte_size {
        return Err(invalid("offset"));
    }
    if byte_size == 0 || byte_size > region.byte_size - offset {
        return Err(invalid("offset + byte size"));
    }
    Ok(Place {
        offset: region.offset + offset,
        byte_size,
        region,
    })
}

#[cfg(test)]
mod tests;
