//! What a session runs on, and how ONNX Runtime is told.

use std::path::Path;

use anyhow::Context as _;
use ort::ep::{
    ArbitrarilyConfigurableExecutionProvider as _, CPU, CUDA, ExecutionProvider as _,
    ExecutionProviderDispatch, TensorRT,
};

use crate::configuration::SessionSettings;

/// What a session runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The CPUs of the container.
    Cpu,
    /// A GPU, as CUDA counts those that the container sees.
    Gpu(u32),
}

/// GPUs that models may run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// The server was not told to use any.
    Off,
    /// So many are there.
    Visible(u32),
}

impl Gpus {
    /// Those whose device files the container has, as NVIDIA's device plugin gives them to it.
    pub fn visible() -> Self {
        let is_gpu = |name: &str| {
            name.strip_prefix("nvidia").is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
            })
        };
        let entries = std::fs::read_dir("/dev")
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let found = entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_gpu))
            .count();
        Self::Visible(u32::try_from(found).unwrap_or(u32::MAX))
    }
}

/// Refuses a library that cannot use the GPUs it is to use.
pub(super) fn check(library: &Path, gpus: Gpus) -> anyhow::Result<()> {
    let Gpus::Visible(visible) = gpus else {
        return Ok(());
    };
    let has_cuda = CUDA::is_available().context("ONNX Runtime does not say what it was built with")?;
    anyhow::ensure!(
        has_cuda,
        "--enable-gpu needs ONNX Runtime with CUDA, and {} was built without; use the image inference-pod-gpu, or name a library \
         of the package onnxruntime-gpu with --onnxruntime-library",
        library.display()
    );
    if visible == 0 {
        tracing::warn!(
            "--enable-gpu is set and this container sees no GPU; models without KIND_GPU run on its CPUs"
        );
    }
    tracing::info!(gpus = visible, "GPUs for models");
    Ok(())
}

/// ONNX Runtime's providers for a session, the first that can run an operator runs it. One that cannot be used is an
/// error: what to do then is not decided here.
pub(super) fn providers(device: Device, settings: &SessionSettings) -> Vec<ExecutionProviderDispatch> {
    let cpu = CPU::default().with_arena_allocator(settings.memory_arena).build();
    let Device::Gpu(gpu) = device else {
        return vec![cpu];
    };
    let gpu = i32::try_from(gpu).unwrap_or(i32::MAX);
    let mut providers = Vec::new();
    if let Some(options) = &settings.gpu.tensorrt {
        let mut tensorrt = TensorRT::default().with_device_id(gpu);
        for (name, value) in options {
            tensorrt = tensorrt.with_arbitrary_config(name, value);
        }
        providers.push(tensorrt.build().error_on_failure());
    }
    let mut cuda = CUDA::default().with_device_id(gpu);
    if settings.gpu.graphs {
        cuda = cuda.with_cuda_graph(true);
    }
    for (name, value) in &settings.gpu.cuda {
        cuda = cuda.with_arbitrary_config(name, value);
    }
    providers.push(cuda.build().error_on_failure());
    providers.push(cpu);
    providers
}
