//! Opening the sessions of a version: where its configuration wants them, with weights that they share.

use std::path::Path;

use super::placement::{self, Placement};
use crate::configuration::{GpuSettings, InstanceGroup, SessionSettings};
use crate::runtime::{Device, GraphSession, Runtime, SessionError, SharedWeights};

/// Why the sessions cannot be opened.
pub(super) enum OpenError {
    /// They cannot run where they are wanted; with the remedy.
    Placement(String),
    /// ONNX Runtime refuses the graph.
    Session(SessionError),
}

/// The sessions, and the groups as they were opened. Blocks for as long as ONNX Runtime takes.
pub(super) fn open(
    runtime: &Runtime,
    path: &Path,
    groups: &[InstanceGroup],
    settings: &SessionSettings,
) -> Result<(Vec<GraphSession>, Vec<InstanceGroup>), OpenError> {
    let mut placements = placement::place(groups, runtime.gpus()).map_err(OpenError::Placement)?;
    let weights = shared_weights(&placements, path).map_err(OpenError::Session)?;
    let mut sessions = Vec::new();
    for placement in &mut placements {
        match open_all(runtime, path, &placement.devices, &weights, settings) {
            Ok(opened) => sessions.extend(opened),
            Err(error) if placement.falls_back => {
                tracing::warn!(
                    path = %path.display(),
                    %error,
                    "instances of KIND_AUTO run on the CPU: the GPU cannot be used"
                );
                placement.devices = vec![Device::Cpu; placement.devices.len()];
                let opened = open_all(runtime, path, &placement.devices, &weights, settings);
                sessions.extend(opened.map_err(OpenError::Session)?);
            }
            Err(error) => return Err(OpenError::Session(error)),
        }
    }
    if settings.gpu != GpuSettings::default() && placements.iter().all(Placement::is_on_cpu) {
        tracing::warn!(
            path = %path.display(),
            "optimization.cuda, gpu_execution_accelerator and the parameters of CUDA have no effect: all instances run on the CPU"
        );
    }
    let mut groups = groups.to_vec();
    placement::describe(&mut groups, &placements);
    Ok((sessions, groups))
}

/// Sessions on the CPU share their weights; a single one needs no copy besides its own, and those on a GPU have theirs
/// there.
fn shared_weights(placements: &[Placement], path: &Path) -> Result<SharedWeights, SessionError> {
    let devices = placements.iter().flat_map(|placement| &placement.devices);
    if devices.filter(|device| **device == Device::Cpu).count() < 2 {
        return Ok(SharedWeights::default());
    }
    SharedWeights::read(path).map_err(SessionError::Refused)
}

fn open_all(
    runtime: &Runtime,
    path: &Path,
    devices: &[Device],
    weights: &SharedWeights,
    settings: &SessionSettings,
) -> Result<Vec<GraphSession>, SessionError> {
    let none = SharedWeights::default();
    let open = |device: &Device| {
        let weights = if *device == Device::Cpu { weights } else { &none };
        runtime.open(path, *device, weights, settings)
    };
    devices.iter().map(open).collect()
}
