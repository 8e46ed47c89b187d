//! The WebAssembly boundary
