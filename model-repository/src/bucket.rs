//! Creates the buckets of an installation.

use std::time::Duration;

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};

use crate::error::Result;
use crate::retry::with_patience;
use crate::store::s3::S3Store;
use crate::store::s3::settings::S3Settings;

/// The region whose buckets have no location constraint.
const REGION_WITHOUT_CONSTRAINT: &str = "us-east-1";

/// Creates a bucket where there is none, waiting up to `patience` for a store that does not answer yet. A bucket that
/// exists and is readable is left as it is.
///
/// # Errors
/// `AccessDenied` where the credentials may not, `Unreachable` where the store does not answer in time.
pub async fn create_bucket(bucket: &str, patience: Duration) -> Result<()> {
    let settings = S3Settings::from_environment()?;
    let store = S3Store::new(&settings, bucket.to_owned(), String::new())?;
    let constraint =
        (settings.region != REGION_WITHOUT_CONSTRAINT && settings.endpoint.is_none()).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(settings.region.as_str()))
                .build()
        });
    with_patience(patience, || store.ensure_bucket(constraint.clone())).await
}
