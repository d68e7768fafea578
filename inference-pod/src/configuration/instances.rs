//! How many sessions a model has, and on what they run.

/// A group of sessions that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceGroup {
    /// On what they run.
    pub kind: InstanceKind,
    /// Sessions; of each GPU where there are several.
    pub count: u32,
    /// Numbers of GPUs, as CUDA counts those that the container sees; all of them where none is named.
    pub gpus: Vec<u32>,
}

/// On what a session runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceKind {
    /// On a GPU where one can be used, else on the CPU.
    Auto,
    /// On the CPU.
    Cpu,
    /// On a GPU, and nowhere else.
    Gpu,
}

impl InstanceKind {
    /// All kinds, with the names that `config.pbtxt` has for them.
    pub const NAMES: [(&str, Self); 3] = [
        ("KIND_AUTO", Self::Auto),
        ("KIND_CPU", Self::Cpu),
        ("KIND_GPU", Self::Gpu),
    ];

    /// The name in `config.pbtxt`.
    pub fn name(self) -> &'static str {
        let found = Self::NAMES.into_iter().find(|(_, kind)| *kind == self);
        found.map_or("KIND_AUTO", |(name, _)| name)
    }
}

/// How many sessions the groups have together; each of a GPU's is one.
pub fn sessions(groups: &[InstanceGroup]) -> usize {
    let of_group = |group: &InstanceGroup| group.count as usize * group.gpus.len().max(1);
    groups.iter().map(of_group).sum()
}

impl Default for InstanceGroup {
    /// One session, wherever it runs best.
    fn default() -> Self {
        Self {
            kind: InstanceKind::Auto,
            count: 1,
            gpus: Vec::new(),
        }
    }
}
