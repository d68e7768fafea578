//! Runs other programs as a user would: kubectl, helm, the Python clients, the scripts of the local cluster.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

const TIMEOUT: Duration = Duration::from_secs(600);

/// The programs and the folder that they are run from.
pub struct Programs {
    kubeconfig: PathBuf,
    python: OnceCell<String>,
}

/// What a program wrote.
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether it exited with 0.
    pub success: bool,
}

/// The root of the repository that this was built from.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is a folder of the repository")
}

impl Programs {
    /// Programs that work on the cluster of `kubeconfig`.
    pub fn new(kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.into(),
            python: OnceCell::new(),
        }
    }

    /// Runs kubectl; an exit code other than 0 is an error with what it wrote.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        successful(
            "kubectl",
            arguments,
            self.run(&found("kubectl"), arguments, &[], None).await?,
        )
    }

    /// Runs kubectl with text on its standard input; gives what it wrote, successful or not.
    pub async fn kubectl_with_input(&self, arguments: &[&str], input: &str) -> Result<Output> {
        self.run(&found("kubectl"), arguments, &[], Some(input.as_bytes()))
            .await
    }

    /// Runs helm; an exit code other than 0 is an error with what it wrote.
    pub async fn helm(&self, arguments: &[&str]) -> Result<String> {
        successful(
            "helm",
            arguments,
            self.run(&found("helm"), arguments, &[], None).await?,
        )
    }

    /// Runs a script of e2e/cluster.
    pub async fn cluster_script(&self, script: &str, arguments: &[&str]) -> Result<String> {
        let path = repository().join("e2e/cluster").join(script);
        successful(script, arguments, self.run(&path, arguments, &[], None).await?)
    }

    /// Runs a script of e2e/clients in its environment, which is made first where it is missing.
    pub async fn python(
        &self,
        script: &str,
        arguments: &[&str],
        variables: &[(String, String)],
        input: Option<&[u8]>,
    ) -> Result<Vec<u8>> {
        let interpreter = self.python.get_or_try_init(|| self.make_environment()).await?;
        let path = repository().join("e2e/clients").join(script);
        let all = [
            &[path.to_str().context("the repository's path is no text")?],
            arguments,
        ]
        .concat();
        let output = self
            .capture(Path::new(interpreter), &all, variables, input)
            .await?;
        if !output.status.success() {
            bail!(
                "{script} {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(output.stdout)
    }

    async fn make_environment(&self) -> Result<String> {
        let script = repository().join("make/python-environment");
        let arguments = ["clients", "e2e/clients/requirements.lock"];
        let output = self.run(&script, &arguments, &[], None).await?;
        let written = successful("make/python-environment", &arguments, output)?;
        Ok(written.trim().to_owned())
    }

    async fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        variables: &[(String, String)],
        input: Option<&[u8]>,
    ) -> Result<Output> {
        let output = self.capture(program, arguments, variables, input).await?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            success: output.status.success(),
        })
    }

    async fn capture(
        &self,
        program: &Path,
        arguments: &[&str],
        variables: &[(String, String)],
        input: Option<&[u8]>,
    ) -> Result<std::process::Output> {
        let shown = program.display();
        let mut child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .env("KUBECONFIG", &self.kubeconfig)
            .current_dir(repository())
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{shown} cannot be started"))?;
        if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin
                .write_all(input)
                .await
                .with_context(|| format!("{shown} does not read its input"))?;
        }
        tokio::time::timeout(TIMEOUT, child.wait_with_output())
            .await
            .with_context(|| {
                format!(
                    "{shown} {} takes longer than {} s",
                    arguments.join(" "),
                    TIMEOUT.as_secs()
                )
            })?
            .with_context(|| format!("{shown} cannot be waited for"))
    }
}

fn successful(program: &str, arguments: &[&str], output: Output) -> Result<String> {
    if output.success {
        return Ok(output.stdout);
    }
    bail!(
        "{program} {}: {}{}",
        arguments.join(" "),
        output.stderr.trim(),
        output.stdout.trim()
    )
}

/// The program on PATH, or else the one that the local cluster was built with.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    on_path.unwrap_or_else(|| cache().join("bin").join(program))
}

fn cache() -> PathBuf {
    let variable =
        |name: &str| std::env::var_os(name).filter(|value: &std::ffi::OsString| !OsStr::is_empty(value));
    if let Some(folder) = variable("AIOPS_CACHE") {
        return folder.into();
    }
    let base = variable("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(variable("HOME").unwrap_or_default()).join(".cache"),
        PathBuf::from,
    );
    base.join("aiops")
}
