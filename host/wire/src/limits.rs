//! How much a body may say. Beyond these a request is refused with [`Code::TooLong`](crate::Code::TooLong) or
//! [`Code::InvalidField`](crate::Code::InvalidField).

/// Bytes of an inventory, unless the admin says otherwise.
pub const INVENTORY: usize = 1 << 20;
/// Bytes of a whole body.
pub const BODY: usize = 1 << 20;
/// Bytes of a plugin's component, the one body that may be larger.
pub const COMPONENT: usize = 64 << 20;
/// Bytes of a plugin's manifest.
pub const MANIFEST: usize = 256 << 10;
/// Bytes of a capability's key.
pub const CAPABILITY_KEY: usize = 128;
/// Bytes of a capability's value.
pub const CAPABILITY_VALUE: usize = 1024;
/// Capabilities of one worker from one source.
pub const CAPABILITIES: usize = 256;
/// Groups of one worker.
pub const GROUPS: usize = 64;
/// Bytes of a group's name.
pub const GROUP: usize = 64;
/// Bytes of a driver's configuration.
pub const DRIVER_CONFIG: usize = 64 << 10;
/// Bytes of a driver's name.
pub const DRIVER: usize = 64;
/// Bytes of the name of a worker's host.
pub const HOST: usize = 255;
/// Bytes of a worker's notes.
pub const NOTES: usize = 4096;
/// Bytes of a reason.
pub const REASON: usize = 1024;
/// Terms that a request wants.
pub const WANTS: usize = 64;
/// Bytes of one term.
pub const WANT: usize = 1024;
/// Hints of a request.
pub const HINTS: usize = 16;
/// Bytes of a hint's key or value.
pub const HINT: usize = 256;
/// Public keys of a request.
pub const KEYS: usize = 16;
/// Bytes of one public key line.
pub const KEY: usize = 16 << 10;
/// Bytes of an idempotency key.
pub const IDEMPOTENCY_KEY: usize = 128;
/// Items of one page.
pub const PAGE: usize = 1000;
/// Items of one page when the client names no number.
pub const PAGE_DEFAULT: usize = 100;
/// Seconds of a long poll.
pub const WAIT_SECONDS: u64 = 60;
/// Seconds between heartbeats, at least.
pub const HEARTBEAT_MIN_SECONDS: u64 = 1;
/// Seconds between heartbeats, at most.
pub const HEARTBEAT_MAX_SECONDS: u64 = 24 * 3600;
/// Seconds without traffic after which a job may be given back, at least.
pub const IDLE_MIN_SECONDS: u64 = 60;
/// Priority of a request that names none.
pub const PRIORITY_DEFAULT: u8 = 8;
