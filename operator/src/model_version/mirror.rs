//! Shows a version's stage in MLflow: its stage, an alias, a tag with the digest. Drift is mended at every look.

use aiops_crds::{PublishedModel, Stage};
use aiops_mlflow_client::{ModelVersion as MlflowVersion, Stage as MlflowStage};

use super::progress::Registered;
use super::stage::{Rival, path};
use crate::framework::context::Context;
use crate::framework::error::Error;

const DIGEST_TAG: &str = "aiops.dev/digest";

/// Brings MLflow's view of the version to `stage`.
pub async fn mirror(
    registered: &Registered,
    published: &PublishedModel,
    stage: Stage,
    rivals: &[Rival],
    context: &Context,
) -> Result<(), Error> {
    let (name, version) = (
        registered.reference.registered_model.as_str(),
        registered.version.as_str(),
    );
    let mlflow = &context.mlflow;
    let current = mlflow.get_model_version(name, version).await?;
    let from = current.stage().map(from_mlflow);
    for step in path(from.unwrap_or_default(), stage) {
        mlflow
            .transition_stage(name, version, to_mlflow(step), false)
            .await?;
    }
    if digest_of(&current) != Some(&published.digest) {
        mlflow
            .set_model_version_tag(name, version, DIGEST_TAG, &published.digest)
            .await?;
    }
    for (alias, action) in aliases(&current.aliases, stage, registered.number(), rivals) {
        match action {
            AliasAction::Take => mlflow.set_alias(name, alias, version).await?,
            AliasAction::Drop => mlflow.delete_alias(name, alias).await?,
        }
    }
    Ok(())
}

fn digest_of(version: &MlflowVersion) -> Option<&str> {
    aiops_mlflow_client::tag_value(&version.tags, DIGEST_TAG)
}

/// What to do with an alias.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum AliasAction {
    Take,
    Drop,
}

/// What to do with the aliases of the stages. An alias belongs to the highest version of its stage. It is dropped only
/// where no other version of that stage, or on its way there, is there to take it: otherwise a drop could hit the one that
/// has just taken it.
fn aliases(
    held: &[String],
    stage: Stage,
    version: u64,
    rivals: &[Rival],
) -> Vec<(&'static str, AliasAction)> {
    let mut actions = Vec::new();
    for marked in [Stage::Staging, Stage::Production] {
        let Some(alias) = marked.alias() else { continue };
        let holds = held.iter().any(|name| name == alias);
        let mut others = rivals.iter().filter(|rival| {
            rival.stage == marked || (marked == Stage::Production && rival.claims_production)
        });
        if stage == marked {
            if !holds && !others.any(|rival| rival.version > version) {
                actions.push((alias, AliasAction::Take));
            }
        } else if holds && others.next().is_none() {
            actions.push((alias, AliasAction::Drop));
        }
    }
    actions
}

fn to_mlflow(stage: Stage) -> MlflowStage {
    match stage {
        Stage::None => MlflowStage::None,
        Stage::Staging => MlflowStage::Staging,
        Stage::Production => MlflowStage::Production,
        Stage::Archived => MlflowStage::Archived,
    }
}

fn from_mlflow(stage: MlflowStage) -> Stage {
    match stage {
        MlflowStage::None => Stage::None,
        MlflowStage::Staging => Stage::Staging,
        MlflowStage::Production => Stage::Production,
        MlflowStage::Archived => Stage::Archived,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rival(version: u64, stage: Stage) -> Rival {
        Rival {
            name: format!("v{version}"),
            version,
            claims_production: false,
            stage,
            confirmed: false,
        }
    }

    #[test]
    fn the_highest_version_of_a_stage_takes_its_alias() {
        assert_eq!(
            aliases(&[], Stage::Production, 2, &[]),
            [("production", AliasAction::Take)]
        );
        assert_eq!(
            aliases(&[], Stage::Staging, 2, &[rival(1, Stage::Staging)]),
            [("staging", AliasAction::Take)]
        );
        assert!(aliases(&[], Stage::Staging, 1, &[rival(2, Stage::Staging)]).is_empty());
    }

    #[test]
    fn an_alias_is_dropped_only_where_nobody_takes_it() {
        let held = ["production".to_owned()];
        assert_eq!(
            aliases(&held, Stage::Archived, 1, &[]),
            [("production", AliasAction::Drop)]
        );
        assert!(aliases(&held, Stage::Archived, 1, &[rival(2, Stage::Production)]).is_empty());
        let successor = Rival {
            claims_production: true,
            ..rival(2, Stage::Staging)
        };
        assert!(aliases(&held, Stage::Archived, 1, &[successor]).is_empty());
    }

    #[test]
    fn an_alias_that_is_right_is_left_alone() {
        assert!(aliases(&["production".to_owned()], Stage::Production, 1, &[]).is_empty());
    }
}
