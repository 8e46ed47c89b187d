//! Keys, tunnels and ssh as the controller and the plugin runtime ask for them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_access::keypool::KeyPool;
use grove_access::secrets::Secrets;
use grove_access::ssh::{self, SshClient};
use grove_access::tunnel;
use grove_control::ports::{KeyPair, Keys, Tunnels};
use grove_domain::id::RequestId;
use grove_runtime::{SecretHost, SshError, SshHost, SshOutput, SshTarget};

/// The key pool as the controller's keys.
pub(crate) struct PoolKeys(pub(crate) KeyPool);

impl Keys for PoolKeys {
    fn take(&self) -> BoxFuture<'static, Result<KeyPair, String>> {
        let pool = self.0.clone();
        async move {
            let pair = pool.take().await;
            Ok(KeyPair { private_pem: pair.private_pem, public_line: pair.public_line })
        }
        .boxed()
    }
}

/// TCP tunnels as the controller's tunnels.
pub(crate) struct TcpTunnels(pub(crate) tunnel::Tunnels);

impl Tunnels for TcpTunnels {
    fn claim(&self, job: RequestId) -> BoxFuture<'static, Result<(), String>> {
        let tunnels = self.0.clone();
        async move { tunnels.claim(job.0).map_err(|error| error.to_string()) }.boxed()
    }

    fn open(
        &self,
        job: RequestId,
        target: (String, u16),
        had: Option<u16>,
    ) -> BoxFuture<'static, Result<u16, String>> {
        let tunnels = self.0.clone();
        async move { tunnels.open(job.0, target, had).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn reach(&self, target: (String, u16)) -> BoxFuture<'static, bool> {
        let tunnels = self.0.clone();
        async move { tunnels.reach(target).await }.boxed()
    }

    fn carried(&self, job: RequestId) -> u64 {
        self.0.stats(job.0).map_or(0, |stats| stats.bytes_in.saturating_add(stats.bytes_out))
    }

    fn close(&self, job: RequestId) -> BoxFuture<'static, ()> {
        let tunnels = self.0.clone();
        async move { tunnels.close(job.0).await }.boxed()
    }
}

/// The ssh client as the drivers' way to a worker's supervisor.
pub(crate) struct Supervisors(pub(crate) SshClient);

impl SshHost for Supervisors {
    fn hang_up(&self, target: &SshTarget) {
        self.0.hang_up(&real(target));
    }

    fn run<'a>(
        &'a self,
        target: &'a SshTarget,
        argv: Vec<String>,
        stdin: Vec<u8>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<SshOutput, SshError>> {
        async move {
            let output = self.0.run(&real(target), &argv, stdin, timeout).await.map_err(ssh_error)?;
            Ok(SshOutput {
                status: output.status,
                stdout: output.stdout,
                stderr: output.stderr,
                truncated: output.truncated,
            })
        }
        .boxed()
    }

    fn write_file<'a>(
        &'a self,
        target: &'a SshTarget,
        path: String,
        mode: u32,
        data: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), SshError>> {
        async move { self.0.write_file(&real(target), &path, mode, data).await.map_err(ssh_error) }.boxed()
    }
}

fn real(target: &SshTarget) -> ssh::SshTarget {
    ssh::SshTarget {
        host: target.host.clone(),
        port: target.port,
        user: target.user.clone(),
        identity: target.identity.clone(),
        host_key: target.host_key.clone(),
    }
}

fn ssh_error(error: ssh::SshError) -> SshError {
    use ssh::SshError as Real;
    match error {
        Real::Denied(text) | Real::HostKey(text) => SshError::Denied(text),
        Real::Unreachable(text) => SshError::Unreachable(text),
        Real::TimedOut => SshError::TimedOut,
        Real::Closed => SshError::Closed,
        Real::Short(text) => SshError::Short(text),
        Real::Other(text) => SshError::Other(text),
    }
}

/// Secret files for drivers that were granted their names.
pub(crate) struct FileSecrets(pub(crate) Arc<Secrets>);

impl SecretHost for FileSecrets {
    fn get<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        let secrets = self.0.clone();
        let name = name.to_owned();
        async move {
            let read = tokio::task::spawn_blocking(move || secrets.read(&name)).await;
            match read {
                Ok(Ok(secret)) => Some(secret),
                Ok(Err(error)) => {
                    tracing::warn!("{error}");
                    None
                }
                Err(_) => None,
            }
        }
        .boxed()
    }
}
