//! The HTTP server
