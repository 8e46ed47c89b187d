//! A driver that reads artifacts: `GROUP KEY` in its config.

use kit::driver::{Driver, Failure, Health, Target, reading, storage};

struct Storage;

impl Driver for Storage {
    fn check(t: Target) -> Result<Health, Failure> {
        let (group, key) = t.config.split_once(' ').unwrap_or_default();
        let failed = |error: storage::StorageError| Failure::Environment(format!("{error:?}"));
        let found = storage::stat(group, key).map_err(failed)?;
        let mut bytes = Vec::new();
        let mut reads = 0;
        loop {
            let piece =
                storage::read(group, key, &found.sha256, bytes.len() as u64, u32::MAX).map_err(failed)?;
            reads += 1;
            if piece.is_empty() {
                break;
            }
            bytes.extend_from_slice(&piece);
        }
        let readings = vec![
            reading("size", found.size),
            reading("sha256", &found.sha256),
            reading("read", bytes.len()),
            reading("reads", reads),
            reading("sum", bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>()),
        ];
        let changed = storage::read(group, key, "another", 0, 10);
        Ok(Health { ok: true, note: format!("{changed:?}"), readings })
    }
}

kit::driver!(Storage);
