//! What the container's environment says, read once and checked; nothing else here reads the environment.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The role that `initdb` makes. It has no password and so can be used only from inside of the container.
pub const SUPERUSER: &str = "postgres";

/// Where things are and what the application's database is called.
#[derive(Debug)]
pub struct Settings {
    /// `PGDATA`: the data directory, a folder inside of the volume rather than the volume itself, so that it can be renamed.
    pub data_directory: PathBuf,
    /// `POSTGRES_BINARIES`: folder with `initdb`, `pg_ctl`, `postgres` and `psql`.
    pub binaries: PathBuf,
    /// `POSTGRES_CONFIGURATION`: folder with `pg_hba.conf` and `role.sql`.
    pub configuration: PathBuf,
    /// `POSTGRES_DB`: database to create, owned by the role.
    pub database: String,
    /// `POSTGRES_USER`: role to create.
    pub role: String,
    /// Content of the file `POSTGRES_PASSWORD_FILE` without its final line break.
    pub password: String,
}

impl Settings {
    /// Reads the environment; the error names the variable and what to write there.
    pub fn from_environment() -> anyhow::Result<Self> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> anyhow::Result<Self> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str, what: &str| {
            set(name)
                .with_context(|| format!("{name} is not set: it names {what}"))?
                .into_string()
                .map_err(|value| anyhow::anyhow!("{name} is not UTF-8: {}", value.display()))
        };
        let path =
            |name: &str, default: &str| set(name).map_or_else(|| PathBuf::from(default), PathBuf::from);

        let role = text("POSTGRES_USER", "the role that the application logs in as")?;
        ensure!(
            role != SUPERUSER,
            "POSTGRES_USER is {SUPERUSER}, the superuser, which never gets a password: name another role"
        );
        let password_file = PathBuf::from(text(
            "POSTGRES_PASSWORD_FILE",
            "the file with that role's password",
        )?);
        Ok(Self {
            data_directory: path("PGDATA", "/var/lib/postgresql/data/pgdata"),
            binaries: path("POSTGRES_BINARIES", "/usr/lib/postgresql/15/bin"),
            configuration: path("POSTGRES_CONFIGURATION", "/etc/aiops-postgresql"),
            database: text("POSTGRES_DB", "the database to create")?,
            role,
            password: read_password(&password_file)?,
        })
    }

    /// A command for one of PostgreSQL's own programs.
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.binaries.join(name))
    }

    /// The server option that makes the image's `pg_hba.conf` the one in force, whatever lies in the data directory.
    pub fn host_based_access(&self) -> OsString {
        let mut option = OsString::from("hba_file=");
        option.push(self.configuration.join("pg_hba.conf"));
        option
    }

    /// The file of SQL that creates the role and its database.
    pub fn role_script(&self) -> PathBuf {
        self.configuration.join("role.sql")
    }
}

fn read_password(file: &Path) -> anyhow::Result<String> {
    let content = std::fs::read_to_string(file).with_context(|| {
        format!(
            "reading the password from {} (POSTGRES_PASSWORD_FILE)",
            file.display()
        )
    })?;
    let password = content.strip_suffix('\n').unwrap_or(&content);
    if password.is_empty() {
        bail!(
            "{} (POSTGRES_PASSWORD_FILE) is empty: write the password into it",
            file.display()
        );
    }
    // An environment variable, by which psql gets it, ends at a NUL byte; the application would send all of it.
    ensure!(
        !password.contains(['\0', '\n', '\r']),
        "{} (POSTGRES_PASSWORD_FILE) holds a line break or a NUL byte within the password: remove it",
        file.display()
    );
    Ok(password.to_owned())
}

/// Runs a command and makes its failure an error that names it.
pub fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program())
        .file_name()
        .map_or_else(String::new, |name: &OsStr| name.display().to_string());
    let status = command.status().with_context(|| format!("starting {name}"))?;
    ensure!(
        status.success(),
        "{name} ended with {status}: see its message above"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn settings(password: &str, changes: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, password).unwrap();
        let mut environment: HashMap<String, OsString> = HashMap::from([
            ("POSTGRES_USER".into(), "mlflow".into()),
            ("POSTGRES_DB".into(), "mlflow".into()),
            ("POSTGRES_PASSWORD_FILE".into(), file.into_os_string()),
        ]);
        environment.extend(
            changes
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        );
        Settings::from_lookup(|name| environment.get(name).cloned())
    }

    #[test]
    fn a_password_keeps_everything_but_its_final_line_break() {
        assert_eq!(
            settings("p'a\\ss \"$HOME\n", &[]).unwrap().password,
            "p'a\\ss \"$HOME"
        );
    }

    #[test]
    fn an_empty_password_is_refused_with_the_name_of_the_variable() {
        let message = format!("{:#}", settings("\n", &[]).unwrap_err());
        assert!(message.contains("POSTGRES_PASSWORD_FILE) is empty"), "{message}");
    }

    #[test]
    fn a_password_of_two_lines_is_refused() {
        let message = format!("{:#}", settings("one\ntwo\n", &[]).unwrap_err());
        assert!(message.contains("line break"), "{message}");
    }

    #[test]
    fn the_superuser_never_becomes_the_application_role() {
        let message = format!(
            "{:#}",
            settings("secret", &[("POSTGRES_USER", "postgres")]).unwrap_err()
        );
        assert!(message.contains("name another role"), "{message}");
    }

    #[test]
    fn a_variable_that_is_empty_counts_as_not_set() {
        let message = format!("{:#}", settings("secret", &[("POSTGRES_DB", "")]).unwrap_err());
        assert_eq!(message, "POSTGRES_DB is not set: it names the database to create");
    }
}
