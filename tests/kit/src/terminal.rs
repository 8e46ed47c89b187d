//! A command on a terminal of its own, where lines are typed.

use std::io::{Read, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use crate::{Process, wait};

/// What `script` gives the command to sit at.
#[derive(Debug)]
pub struct Terminal {
    process: Process,
    keys: ChildStdin,
    said: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts the command, whose words need no quotes.
    pub fn start(command: &Command) -> Terminal {
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let line = words.map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ");
        let mut script = Command::new("script");
        script.args(["-q", "-e", "-f", "-c", &line, "/dev/null"]).env("TERM", "dumb");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::start(&mut script);
        let keys = process.stdin.take().unwrap();
        let mut screen = process.stdout.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut piece) {
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        Terminal { process, keys, said }
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        self.keys.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// All that was on it so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until this was on it, so many times.
    pub async fn until_said(&self, text: &str, times: usize) {
        let look = || async { self.said() };
        wait::until_is(text, look, |said| said.matches(text).count() >= times).await;
    }

    /// How the command ended; waits for that.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let process = tokio::task::spawn_blocking(move || (self.process.wait(), self.said));
        let (status, said) = process.await.unwrap();
        let said = said.lock().unwrap().clone();
        (status, said)
    }
}
