//! Shapes on the way between models that have rows and models that have none, by Triton's rules (`ReshapeTensorDims`).

/// Whether two lists of sizes are equal, -1 standing for any size.
pub(super) fn fit(one: &[i64], other: &[i64]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one == other || *one == -1 || *other == -1)
}

/// The shape of a tensor for whoever takes it with these `dims`, with rows or without. `rows` are those that it was made
/// with, nothing where it came from a model without rows.
pub(super) fn passed_on(shape: &[i64], rows: Option<i64>, dims: &[i64], takes_rows: bool) -> Vec<i64> {
    match (rows, takes_rows) {
        // What a model without rows made is one row, unless it has a dimension for them anyway.
        (None, true) if fit(dims, shape) => [&[1], shape].concat(),
        (Some(1), false) if !fit(dims, shape) => shape.get(1..).unwrap_or_default().to_vec(),
        _ => shape.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_comes_and_goes_where_models_differ_in_having_rows() {
        assert_eq!(
            passed_on(&[1, 3], None, &[3], true),
            [1, 3],
            "it has its row already"
        );
        assert_eq!(passed_on(&[3], None, &[3], true), [1, 3]);
        assert_eq!(passed_on(&[1, 3], Some(1), &[1, 3], false), [1, 3]);
        assert_eq!(passed_on(&[1, 3], Some(1), &[3], false), [3]);
        assert_eq!(
            passed_on(&[2, 3], Some(2), &[3], false),
            [2, 3],
            "which its model will refuse"
        );
        assert_eq!(passed_on(&[2, 3], Some(2), &[3], true), [2, 3]);
        assert_eq!(passed_on(&[5], None, &[-1], false), [5]);
        assert!(fit(&[-1, 3], &[2, 3]) && fit(&[2], &[-1]) && !fit(&[2], &[2, 1]) && !fit(&[2], &[3]));
    }
}
