//! `muster serve` and what goes with it: checking the configuration, logging, signals, readiness.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use muster_server::config::ConfigError;
use muster_server::service::StartError;
use muster_server::{Node, Settings, SystemClock};
use tracing_subscriber::EnvFilter;

use crate::output::{Failure, Outcome, Output};
use crate::quickstart;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// From nothing to a first certificate: makes a CA, starts both services, enrolls, goes on serving.
    Quickstart(quickstart::Quickstart),
    /// Make the store of a configuration that was written by hand, for a service without a CA of its own.
    Init(ConfigFile),
    /// Serve the configured endpoints until told to stop.
    Serve(Serve),
    /// Check the configuration file and say what is wrong in which line.
    CheckConfig(ConfigFile),
    /// Print the reference of the configuration file.
    ConfigReference,
}

/// Which configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigFile {
    /// Configuration file [default: muster.toml here, in ./muster-data or in /etc/muster].
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// Form of the log on stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log: LogFormat,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// A line for people.
    Text,
    /// An object in each line.
    Json,
}

pub(crate) async fn run(command: Command, output: Output) -> Outcome {
    match command {
        Command::Quickstart(arguments) => quickstart::run(arguments, output).await,
        Command::Init(file) => init(&file, output).await,
        Command::Serve(arguments) => {
            start_log(arguments.log)?;
            let settings = arguments.file.load()?;
            let node = start(settings).await?;
            until_the_end(node).await
        }
        Command::CheckConfig(file) => check(&file, output),
        Command::ConfigReference => output.line(muster_server::config::reference().trim_end()),
    }
}

impl ConfigFile {
    /// The file named, or the first that exists of the usual places.
    pub(crate) fn path(&self) -> Outcome<PathBuf> {
        const USUAL: [&str; 3] = ["muster.toml", "muster-data/muster.toml", "/etc/muster/muster.toml"];
        match &self.config {
            Some(path) => Ok(path.clone()),
            None => USUAL.iter().map(PathBuf::from).find(|p| p.exists()).ok_or_else(|| {
                Failure::new("there is no configuration file here")
                    .hint("name it with --config, or make an installation with 'muster quickstart'")
            }),
        }
    }

    pub(crate) fn load(&self) -> Outcome<Settings> {
        load(&self.path()?)
    }
}

pub(crate) fn load(path: &Path) -> Outcome<Settings> {
    Settings::load(path).map_err(|error| {
        let hint = match error {
            ConfigError::Unreadable { .. } => {
                "name the configuration with --config, or make an installation with 'muster quickstart'"
            }
            ConfigError::Wrong { .. } => {
                "docs/configuration.md explains every key; 'muster config-reference' prints it"
            }
        };
        Failure::from(error).hint(hint)
    })
}

async fn init(file: &ConfigFile, output: Output) -> Outcome {
    #[derive(serde::Serialize)]
    struct Made<'a> {
        store: &'a Path,
        made: bool,
    }
    let settings = file.load()?;
    let made = muster_server::setup::init(&settings, &SystemClock).await?;
    let store = muster_server::service::store_path(&settings);
    output.value(&Made { store: &store, made }, || {
        let state = if made { "made" } else { "was there already" };
        format!("{}: {state}", store.display())
    })
}

fn check(file: &ConfigFile, output: Output) -> Outcome {
    #[derive(serde::Serialize)]
    struct Row<'a> {
        service: &'static str,
        authentication: &'static str,
        uri: &'a str,
        listener: &'a str,
        priority: u32,
        renewal_only: bool,
    }
    let path = file.path()?;
    let settings = load(&path)?;
    let rows: Vec<Row<'_>> = settings
        .endpoints()
        .map(|e| Row {
            service: match e.service {
                muster_server::config::Service::Policy => "policy",
                muster_server::config::Service::Enrollment => "enrollment",
            },
            authentication: e.method.as_str(),
            uri: &e.uri,
            listener: &e.listener,
            priority: e.priority,
            renewal_only: e.renewal_only,
        })
        .collect();
    output.table(&rows, &["SERVICE", "AUTHENTICATION", "URI"], |row| {
        vec![row.service.to_owned(), row.authentication.to_owned(), row.uri.to_owned()]
    })?;
    // Whether key and store fit is seen only by opening them.
    if settings.embedded().is_ok() {
        muster_server::service::open_authority(&settings, &SystemClock)?;
    }
    output.note(format_args!("{}: no fault found", path.display()));
    Ok(())
}

/// Starts the log on stderr. `RUST_LOG` chooses what is logged; by default everything from `info`.
pub(crate) fn start_log(format: LogFormat) -> Outcome {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(Failure::new)
}

/// Starts a node and tells systemd when it is ready.
pub(crate) async fn start(settings: Settings) -> Outcome<Node> {
    let node = Node::start(settings, Arc::new(SystemClock)).await.map_err(|error| {
        let taken = matches!(error, StartError::Listen { .. });
        let failure = Failure::from(error);
        if taken {
            failure.hint(
                "is the service running already? Otherwise give it another address in the configuration",
            )
        } else {
            failure
        }
    })?;
    for (name, address) in &node.addresses {
        tracing::info!(listener = name, %address, "listening");
    }
    if let Some(address) = node.publication {
        tracing::info!(%address, "serving revocation list and CA certificate");
    }
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    Ok(node)
}

/// Serves until a signal, or until the store has stopped for good.
pub(crate) async fn until_the_end(node: Node) -> Outcome {
    let outcome = tokio::select! {
        () = wait_for_signal() => Ok(()),
        () = node.failed() => Err(Failure::new("the store has stopped after an internal fault")
            .hint("start the service again; the log says what happened before")),
    };
    end(node).await;
    outcome
}

/// SIGTERM or SIGINT.
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

pub(crate) async fn end(node: Node) {
    tracing::info!("stopping");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    node.stop().await;
}
