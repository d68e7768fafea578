//! Shows a version's stage in MLflow: its stage, an alias, a tag with the digest. Drift is mended at every look.

use aiops_crds::{ModelVersionReason as Reason, PublishedModel, Stage};
use aiops_mlflow_client::{Client, Error, ModelVersion as MlflowVersion, Stage as MlflowStage};

use super::progress::{Mirror, Registered};
use super::stage::{Rival, path};
use super::turns::Turns;

const DIGEST_TAG: &str = "aiops.dev/digest";

/// The stages that have an alias.
const MARKED: [Stage; 2] = [Stage::Staging, Stage::Production];

/// Brings MLflow's view of the version to `stage`. That it cannot be brought there is no error: nothing depends on it.
pub async fn mirror(
    registered: &Registered,
    published: &PublishedModel,
    stage: Stage,
    rivals: &[Rival],
    mlflow: &Client,
    turns: &Turns,
) -> Mirror {
    let _turn = match turns.take().await {
        Ok(turn) => turn,
        Err(why) => return unavailable(&why),
    };
    let patience = turns.patience();
    let shown = tokio::time::timeout(patience, show(registered, published, stage, rivals, mlflow)).await;
    let shown = shown.map_err(|_| format!("MLflow did not answer within {} s", patience.as_secs()));
    match unanswered(&shown) {
        Some(why) => turns.unanswered(&why),
        None => turns.answered(),
    }
    match shown {
        Ok(Ok(())) => Mirror::Shown,
        Ok(Err(error)) if error.is_not_found() => Mirror::Gone,
        Ok(Err(error)) if error.is_retryable() => unavailable(&error.to_string()),
        Ok(Err(error)) => Mirror::Behind {
            reason: Reason::MLflowRefused,
            message: error.to_string(),
        },
        Err(why) => unavailable(&why),
    }
}

/// Why there was no answer at all. One that says "not now" costs nobody's time, and may be about this version alone.
fn unanswered(shown: &Result<Result<(), Error>, String>) -> Option<String> {
    match shown {
        Err(why) => Some(why.clone()),
        Ok(Err(error)) if error.is_retryable() && error.status().is_none() => Some(error.to_string()),
        Ok(_) => None,
    }
}

fn unavailable(what: &str) -> Mirror {
    Mirror::Behind {
        reason: Reason::MLflowUnavailable,
        message: format!("{what}; tried again until it answers"),
    }
}

async fn show(
    registered: &Registered,
    published: &PublishedModel,
    stage: Stage,
    rivals: &[Rival],
    mlflow: &Client,
) -> Result<(), Error> {
    let (name, version) = (
        registered.reference.registered_model.as_str(),
        registered.version.as_str(),
    );
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
    for marked in MARKED {
        let Some(alias) = marked.alias() else { continue };
        let holds = held.iter().any(|name| name == alias);
        if in_the_way(marked, stage, version, rivals).is_some() || holds == (stage == marked) {
            continue;
        }
        let action = if holds {
            AliasAction::Drop
        } else {
            AliasAction::Take
        };
        actions.push((alias, action));
    }
    actions
}

/// The rival because of which the alias of `marked` is left as it is: it takes, or has taken, the alias itself.
fn in_the_way(marked: Stage, stage: Stage, version: u64, rivals: &[Rival]) -> Option<&Rival> {
    rivals
        .iter()
        .filter(|rival| rival.stage == marked || (marked == Stage::Production && rival.claims_production))
        .filter(|rival| stage != marked || rival.version > version)
        .max_by_key(|rival| rival.version)
}

/// A rival that is in the way only as a store has it that may lag behind: nobody would look again once the store has caught up.
pub fn unconfirmed_in_the_way(stage: Stage, version: u64, rivals: &[Rival]) -> Option<&Rival> {
    MARKED
        .into_iter()
        .filter_map(|marked| in_the_way(marked, stage, version, rivals))
        .find(|rival| !rival.confirmed)
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::super::turns::tests::SHORT;
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
    fn a_rival_that_the_store_remembers_in_the_way_of_an_alias_is_asked_for() {
        let remembered = [rival(2, Stage::Staging), rival(3, Stage::None)];
        let asked = |stage: Stage, rivals: &[Rival]| {
            unconfirmed_in_the_way(stage, 1, rivals).map(|rival| rival.version)
        };
        assert_eq!(asked(Stage::Staging, &remembered), Some(2));
        assert_eq!(asked(Stage::Archived, &remembered), Some(2), "it would take it");
        let mut confirmed = remembered.clone();
        confirmed[0].confirmed = true;
        assert_eq!(asked(Stage::Staging, &confirmed), None);
        assert!(unconfirmed_in_the_way(Stage::Staging, 9, &remembered).is_none());
        assert_eq!(asked(Stage::Production, &[rival(2, Stage::Production)]), Some(2));
    }

    #[test]
    fn an_alias_that_is_right_is_left_alone() {
        assert!(aliases(&["production".to_owned()], Stage::Production, 1, &[]).is_empty());
    }

    async fn client_of(routes: axum::Router) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(aiops_mlflow_client::Config::new(address.parse().unwrap())).unwrap()
    }

    /// What becomes of version 3 in Production.
    async fn mirrored(client: &Client, turns: &Turns) -> Mirror {
        let registered = Registered {
            version: "3".into(),
            reference: aiops_crds::MlflowVersionReference::default(),
        };
        let published = super::super::stage::tests::published();
        mirror(&registered, &published, Stage::Production, &[], client, turns).await
    }

    /// The same at a server that answers every question with `status` and `code`.
    async fn mirrored_at(status: u16, code: &'static str) -> Mirror {
        let answer = move || async move {
            let body = serde_json::json!({"error_code": code, "message": "the server's words"});
            (
                axum::http::StatusCode::from_u16(status).unwrap(),
                axum::Json(body),
            )
        };
        let client = client_of(axum::Router::new().fallback(answer)).await;
        mirrored(&client, &Turns::default()).await
    }

    fn is_away(mirror: &Mirror) -> bool {
        matches!(
            mirror,
            Mirror::Behind {
                reason: Reason::MLflowUnavailable,
                ..
            }
        )
    }

    #[tokio::test]
    async fn an_mlflow_that_hangs_takes_the_time_of_few_versions_and_only_once() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let hang = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        };
        let client = client_of(axum::Router::new().fallback(hang)).await;
        let turns = Turns::new(SHORT);
        let many = (0..24).map(|_| async {
            let started = Instant::now();
            let mirror = mirrored(&client, &turns).await;
            (is_away(&mirror), started.elapsed())
        });
        let told = futures::future::join_all(many).await;
        assert!(told.iter().all(|(away, _)| *away));
        let held_up = told.iter().filter(|(_, took)| *took >= SHORT.patience).count();
        assert_eq!(held_up, SHORT.places);
        let started = Instant::now();
        assert!(is_away(&mirrored(&client, &turns).await));
        assert!(started.elapsed() < SHORT.patience / 2);
        assert_eq!(asked.load(Ordering::SeqCst), SHORT.places);
    }

    #[tokio::test]
    async fn a_version_that_mlflow_refuses_keeps_no_other_one_from_asking() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let refuse = move || async move {
            count.fetch_add(1, Ordering::SeqCst);
            axum::http::StatusCode::INTERNAL_SERVER_ERROR
        };
        let client = client_of(axum::Router::new().fallback(refuse)).await;
        let turns = Turns::new(SHORT);
        for times in 1..=3 {
            assert!(is_away(&mirrored(&client, &turns).await));
            assert_eq!(asked.load(Ordering::SeqCst), times);
        }
    }

    #[tokio::test]
    async fn a_version_that_was_deleted_in_mlflow_is_told_from_an_mlflow_that_is_away() {
        assert_eq!(mirrored_at(404, "RESOURCE_DOES_NOT_EXIST").await, Mirror::Gone);
        let reason = |mirror: Mirror| match mirror {
            Mirror::Behind { reason, .. } => reason,
            other => panic!("expected a mirror that is behind, got {other:?}"),
        };
        let away = mirrored_at(503, "TEMPORARILY_UNAVAILABLE").await;
        assert_eq!(reason(away), Reason::MLflowUnavailable);
        let refused = mirrored_at(403, "PERMISSION_DENIED").await;
        assert_eq!(reason(refused), Reason::MLflowRefused);
    }
}
