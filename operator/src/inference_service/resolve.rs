//! Chooses the version of each model (pure): from the ModelVersions of the namespace, and from what was served before.

use aiops_crds::{InferenceServiceReason as Reason, ModelVersion, ServedModelStatus, Stage};

use super::explain;
use super::validate::{Selector, ValidatedModel};

/// A version whose bytes lie in the model repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishedVersion {
    /// The ModelVersion's name.
    pub model_version: String,
    /// Its number.
    pub version: u64,
    /// The digest of its bytes.
    pub digest: String,
}

/// A ModelVersion whose stored form this operator does not know, such as one with a value of a later release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UnreadableVersion {
    /// The ModelVersion's name.
    pub name: String,
    /// What cannot be read.
    pub error: String,
}

/// A model and the version that answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedModel {
    /// The model's name.
    pub name: String,
    /// Answers requests that name no version.
    pub default: PublishedVersion,
}

/// A model whose version could not be chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unresolved {
    /// The model's name.
    pub model: String,
    /// Why, as one word.
    pub reason: Reason,
    /// Why, and what to do.
    pub message: String,
    /// The number of the version that goes on answering meanwhile.
    pub still_answers: Option<u64>,
}

/// What became of the spec's models.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolution {
    /// What to serve, in the order of the spec; with models that are unresolved but were served before.
    pub models: Vec<ResolvedModel>,
    /// What the spec asks for and is not there.
    pub unresolved: Vec<Unresolved>,
}

/// Resolves every model. One that cannot be resolved but was served before goes on being served, also where its ModelVersion is
/// gone: neither a stage that is empty for a moment nor a deletion must end a service.
pub fn resolve(
    models: &[ValidatedModel],
    versions: &[ModelVersion],
    unreadable: &[UnreadableVersion],
    served_before: &[ServedModelStatus],
) -> Resolution {
    let mut resolution = Resolution::default();
    for model in models {
        let name = model.name.clone();
        let previous = previous(&name, versions, served_before);
        match choose(model, versions, unreadable, previous.as_ref()) {
            Ok(default) => resolution.models.push(ResolvedModel { name, default }),
            Err((reason, mut message)) => {
                let orphaned = previous
                    .as_ref()
                    .and_then(|served| explain::orphaned(&name, served, versions, unreadable));
                if let Some(orphaned) = orphaned {
                    message = format!("{message}; {orphaned}");
                }
                resolution.unresolved.push(Unresolved {
                    model: name.clone(),
                    reason,
                    message,
                    still_answers: previous.as_ref().map(|previous| previous.version),
                });
                resolution
                    .models
                    .extend(previous.map(|default| ResolvedModel { name, default }));
            }
        }
    }
    resolution
}

/// The version that one selector means, or why there is none. Each selector is chosen for itself, so that a model may have
/// more of them with weights of their own.
fn choose(
    model: &ValidatedModel,
    versions: &[ModelVersion],
    unreadable: &[UnreadableVersion],
    previous: Option<&PublishedVersion>,
) -> Result<PublishedVersion, (Reason, String)> {
    let unknown = |name: &str| unreadable.iter().find(|version| version.name == name);
    let refuse =
        |found: &UnreadableVersion| Err((Reason::UnreadableVersion, explain::unreadable(&model.name, found)));
    match &model.selector {
        Selector::Stage(stage) => {
            let holder = holder(&model.name, *stage, versions);
            // What cannot be read may hold the stage: what it was known to serve gives way to a higher version only.
            let outranked = |served: &PublishedVersion| {
                holder
                    .as_ref()
                    .is_some_and(|holder| holder.version > served.version)
            };
            let kept = previous.filter(|served| !outranked(served));
            if let Some(found) = kept.and_then(|served| unknown(&served.model_version)) {
                return refuse(found);
            }
            holder.ok_or_else(|| {
                (
                    Reason::WaitingForStage,
                    explain::empty_stage(&model.name, *stage, versions),
                )
            })
        }
        Selector::Reference(name) => match unknown(name) {
            Some(found) => refuse(found),
            None => named(&model.name, name, versions),
        },
    }
}

/// Of the published versions of `model` that hold `stage`, the highest.
fn holder(model: &str, stage: Stage, versions: &[ModelVersion]) -> Option<PublishedVersion> {
    versions
        .iter()
        .filter(|version| version.spec.model == model && !is_being_deleted(version))
        .filter(|version| version.status.as_ref().and_then(|status| status.stage) == Some(stage))
        .filter_map(published)
        // Two objects may name one MLflow version; the name decides, so that the answer does not depend on the list's order.
        .max_by(|left, right| (left.version, &left.model_version).cmp(&(right.version, &right.model_version)))
}

fn named(model: &str, name: &str, versions: &[ModelVersion]) -> Result<PublishedVersion, (Reason, String)> {
    let found = versions
        .iter()
        .find(|version| version.metadata.name.as_deref() == Some(name));
    match found {
        None => Err((
            Reason::WaitingForModelVersion,
            explain::no_such_version(model, name, versions),
        )),
        Some(version) if version.spec.model != model => {
            Err((Reason::WrongModel, explain::wrong_model(model, version)))
        }
        Some(version) if is_being_deleted(version) => Err((
            Reason::WaitingForModelVersion,
            explain::being_deleted(model, name),
        )),
        Some(version) => published(version).ok_or_else(|| {
            (
                Reason::WaitingForPublication,
                explain::unpublished(model, version),
            )
        }),
    }
}

/// What was served before, whatever became of its ModelVersion since: the record in the service's status names the bytes. `None`
/// where other bytes have taken their place in the repository.
fn previous(
    model: &str,
    versions: &[ModelVersion],
    served_before: &[ServedModelStatus],
) -> Option<PublishedVersion> {
    let before = served_before.iter().find(|before| before.name == model)?;
    let served = PublishedVersion {
        model_version: before.model_version.clone(),
        version: before.version.parse().ok()?,
        digest: before.digest.clone(),
    };
    let replaced = versions
        .iter()
        .filter(|version| version.spec.model == model)
        .filter_map(published)
        .any(|version| version.version == served.version && version.digest != served.digest);
    (!replaced).then_some(served)
}

/// The version as it lies in the repository, once it does.
pub fn published(version: &ModelVersion) -> Option<PublishedVersion> {
    let status = version.status.as_ref()?;
    Some(PublishedVersion {
        model_version: version.metadata.name.clone()?,
        version: status.version.as_deref()?.parse().ok()?,
        digest: status.published.as_ref()?.digest.clone(),
    })
}

/// Whether the object is on its way out.
pub fn is_being_deleted(version: &ModelVersion) -> bool {
    version.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
pub mod tests;
