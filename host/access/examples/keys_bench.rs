//! How many session keys a core makes, beside `openssl genrsa 2048`. Run it with `--release`; rounds are interleaved,
//! figures are medians.

use std::num::NonZeroUsize;
use std::process::{Command, Stdio};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use grove_access::keypool::{KeyPool, KeyPoolSettings};
use tokio::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const ROUNDS: usize = 7;
/// Keys in one round: how long one takes is a matter of luck.
const KEYS: u32 = 40;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("keys-bench-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let settings = KeyPoolSettings { size: 0, most: 0, threads: Some(NonZeroUsize::MIN) };
    let pool = KeyPool::open(Dir::open_ambient_dir(&folder, ambient_authority())?, settings)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..KEYS {
            pool.take().await;
        }
        ours.push(f64::from(KEYS) / start.elapsed().as_secs_f64());
        let start = Instant::now();
        for _ in 0..KEYS {
            let mut openssl = Command::new("openssl");
            openssl.args(["genrsa", "2048"]).stdout(Stdio::null()).stderr(Stdio::null());
            if !openssl.status()?.success() {
                return Err("openssl genrsa failed; on Debian: apt-get install openssl".into());
            }
        }
        theirs.push(f64::from(KEYS) / start.elapsed().as_secs_f64());
    }
    std::fs::remove_dir_all(&folder)?;
    println!("keys/s of a core: ours {:.1}, openssl genrsa 2048 {:.1}", median(ours), median(theirs));
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
