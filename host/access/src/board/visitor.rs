//! One connection to a board: who may come in, and what they ask for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pty_process::Size;
use russh::keys::PublicKey;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty, Sig};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::process::{self, Input, Program, Running, Terminal};
use super::{ADMIN_USER, BOARD_USER, Site};
use crate::keys::parse_public_line;

/// Most channels of one connection.
const MAX_CHANNELS: usize = 10;
/// Most bytes of an `authorized_keys` file.
const MAX_KEYS_FILE: u64 = 256 * 1024;
/// A process that takes none of its full input for this long loses its channel: one that is stuck must not hold up the
/// others of the connection for ever.
const STUCK: Duration = Duration::from_secs(60);
/// Most environment variables a visitor may set on a channel.
const MAX_ENV: usize = 32;

pub(super) struct Visitor {
    site: Arc<Site>,
    user: &'static str,
    channels: HashMap<ChannelId, Desk>,
}

/// What a channel has come to.
struct Desk {
    write: Option<ChannelWriteHalf<Msg>>,
    terminal: Option<Terminal>,
    env: Vec<(String, String)>,
    running: Option<Running>,
}

impl Visitor {
    pub(super) fn new(site: Arc<Site>) -> Visitor {
        Visitor { site, user: BOARD_USER, channels: HashMap::new() }
    }

    /// The user whose keys hold this one.
    async fn admit(&self, user: &str, key: &PublicKey) -> Option<&'static str> {
        match user {
            ADMIN_USER => (self.site.admin_key.key_data() == key.key_data()).then_some(ADMIN_USER),
            // The supervisor's key also opens the users' account: that is how a driver manages it from within.
            BOARD_USER if self.site.admin_key.key_data() == key.key_data() => Some(BOARD_USER),
            BOARD_USER => self.is_authorized(key).await.then_some(BOARD_USER),
            _ => None,
        }
    }

    async fn is_authorized(&self, key: &PublicKey) -> bool {
        let path = self.site.settings.home.join(".ssh/authorized_keys");
        let Ok(file) = tokio::fs::File::open(path).await else { return false };
        let mut text = String::new();
        if file.take(MAX_KEYS_FILE).read_to_string(&mut text).await.is_err() {
            return false;
        }
        text.lines()
            .filter_map(|line| parse_public_line(line).ok())
            .filter_map(|line| PublicKey::from_openssh(&line.to_string()).ok())
            .any(|authorized| authorized.key_data() == key.key_data())
    }

    fn start(&mut self, id: ChannelId, program: Program, session: &mut Session) -> Result<(), russh::Error> {
        let desk = self.channels.get_mut(&id);
        // One program a channel.
        let Some((desk, write)) = desk.and_then(|desk| desk.write.take().map(|write| (desk, write))) else {
            return session.channel_failure(id);
        };
        let env = std::mem::take(&mut desk.env);
        let exit = process::Exit::new(session.handle(), write);
        match process::start(&self.site, self.user, program, desk.terminal.take(), env, exit) {
            Ok(running) => {
                desk.running = Some(running);
                session.channel_success(id)
            }
            Err(error) => {
                tracing::warn!(%error, "the board cannot start a program");
                session.channel_failure(id)
            }
        }
    }

    async fn input(
        &mut self,
        id: ChannelId,
        input: Input,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(running) = self.channels.get(&id).and_then(|desk| desk.running.as_ref()) else {
            return Ok(());
        };
        let sent = tokio::select! {
            sent = running.input.send_timeout(input, STUCK) => sent,
            () = self.site.stopping.cancelled() => return Ok(()),
        };
        if let Err(mpsc::error::SendTimeoutError::Timeout(_)) = sent {
            tracing::warn!("a program on the board takes no input; ending it");
            self.channels.remove(&id);
            session.close(id)?;
        }
        Ok(())
    }
}

impl Handler for Visitor {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        let admitted = self.admit(user, offer.public_key).await;
        Ok(if admitted.is_some() { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let Some(user) = self.admit(user, key.public_key).await else { return Ok(Auth::reject()) };
        self.user = user;
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.channels.len() >= MAX_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Input comes through `data` below, which knows when to wait; nobody reads the other half.
        let (id, (_, write)) = (channel.id(), channel.split());
        let desk = Desk { write: Some(write), terminal: None, env: Vec::new(), running: None };
        self.channels.insert(id, desk);
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let Some(desk) = self.channels.get_mut(&id) else { return session.channel_failure(id) };
        desk.terminal = Some(Terminal { term: term.to_owned(), size: size(columns, rows) });
        session.channel_success(id)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // How text is shown is the visitor's, and which job this is; everything else is the board's.
        let harmless = name == "LANG" || ["LC_", "GROVE_"].iter().any(|start| name.starts_with(start));
        match self.channels.get_mut(&id) {
            Some(desk) if harmless && desk.env.len() < MAX_ENV => {
                desk.env.push((name.to_owned(), value.to_owned()));
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.start(id, Program::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.start(id, Program::Command(command.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match name {
            "sftp" => self.start(id, Program::Sftp, session),
            _ => session.channel_failure(id),
        }
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.input(id, Input::Resize(size(columns, rows)), session).await
    }

    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if let Some(running) = self.channels.get(&id).and_then(|desk| desk.running.as_ref()) {
            running.signal(&signal);
        }
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        self.input(id, Input::Bytes(data.to_vec()), session).await
    }

    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.input(id, Input::End, session).await
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&id);
        Ok(())
    }
}

fn size(columns: u32, rows: u32) -> Size {
    let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    Size::new(clamp(rows), clamp(columns))
}
