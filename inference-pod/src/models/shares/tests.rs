use std::collections::BTreeMap;

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// How often each version answers these callers.
fn counts(weights: &[(u64, u64)], callers: u64) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for caller in 0..callers {
        *counts.entry(answering(weights, caller)).or_default() += 1;
    }
    counts
}

fn answering(weights: &[(u64, u64)], caller: u64) -> u64 {
    by_caller(weights, "churn", format!("user-{caller}").as_bytes())
}

fn weights() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::btree_map(1_u64..50, 1_u64..1000, 2..6)
        .prop_map(|weights| weights.into_iter().collect())
}

#[test]
fn turns_keep_the_weights_even_over_a_hundred_requests() {
    let count = |weights: &[(u64, u64)], version: u64, turns: u64| {
        (0..turns)
            .filter(|turn| by_turn(weights, *turn) == version)
            .count()
    };
    let weights = [(1, 90), (2, 10)];
    assert!((9..=11).contains(&count(&weights, 2, 100)));
    assert!((999..=1001).contains(&count(&weights, 2, 10_000)));
    assert_eq!(count(&[(1, 100), (2, 0)], 2, 1000), 0);
    assert_eq!(count(&[(1, u64::MAX - 1), (2, 1)], 2, 1000), 0);
}

/// Computed by the lines of Python in docs/serving-plan.md: who analyses an experiment has to come to the same versions.
#[test]
fn callers_get_the_versions_that_the_page_computes() {
    assert_eq!(
        point("churn", 3, b"user-0").to_bits(),
        0.995_281_605_110_505_2_f64.to_bits()
    );
    let of_canary = |model: &str, caller: &str| by_caller(&[(2, 90), (3, 10)], model, caller.as_bytes()) == 3;
    let callers: Vec<_> = (0..40).map(|caller| format!("user-{caller}")).collect();
    let canary = |model: &str| -> Vec<_> {
        let callers = callers.iter().filter(|caller| of_canary(model, caller));
        callers.map(String::as_str).collect()
    };
    assert_eq!(canary("churn"), ["user-0", "user-24"]);
    assert_eq!(canary("wine"), ["user-1", "user-10", "user-19", "user-24"]);
    assert!(!of_canary("wine", "zoë"));
    let three = [(1, 50), (2, 30), (7, 20)];
    let versions: Vec<_> = (0..16).map(|caller| answering(&three, caller)).collect();
    assert_eq!(versions, [1, 2, 2, 1, 1, 7, 2, 1, 1, 2, 2, 1, 1, 2, 2, 1]);
}

#[test]
fn a_caller_without_a_name_takes_its_turn() {
    let header = HeaderName::from_static("x-user-id");
    let shares = Shares::new(vec![(1, 50), (2, 50)], Some(header.clone()));
    let versions = |headers: &HeaderMap| -> Vec<_> {
        let chosen = (0..20).map(|_| shares.choose("churn", headers));
        chosen.flatten().collect()
    };
    let mut headers = HeaderMap::new();
    let count = |versions: &[u64]| versions.iter().filter(|version| **version == 1).count();
    assert!((9..=11).contains(&count(&versions(&headers))));
    headers.insert(&header, HeaderValue::from_static(""));
    assert!((9..=11).contains(&count(&versions(&headers))));
    headers.insert(
        &header,
        HeaderValue::from_bytes(b"\xff\x01"[..1].as_ref()).unwrap(),
    );
    assert!(
        [0, 20].contains(&count(&versions(&headers))),
        "it is one caller, text or not"
    );
    let nobody = Shares::new(vec![(1, 50), (2, 50)], None);
    assert!((0..20).any(|_| nobody.choose("churn", &headers) == Some(1)));
    assert_eq!(
        Shares::new(vec![(1, 0)], Some(header)).choose("churn", &headers),
        None
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Five standard deviations: a false alarm in a million.
    #[test]
    fn shares_are_those_of_the_weights(weights in weights()) {
        const CALLERS: u64 = 4000;
        let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
        let counts = counts(&weights, CALLERS);
        for (version, weight) in weights {
            let share = weight as f64 / total as f64;
            let (mean, deviation) = (CALLERS as f64 * share, (CALLERS as f64 * share * (1.0 - share)).sqrt());
            let count = counts.get(&version).copied().unwrap_or_default() as f64;
            prop_assert!((count - mean).abs() <= 5.0 * deviation + 1.0, "version {version}: {count} of {mean}");
        }
    }

    #[test]
    fn a_version_that_grows_only_takes_and_one_that_shrinks_only_gives(
        weights in weights(), place in any::<prop::sample::Index>(), more in 1_u64..2000,
    ) {
        let place = place.index(weights.len());
        let grown = weights[place].0;
        let mut after = weights.clone();
        after[place].1 += more;
        for caller in 0..500 {
            let (old, new) = (answering(&weights, caller), answering(&after, caller));
            prop_assert!(old == new || new == grown, "caller {caller} went from {old} to {new}");
        }
    }

    /// A canary's step: the stable version gives what the canary takes.
    #[test]
    fn who_is_on_the_canary_stays_there_when_its_share_grows(
        canary in 1_u64..99, step in 1_u64..99, is_newer in any::<bool>(),
    ) {
        let number = if is_newer { 9 } else { 1 };
        let more = (canary + step).min(100);
        for caller in 0..500 {
            let before = answering(&[(5, 100 - canary), (number, canary)], caller);
            let after = answering(&[(5, 100 - more), (number, more)].map(|(version, weight)| (version, weight.max(1))), caller);
            prop_assert!(before == 5 || after == number);
        }
    }

    #[test]
    fn the_order_of_the_plan_and_a_common_factor_change_nothing(weights in weights(), caller: u64, factor in 2_u64..100) {
        let chosen = answering(&weights, caller);
        let reversed: Vec<_> = weights.iter().rev().copied().collect();
        prop_assert_eq!(answering(&reversed, caller), chosen);
        let larger: Vec<_> = weights.iter().map(|(version, weight)| (*version, weight * factor)).collect();
        prop_assert_eq!(answering(&larger, caller), chosen);
    }

    #[test]
    fn a_version_that_leaves_moves_its_own_callers_alone(weights in weights(), place in any::<prop::sample::Index>()) {
        let place = place.index(weights.len());
        let mut after = weights.clone();
        let (left, _) = after.remove(place);
        for caller in 0..500 {
            let (old, new) = (answering(&weights, caller), answering(&after, caller));
            prop_assert!(old == new || old == left);
        }
    }
}
