//! Any Linux machine that can be reached over ssh.
