//! Typed HTTP client over the v2 wire
