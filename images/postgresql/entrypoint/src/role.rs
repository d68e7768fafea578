//! Creates the application's role and database and sets the role's password, at every start, so that a changed one holds.
//!
//! It speaks to a server that listens on its socket alone: nobody can log in with an old password meanwhile.

use std::ffi::OsString;

use anyhow::Context;

use crate::settings::{SUPERUSER, Settings, succeed};

/// Starts the server for itself, runs `role.sql`, and stops the server whatever became of it.
pub fn apply(settings: &Settings) -> anyhow::Result<()> {
    succeed(
        settings
            .program("pg_ctl")
            // Recovery after a crash may take long; the pod's startup probe says how long is too long.
            .args(["start", "--wait", "--timeout=86400", "--silent", "--pgdata"])
            .arg(&settings.data_directory)
            .arg("--options")
            .arg(private_server_options(settings)),
    )?;
    let applied = succeed(
        settings
            .program("psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--username",
                SUPERUSER,
                "--dbname",
                "postgres",
                "--file",
            ])
            .arg(settings.role_script())
            // By the environment of this one process: arguments can be read by everyone in the container.
            .env("ROLE_NAME", &settings.role)
            .env("ROLE_DATABASE", &settings.database)
            .env("ROLE_PASSWORD", &settings.password),
    );
    let stopped = succeed(
        settings
            .program("pg_ctl")
            .args(["stop", "--wait", "--silent", "--mode=fast", "--pgdata"])
            .arg(&settings.data_directory),
    );
    applied.with_context(|| {
        format!(
            "creating role {} and database {}",
            settings.role, settings.database
        )
    })?;
    stopped
}

/// No network, and no statement in the log, where a failing one would show the password.
fn private_server_options(settings: &Settings) -> OsString {
    let mut options = OsString::from("-c listen_addresses= -c log_min_error_statement=panic -c ");
    options.push(settings.host_based_access());
    options
}
