//! Durable transactions over the domain
