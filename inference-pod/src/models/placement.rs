//! On which devices the sessions of a model are opened.

use crate::configuration::{InstanceGroup, InstanceKind};
use crate::runtime::{Device, Gpus};

/// A group of sessions on the devices that were found for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// One for each session.
    pub(super) devices: Vec<Device>,
    /// Whether the CPU will do when a GPU cannot be used after all.
    pub(super) falls_back: bool,
}

impl Placement {
    pub(super) fn is_on_cpu(&self) -> bool {
        self.devices.iter().all(|device| *device == Device::Cpu)
    }
}

/// Places each group. An error says which cannot be, and what to do.
pub(super) fn place(groups: &[InstanceGroup], gpus: Gpus) -> Result<Vec<Placement>, String> {
    groups.iter().map(|group| place_group(group, gpus)).collect()
}

fn place_group(group: &InstanceGroup, gpus: Gpus) -> Result<Placement, String> {
    let on_cpu = || Placement {
        devices: vec![Device::Cpu; group.count as usize],
        falls_back: false,
    };
    match (group.kind, gpus) {
        (InstanceKind::Cpu, _) | (InstanceKind::Auto, Gpus::Off | Gpus::Visible(0)) => Ok(on_cpu()),
        (InstanceKind::Gpu, Gpus::Off) => Err(
            "instance_group has kind KIND_GPU, and this server does not use GPUs; give it --enable-gpu and ONNX Runtime with \
             CUDA (the image inference-pod-gpu), or use KIND_CPU or KIND_AUTO"
                .to_owned(),
        ),
        (kind, Gpus::Visible(visible)) => Ok(Placement {
            devices: on_gpus(group, visible)?,
            falls_back: kind == InstanceKind::Auto,
        }),
    }
}

fn on_gpus(group: &InstanceGroup, visible: u32) -> Result<Vec<Device>, String> {
    if visible == 0 {
        return Err(
            "instance_group has kind KIND_GPU, and this container sees no GPU (there is no /dev/nvidia0); give it \
             nvidia.com/gpu, or use KIND_CPU or KIND_AUTO"
                .to_owned(),
        );
    }
    if let Some(absent) = group.gpus.iter().find(|gpu| **gpu >= visible) {
        return Err(format!(
            "instance_group names GPU {absent}, and this container sees {visible}; name GPUs below {visible}, or give the \
             container more of nvidia.com/gpu"
        ));
    }
    let all: Vec<u32> = (0..visible).collect();
    let chosen = if group.gpus.is_empty() { &all } else { &group.gpus };
    let of_gpu = |gpu: &u32| vec![Device::Gpu(*gpu); group.count as usize];
    Ok(chosen.iter().flat_map(of_gpu).collect())
}

/// The groups as they were opened, for those who read the configuration.
pub(super) fn describe(groups: &mut [InstanceGroup], placements: &[Placement]) {
    for (group, placement) in groups.iter_mut().zip(placements) {
        let mut gpus: Vec<u32> = placement
            .devices
            .iter()
            .filter_map(|device| match device {
                Device::Gpu(gpu) => Some(*gpu),
                Device::Cpu => None,
            })
            .collect();
        gpus.dedup();
        group.kind = if gpus.is_empty() {
            InstanceKind::Cpu
        } else {
            InstanceKind::Gpu
        };
        group.gpus = gpus;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(kind: InstanceKind, count: u32, gpus: &[u32]) -> InstanceGroup {
        InstanceGroup {
            kind,
            count,
            gpus: gpus.to_vec(),
        }
    }

    #[test]
    fn groups_go_where_they_may() {
        use Device::{Cpu, Gpu};
        use InstanceKind::Auto;
        let devices = |kind, count, named: &[u32], gpus| {
            let mut placements = place(&[group(kind, count, named)], gpus).unwrap();
            placements.remove(0)
        };
        let cases: [(_, _, &[u32], _, &[Device], bool); 7] = [
            (InstanceKind::Cpu, 2, &[], Gpus::Visible(2), &[Cpu, Cpu], false),
            (Auto, 1, &[], Gpus::Off, &[Cpu], false),
            (Auto, 1, &[], Gpus::Visible(0), &[Cpu], false),
            (Auto, 1, &[], Gpus::Visible(2), &[Gpu(0), Gpu(1)], true),
            (Auto, 2, &[1], Gpus::Visible(2), &[Gpu(1), Gpu(1)], true),
            (InstanceKind::Gpu, 1, &[], Gpus::Visible(1), &[Gpu(0)], false),
            (
                InstanceKind::Gpu,
                2,
                &[0, 1],
                Gpus::Visible(2),
                &[Gpu(0), Gpu(0), Gpu(1), Gpu(1)],
                false,
            ),
        ];
        for (kind, count, named, gpus, expected, falls_back) in cases {
            let placement = devices(kind, count, named, gpus);
            assert_eq!(placement.devices, expected, "{kind:?} {named:?} {gpus:?}");
            assert_eq!(placement.falls_back, falls_back, "{kind:?} {named:?} {gpus:?}");
        }
    }

    #[test]
    fn groups_that_want_a_gpu_that_is_not_there_are_refused() {
        let error = |gpus, named: &[u32]| place(&[group(InstanceKind::Gpu, 1, named)], gpus).unwrap_err();
        assert!(error(Gpus::Off, &[]).contains("--enable-gpu"));
        assert!(error(Gpus::Visible(0), &[]).contains("nvidia.com/gpu"));
        assert!(error(Gpus::Visible(2), &[1, 2]).starts_with("instance_group names GPU 2"));
    }

    #[test]
    fn what_was_opened_is_what_is_shown() {
        let mut groups = [
            group(InstanceKind::Auto, 2, &[]),
            group(InstanceKind::Auto, 1, &[]),
        ];
        let placements = [
            Placement {
                devices: vec![Device::Gpu(0), Device::Gpu(0), Device::Gpu(1), Device::Gpu(1)],
                falls_back: true,
            },
            Placement {
                devices: vec![Device::Cpu],
                falls_back: true,
            },
        ];
        describe(&mut groups, &placements);
        assert_eq!(
            groups,
            [
                group(InstanceKind::Gpu, 2, &[0, 1]),
                group(InstanceKind::Cpu, 1, &[])
            ]
        );
    }
}
