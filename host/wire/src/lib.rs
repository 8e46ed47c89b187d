//! What travels over HTTP v2
