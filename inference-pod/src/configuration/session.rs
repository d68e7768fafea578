//! How ONNX Runtime is to run a model, as far as its configuration says so.

use std::collections::BTreeMap;

/// Settings of the sessions of a model. The default is what a configuration without any of them gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Threads within an operator, in a pool of the session's own; none for the pool that all models share.
    pub intra_op_threads: Option<usize>,
    /// Threads between operators, where they run in parallel.
    pub inter_op_threads: Option<usize>,
    /// Whether operators that do not depend on each other run at the same time.
    pub parallel: bool,
    /// Whether memory is kept for the next run rather than given back.
    pub memory_arena: bool,
    /// Whether memory is planned from the sizes of earlier runs.
    pub memory_pattern: bool,
    /// Whether memory that the arena took for a run is given back after it.
    pub shrink_arena: bool,
    /// Whether weights are kept outside the arena.
    pub initializers_outside_arena: bool,
    /// How much of the graph is rewritten when it is opened.
    pub optimization: GraphOptimization,
    /// What is said about GPUs.
    pub gpu: GpuSettings,
}

/// How a model runs on GPUs; without effect on CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuSettings {
    /// Options of ONNX Runtime's CUDA provider, by their names there.
    pub cuda: BTreeMap<String, String>,
    /// Whether a run is recorded once and replayed (`optimization.cuda.graphs`).
    pub graphs: bool,
    /// Options of ONNX Runtime's TensorRT provider, where that comes before CUDA's.
    pub tensorrt: Option<BTreeMap<String, String>>,
}

/// ONNX Runtime's levels of graph optimization.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GraphOptimization {
    /// Everything that there is.
    #[default]
    All,
    /// Fusions too, but no change of layouts.
    Extended,
    /// What keeps the graph's meaning and its operators.
    Basic,
    /// The graph runs as it is written.
    None,
}

impl GraphOptimization {
    const LEVELS: [(i32, Self); 4] = [
        (-1, Self::Basic),
        (0, Self::All),
        (1, Self::Extended),
        (2, Self::None),
    ];

    /// The optimization that `optimization.graph.level` names.
    pub fn from_level(level: i32) -> Option<Self> {
        let found = Self::LEVELS.into_iter().find(|(number, _)| *number == level);
        found.map(|(_, optimization)| optimization)
    }

    /// What `optimization.graph.level` calls it.
    pub fn level(self) -> i32 {
        let found = Self::LEVELS.into_iter().find(|(_, known)| *known == self);
        found.map_or(0, |(level, _)| level)
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            intra_op_threads: None,
            inter_op_threads: None,
            parallel: false,
            memory_arena: true,
            memory_pattern: true,
            shrink_arena: false,
            initializers_outside_arena: false,
            optimization: GraphOptimization::default(),
            gpu: GpuSettings::default(),
        }
    }
}

impl SessionSettings {
    /// Whether the sessions need threads of their own: the shared pool has its one size for all, and one thread between
    /// operators.
    pub fn has_own_threads(&self) -> bool {
        self.intra_op_threads.is_some() || self.parallel
    }
}
